/** The PROXY protocol with haproxy at the other end, in both directions and both versions. */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, get } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createMesh, type HttpMesh } from "@inmesh/http";
import { describe, expect, it, onTestFinished } from "vitest";
import { listenProxy, proxySection } from "../src/index.ts";
import { Client, listening } from "./support/net.ts";
import { freePort } from "../../../scripts/free-port.ts";

const HAPROXY = ["/usr/sbin/haproxy", "/usr/local/sbin/haproxy"].find((path) => existsSync(path));

async function haproxy(text: string, port: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "mesh-proxy-"));
  const file = join(folder, "haproxy.cfg");
  writeFileSync(
    file,
    `defaults\n  timeout connect 2s\n  timeout client 5s\n  timeout server 5s\n${text}\n`,
  );
  const child = spawn(HAPROXY!, ["-f", file, "-db"], { stdio: "ignore" });
  onTestFinished(async () => {
    const ended = new Promise((resolve) => child.once("exit", resolve));
    if (child.exitCode === null && child.kill("SIGKILL")) await ended;
    rmSync(folder, { recursive: true });
  });
  await expect
    .poll(async () => {
      const client = new Client(`127.0.0.1:${port}`);
      await client.until(() => client.closed || client.socket.readyState === "open");
      client.socket.destroy();
      return client.error?.code;
    })
    .toBeUndefined();
}

async function proxyOf(
  services: object,
  listeners: object,
): Promise<{ readonly mesh: HttpMesh; readonly ports: readonly number[] }> {
  const mesh = createMesh({
    env: {},
    sections: [proxySection],
    config: { services, proxy: { listeners } } as object,
  });
  const proxy = await listenProxy(mesh);
  onTestFinished(async () => {
    await proxy.close(0);
    await mesh.close(0);
  });
  const ports = proxy.listeners.map(({ address }) => Number(address.split(":").at(-1)));
  return { mesh, ports };
}

describe.skipIf(HAPROXY === undefined)("the PROXY protocol with haproxy", () => {
  it.each(["send-proxy", "send-proxy-v2"])(
    "as %s names the client to what serves HTTP, and bytes of TCP come after it",
    async (sends) => {
      const web = createServer((_request, response) => response.end("web"));
      await new Promise<void>((resolve) => web.listen(0, "127.0.0.1", resolve));
      onTestFinished(() => void web.close());
      const echo = await listening((socket) => socket.pipe(socket));
      const { mesh, ports } = await proxyOf(
        {
          web: { discovery: { static: [`127.0.0.1:${(web.address() as AddressInfo).port}`] } },
          echo: { discovery: { static: [echo.address] } },
        },
        {
          http: { listen: "127.0.0.1:0", service: "web", acceptProxyProtocol: true },
          tcp: {
            listen: "127.0.0.1:0",
            service: "echo",
            protocol: "tcp",
            acceptProxyProtocol: true,
          },
        },
      );
      const [http, tcp] = [await freePort(), await freePort()];
      await haproxy(
        `listen http\n  mode tcp\n  bind 127.0.0.1:${http}\n  server s 127.0.0.1:${ports[0]} ${sends}\n` +
          `listen tcp\n  mode tcp\n  bind 127.0.0.1:${tcp}\n  server s 127.0.0.1:${ports[1]} ${sends}\n`,
        http,
      );
      const seen: (string | undefined)[] = [];
      mesh.observe({ servedEnded: ({ peer }) => void seen.push(`${peer.address} ${peer.port}`) });
      const asked = await new Promise<{ body: string; from: string }>((resolve, reject) => {
        const sent = get({ host: "127.0.0.1", port: http, localAddress: "127.0.0.9" }, (reply) => {
          const { localAddress, localPort } = sent.socket!;
          reply.setEncoding("utf8").on("data", (body: string) => {
            resolve({ body, from: `${localAddress} ${localPort}` });
          });
        }).on("error", reject);
      });
      expect(asked.body).toBe("web");
      await expect.poll(() => seen).toEqual([asked.from]);
      const client = new Client(`127.0.0.1:${tcp}`).send("hello");
      await client.until(() => client.text === "hello");
    },
  );

  it.each(["v1", "v2"])("is understood as %s, which endpoints of TCP get", async (version) => {
    const backend = await freePort();
    await haproxy(
      `frontend f\n  mode http\n  bind 127.0.0.1:${backend} accept-proxy\n` +
        `  http-request return status 200 content-type text/plain lf-string "%[src] %[src_port]"\n`,
      backend,
    );
    const { ports } = await proxyOf(
      { db: { discovery: { static: [`127.0.0.1:${backend}`] } } },
      {
        db: { listen: "127.0.0.1:0", service: "db", protocol: "tcp", sendProxyProtocol: version },
      },
    );
    const client = new Client(`127.0.0.1:${ports[0]}`).send(
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    await client.until(() => client.ended);
    const { localAddress, localPort } = client.socket;
    expect(client.text).toContain(`\r\n\r\n${localAddress} ${localPort}`);
  });
});
