/** Origins outside the mesh go where the process's proxy settings send them, and services never do. */
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import * as http from "node:http";
import { createServer as createTlsServer } from "node:https";
import { connect } from "node:net";
import { pipeline } from "node:stream";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it, onTestFinished } from "vitest";
import type { Door, Task } from "./children/proxies.ts";
import { TestCa } from "./support/ca.ts";
import { folder } from "./support/folders.ts";
import { skipPublicOnly } from "./support/public-only.ts";
import { listenTls } from "./support/tls.ts";
import { serve } from "./wire.ts";

const PASSING: readonly Door[] = ["fetch", "dispatcher", "agent", "builtIn"];
const ALL: readonly Door[] = [...PASSING, "client"];

/** A forward proxy for hosts that only it can reach. `asked` are first lines of requests, in order. */
async function startProxy(hosts: Readonly<Record<string, string>>) {
  const asked: string[] = [];
  const { server, address } = await serve((incoming, outgoing) => {
    asked.push(`${incoming.method} ${incoming.url}`);
    const url = new URL(incoming.url!);
    const [host, port] = (hosts[`${url.hostname}:${url.port || 80}`] ?? url.host).split(":");
    const path = url.pathname + url.search;
    const { method, headers } = incoming;
    const passed = http.request({ host, port, path, method, headers }, (reply) => {
      outgoing.writeHead(reply.statusCode!, reply.headers);
      pipeline(reply, outgoing, () => {});
    });
    passed.on("error", () => outgoing.writeHead(502).end());
    pipeline(incoming, passed, () => {});
  });
  server.on("connect", (request: http.IncomingMessage, socket) => {
    asked.push(`CONNECT ${request.url}`);
    const [host, port] = (hosts[request.url!] ?? request.url!).split(":");
    const to = connect(Number(port), host, () => {
      socket.write("HTTP/1.1 200 Connection Established\r\n\r\n");
      pipeline(socket, to, () => {});
      pipeline(to, socket, () => {});
    });
    to.on("error", () => socket.destroy());
    onTestFinished(() => void to.destroy());
  });
  return { asked, url: `http://${address}` };
}

/** Servers inside and outside, and a proxy that alone knows the way to `outside.example`. */
async function setUp() {
  const ca = new TestCa();
  const files = folder();
  const caFile = join(files, "ca.pem");
  writeFileSync(caFile, ca.cert);
  const answering =
    (name: string): http.RequestListener =>
    (incoming, outgoing) =>
      void outgoing.end(`${name} ${incoming.headers.host}${incoming.url}`);
  const outside = await serve(answering("outside"));
  const issued = ca.issue({ names: ["outside.example", "orders"] });
  const secure = await listenTls(createTlsServer(issued, answering("secure")));
  const orders = await serve(answering("orders"));
  const proxy = await startProxy({
    "outside.example:80": outside.address,
    "outside.example:443": secure.address,
  });
  const services = {
    orders: { discovery: { static: [orders.address] } },
    vault: {
      url: "https://orders",
      discovery: { static: [secure.address] },
      tls: { ca: caFile },
    },
  };
  const run = async (
    task: Pick<Task, "how" | "doors" | "urls">,
    env: Readonly<Record<string, string>>,
  ): Promise<Record<Door, string[]>> => {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [
        "--conditions=inmesh-source",
        "--disable-warning=ExperimentalWarning",
        `${import.meta.dirname}/children/proxies.ts`,
        JSON.stringify({ ...task, services }),
      ],
      { env: { PATH: process.env["PATH"], NODE_EXTRA_CA_CERTS: caFile, ...env } },
    );
    return JSON.parse(stdout) as Record<Door, string[]>;
  };
  return { outside, secure, orders, proxy, run };
}

const forEach = (names: readonly Door[], replies: readonly string[]) =>
  Object.fromEntries(names.map((name) => [name, replies]));

/** Proxied requests of plain HTTP have one of two forms; undici's versions differ in which they use. */
const isFor = (line: string, authority: string): boolean =>
  line === `CONNECT ${authority}` ||
  line.startsWith(`GET http://${authority.replace(/:80$/, "")}/`);

