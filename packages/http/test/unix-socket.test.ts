/** Endpoints and servers on Unix sockets: no port, no name, the rest as on the network. */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { meshServer, type MeshServer, type ServerOptions } from "../src/index.ts";
import { bench, endpointOf, failure } from "./support/bench.ts";
import { TestCa } from "./support/ca.ts";
import { folder, leaveSocket } from "./support/folders.ts";

async function serve(path: string, options: ServerOptions = {}): Promise<MeshServer> {
  const server = meshServer(({ headers, httpVersion }, response) => {
    response.end(`${headers.host ?? headers[":authority"]} ${httpVersion}`);
  }, options);
  onTestFinished(() => server.close(0));
  await server.listen({ path });
  return server;
}

describe("endpoints on Unix sockets", () => {
  it.each([
    ["HTTP/1.1", false, "1.1"],
    ["h2c", true, "2.0"],
  ])("are called over %s by the name of the service", async (_name, http2, version) => {
    const path = join(folder(), "a b.sock");
    const server = await serve(path, { http2 });
    expect(server.address()).toMatchObject({ address: path, family: "unix", port: 0 });
    await using one = bench([`unix:${path}`], { http2 });
    const reply = await one.client.fetch("/");
    expect(await reply.text()).toBe(`svc ${version}`);
    expect(reply.mesh.endpoint).toBe(`unix:${path}`);
  });

  it("show their certificate, which must be for the service's name", async () => {
    const ca = new TestCa();
    const path = join(folder(), "tls.sock");
    await serve(path, { tls: ca.issue({ names: ["orders.shop"] }) });
    const tls = { scheme: "https", tls: { ca: ca.cert } } as const;
    await using right = bench([`unix:${path}`], { ...tls, authority: "orders.shop" });
    expect(await (await right.client.fetch("/")).text()).toBe("orders.shop 1.1");
    await using wrong = bench([`unix:${path}`], { ...tls, authority: "payments.shop" });
    expect(await failure(wrong.client.fetch("/"))).toMatchObject({ reason: "identity_mismatch" });
  });

  it("stand beside others: one that is not there is refused, and another answers", async () => {
    const path = join(folder(), "there.sock");
    await serve(path);
    const gone = `unix:${path}-not`;
    const endpoints = [gone, `unix:${path}`];
    await using one = bench(endpoints, { balancer: { kind: "round-robin" } });
    for (let i = 0; i < 10; i++) {
      expect((await one.client.fetch("/", { method: "POST" })).status).toBe(200);
    }
    expect(endpointOf(one.mesh, gone).breaker.trigger).toBe("connect");
    await using alone = bench([gone]);
    const error = await failure(alone.client.fetch("/"));
    expect(error).toMatchObject({ code: "connect_failed", reason: "connect_refused" });
    expect(error.message).toContain(`svc → ${gone}: no connection (ENOENT)`);
  });
});

describe("a server on a Unix socket", () => {
  it("takes away what a killed process left behind", async () => {
    const path = join(folder(), "left.sock");
    await leaveSocket(path);
    expect(existsSync(path)).toBe(true);
    await serve(path);
    await using one = bench([`unix:${path}`]);
    expect((await one.client.fetch("/")).status).toBe(200);
  });

  it("leaves alone a socket on which a server answers, and what is no socket", async () => {
    const path = join(folder(), "used.sock");
    await serve(path);
    await expect(serve(path)).rejects.toMatchObject({ code: "EADDRINUSE" });
    await using one = bench([`unix:${path}`]);
    expect((await one.client.fetch("/")).status).toBe(200);
    const file = join(folder(), "file");
    writeFileSync(file, "a file");
    await expect(serve(file)).rejects.toMatchObject({ code: "EADDRINUSE" });
    expect(existsSync(file)).toBe(true);
  });
});
