/**
 * The scripts in varnish/ are played by varnishtest, whose client and server are an HTTP of their own: both ends of what
 * goes through the proxy are written down there, and neither knows anything of Node.
 */
import { execFile } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { createMesh } from "@inmesh/core";
import { describe, expect, it, onTestFinished } from "vitest";
import { listenProxy, proxySection } from "../src/index.ts";
import { freePort } from "../../../scripts/free-port.ts";

const VARNISHTEST = "/usr/bin/varnishtest";
const FOLDER = join(import.meta.dirname, "varnish");
const SCRIPTS = readdirSync(FOLDER).filter((name) => name.endsWith(".vtc"));

/** What it says; undefined: everything was as the script says. */
function played(script: string, ports: Readonly<Record<string, number>>): Promise<string | void> {
  const given = Object.entries(ports).map(([name, port]) => `-D${name}=${port}`);
  return new Promise((resolve) => {
    execFile(VARNISHTEST, [...given, join(FOLDER, script)], (error, stdout, stderr) =>
      resolve(error === null ? undefined : `${stdout}${stderr}`),
    );
  });
}

describe("varnishtest", () => {
  it.skipIf(!existsSync(VARNISHTEST)).each(SCRIPTS)("%s", async (script) => {
    const upstream = await freePort();
    const mesh = createMesh({
      env: {},
      sections: [proxySection],
      config: {
        services: {
          orders: {
            discovery: { static: [`127.0.0.1:${upstream}`] },
            http2: script === "h2-refused.vtc",
            // The server of a script waits for what comes on one connection.
            limits: { maxConnectionsPerEndpoint: 1 },
          },
        },
        proxy: { listeners: { out: { listen: "127.0.0.1:0" } } },
      } as object,
    });
    const proxy = await listenProxy(mesh);
    onTestFinished(async () => {
      await proxy.close(0);
      await mesh.close(0);
    });
    const port = Number(proxy.listeners[0]!.address.split(":").at(-1));
    expect(await played(script, { upstream, proxy: port })).toBeUndefined();
  });
});
