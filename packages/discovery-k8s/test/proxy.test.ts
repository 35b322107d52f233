/** The way to the API server through a proxy, which real processes of a company have to take. */
import { execFile } from "node:child_process";
import { createServer, type Server } from "node:http";
import { connect, type AddressInfo, type Socket } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { SimRuntime } from "@inmesh/core/testing";
import { afterEach, describe, expect, it } from "vitest";
import { findAccess } from "../src/access.ts";
import { proxyOf } from "../src/proxy.ts";
import { FakeApi } from "./support/fake-api.ts";
import { kubeconfigFor } from "./support/watched.ts";

describe("which proxy is taken", () => {
  const server = "https://10.96.0.1:6443";
  it.each([
    [{}, undefined],
    [{ HTTPS_PROXY: "http://proxy.test:3128" }, "http://proxy.test:3128"],
    [{ https_proxy: "proxy.test:3128" }, "http://proxy.test:3128"],
    [{ HTTP_PROXY: "http://proxy.test:3128" }, undefined],
    [{ HTTPS_PROXY: "http://p.test", NO_PROXY: "*" }, undefined],
    [{ HTTPS_PROXY: "http://p.test", NO_PROXY: "10.0.0.0/8" }, undefined],
    [{ HTTPS_PROXY: "http://p.test", NO_PROXY: "10.97.0.0/16, fd00::/8" }, "http://p.test"],
    [{ HTTPS_PROXY: "http://p.test", no_proxy: "localhost,10.96.0.1" }, undefined],
    [{ HTTPS_PROXY: "http://p.test", NO_PROXY: "10.96.0.1:443" }, "http://p.test"],
    [{ HTTPS_PROXY: "http://p.test", NO_PROXY: "10.96.0.1:6443" }, undefined],
    [{ HTTPS_PROXY: "http://p.test", NO_PROXY: "10.0.0.0/999, /, :, [" }, "http://p.test"],
  ])("of %j", (env, expected) => {
    expect(proxyOf(server, env)).toBe(expected);
  });

  it("names except their subdomains, and IPv6 is written with or without brackets", () => {
    const env = { HTTPS_PROXY: "http://p.test", NO_PROXY: ".example.com,[fd00::1]:6443" };
    expect(proxyOf("https://api.example.com", env)).toBe(undefined);
    expect(proxyOf("https://example.com", env)).toBe(undefined);
    expect(proxyOf("https://notexample.com", env)).toBe("http://p.test");
    expect(proxyOf("https://[fd00::1]:6443", env)).toBe(undefined);
    expect(() => proxyOf("https://10.0.0.1", { HTTPS_PROXY: "socks5://p.test" })).toThrow(
      "HTTPS_PROXY is no http or https URL: correct it, or except the API server with NO_PROXY=10.0.0.1",
    );
  });

  it("that of the kubeconfig wins over that of the environment", async () => {
    const path = kubeconfigFor(1, "token");
    const env = { HTTP_PROXY: "http://p.test" };
    const access = await findAccess({ kubeconfig: path }, new SimRuntime(1), env);
    expect(access.proxy(access.servers[0]!)).toBe("http://p.test");
  });
});

describe("through a proxy", () => {
  const api = new FakeApi();
  let proxy: Server;
  const sockets = new Set<Socket>();
  const asked: { path: string | undefined; user: string | undefined }[] = [];

  async function start(password: string): Promise<string> {
    proxy = createServer();
    proxy.on("connect", (request, socket: Socket, head: Buffer) => {
      sockets.add(socket);
      socket.on("error", () => {});
      const user = request.headers["proxy-authorization"];
      asked.push({ path: request.url, user });
      if (user !== `Basic ${Buffer.from("me:p@ss").toString("base64")}`) {
        return socket.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
      }
      const [host, port] = (request.url ?? "").split(":");
      const onward = connect(Number(port), host, () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        onward.write(head);
        onward.pipe(socket).pipe(onward);
      });
      onward.on("error", () => socket.destroy());
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    return `http://me:${password}@127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  }

  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => proxy.close(resolve));
  });

  const run = async (port: number, url: string): Promise<string> => {
    const child = join(import.meta.dirname, "children/one-list.ts");
    const args = [
      "--no-warnings",
      "--conditions=inmesh-source",
      child,
      kubeconfigFor(port, "token"),
    ];
    const env = { ...process.env, http_proxy: url, no_proxy: "" };
    // It is killed after this time, which fails the test: a watch through a proxy keeps no process alive either.
    const { stdout } = await promisify(execFile)(process.execPath, args, { env, timeout: 25_000 });
    return stdout.trim();
  };

  it("a list and a watch are made, and the process ends when it has nothing else to do", async () => {
    const port = await api.listen();
    api.put({
      name: "orders-a",
      service: "orders",
      endpoints: [{ address: "10.0.0.1", uid: "1" }],
    });
    expect(await run(port, await start("p%40ss"))).toBe("10.0.0.1:80");
    expect(asked[0]!.path).toBe(`127.0.0.1:${port}`);
    await api.close();
  });

  it("that refuses, the error says which proxy and what to do, without the password", async () => {
    const url = await start("wrong-secret");
    const text = await run(6_443, url);
    expect(text).toMatch(
      /^the proxy http:\/\/127\.0\.0\.1:\d+ for the API server 127\.0\.0\.1:6443: it answered 407: write user and password into its URL$/,
    );
  });
});