describe("R29 LC: NODE_USE_ENV_PROXY", () => {
  it("R29 LC: origins outside go through HTTP_PROXY and HTTPS_PROXY at every door", async () => {
    const { proxy, run } = await setUp();
    const urls = ["http://outside.example/a", "https://outside.example/b"];
    const env = { NODE_USE_ENV_PROXY: "1", HTTP_PROXY: proxy.url, HTTPS_PROXY: proxy.url };
    const got = await run({ how: "environment", doors: PASSING, urls }, env);
    expect(got).toEqual(
      forEach(PASSING, ["outside outside.example/a", "secure outside.example/b"]),
    );
    const plain = proxy.asked.filter((line) => isFor(line, "outside.example:80"));
    const tunnels = proxy.asked.filter((line) => line === "CONNECT outside.example:443");
    // Doors that share a dispatcher may share its tunnel.
    expect(plain.length).toBeGreaterThanOrEqual(2);
    expect(tunnels.length).toBeGreaterThanOrEqual(2);
    expect(proxy.asked.length).toBe(plain.length + tunnels.length);
    // node:http writes the whole URL, for which it knows the proxy before the request is made.
    expect(proxy.asked).toContain("GET http://outside.example/a");
  });

  it("R29 LC: hosts of NO_PROXY are reached directly at every door", async () => {
    const { outside, proxy, run } = await setUp();
    const urls = [`http://${outside.address}/a`];
    const env = { NODE_USE_ENV_PROXY: "1", HTTP_PROXY: proxy.url };
    const expected = forEach(PASSING, [`outside ${outside.address}/a`]);
    const task = { how: "environment", doors: PASSING, urls } as const;
    expect(await run(task, { ...env, NO_PROXY: "127.0.0.1" })).toEqual(expected);
    expect(proxy.asked).toEqual([]);
    expect(await run(task, env)).toEqual(expected);
    expect(proxy.asked.length).toBeGreaterThanOrEqual(2);
  });

  it("R29 LC: services never do, by name, by TLS, by their address, and by a client's URL", async () => {
    const { orders, proxy, run } = await setUp();
    const env = { NODE_USE_ENV_PROXY: "1", HTTP_PROXY: proxy.url, HTTPS_PROXY: proxy.url };
    const urls = ["http://orders/a", "http://vault/b"];
    const got = await run({ how: "environment", doors: ALL, urls }, env);
    expect(got).toEqual(forEach(ALL, ["orders orders/a", "secure orders/b"]));
    const byUrl = {
      how: "environment",
      doors: ["client"],
      urls: [`http://${orders.address}/c`],
    } as const;
    expect(await run(byUrl, env)).toEqual({ client: [`orders ${orders.address}/c`] });
    expect(proxy.asked).toEqual([]);
  });

  it("R29 LC: without it, HTTP_PROXY alone changes nothing, as in Node itself", async () => {
    const { outside, proxy, run } = await setUp();
    const urls = [`http://${outside.address}/a`];
    const got = await run({ how: "environment", doors: PASSING, urls }, { HTTP_PROXY: proxy.url });
    expect(got).toEqual(forEach(PASSING, [`outside ${outside.address}/a`]));
    expect(proxy.asked).toEqual([]);
  });
});

describe("R29 LC: a proxy that the program sets", () => {
  it("R29 LC: undici's EnvHttpProxyAgent as the global dispatcher has all doors but mesh.agent()", async () => {
    const { proxy, run } = await setUp();
    const doors = ["fetch", "dispatcher", "builtIn"] as const;
    const urls = ["http://outside.example/a", "https://outside.example/b", "http://orders/c"];
    const env = { HTTP_PROXY: proxy.url, HTTPS_PROXY: proxy.url };
    const got = await run({ how: "global-dispatcher", doors, urls }, env);
    const replies = ["outside outside.example/a", "secure outside.example/b", "orders orders/c"];
    expect(got).toEqual(forEach(doors, replies));
    expect(proxy.asked.some((line) => line.includes("orders"))).toBe(false);
  });

  it.skipIf(!("setGlobalProxyFromEnv" in http))(
    "R29 LC: http.setGlobalProxyFromEnv() has every door",
    async (context) => {
      skipPublicOnly(context, "without Agent.options mesh.agent() does not know of this proxy");
      const { proxy, run } = await setUp();
      const urls = ["http://outside.example/a", "https://outside.example/b", "http://orders/c"];
      const env = { HTTP_PROXY: proxy.url, HTTPS_PROXY: proxy.url };
      const got = await run({ how: "global-proxy", doors: PASSING, urls }, env);
      const replies = ["outside outside.example/a", "secure outside.example/b", "orders orders/c"];
      expect(got).toEqual(forEach(PASSING, replies));
      expect(proxy.asked.some((line) => line.includes("orders"))).toBe(false);
    },
  );
});
