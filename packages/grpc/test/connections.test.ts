/** Connections to an endpoint: TLS, more than one, goodbyes, and that nothing is left. */
import { join } from "node:path";
import { ServerCredentials, status as Status } from "@grpc/grpc-js";
import { meshGrpcServer, type MeshGrpcServer } from "@inmesh/grpc";
import { countResources, expectBaseline } from "@inmesh/core/testing";
import { afterEach, describe, expect, it } from "vitest";
import { TestCa } from "../../http/test/support/ca.ts";
import { folder, leaveSocket } from "../../http/test/support/folders.ts";
import { counted, get, open } from "./support/bench.ts";
import { OrdersServer, type Order, type OrdersHandlers } from "./support/orders.ts";
import { answer, ScriptedServer } from "./support/scripted-server.ts";
import { bench, clientOf, failed, until } from "./support/wire.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});
async function scripted(
  ...given: Parameters<typeof ScriptedServer.start>
): Promise<ScriptedServer> {
  const server = await ScriptedServer.start(...given);
  cleanups.push(() => server.close());
  return server;
}

describe("TLS", () => {
  const ca = new TestCa();
  const start = async (names: readonly string[], client?: TestCa): Promise<OrdersServer> => {
    const { cert, key } = ca.issue({ names });
    const server = await new OrdersServer("a").listen(
      0,
      ServerCredentials.createSsl(
        client === undefined ? null : Buffer.from(client.cert),
        [{ cert_chain: Buffer.from(cert), private_key: Buffer.from(key) }],
        client !== undefined,
      ),
    );
    cleanups.push(() => server.stop());
    return server;
  };

  it("the service's name is asked for and checked, whatever the address", async () => {
    const server = await start(["orders.shop"]);
    const tls = { scheme: "https", tls: { ca: ca.cert } } as const;
    const right = clientOf([server.address], { ...tls, authority: "orders.shop" });
    expect((await get(right.client, { count: 1 })).count).toBe(2);
    const wrong = clientOf([server.address], { ...tls, authority: "payments.shop" });
    expect(await failed(get(wrong.client, {}))).toMatchObject({
      code: Status.UNAVAILABLE,
      cause: { code: "connect_failed", reason: "identity_mismatch" },
    });
  });

  it("a certificate of another authority is not believed", async () => {
    const server = await start(["orders.shop"]);
    const { client } = clientOf([server.address], {
      scheme: "https",
      authority: "orders.shop",
      tls: { ca: new TestCa("another").cert },
    });
    expect(await failed(get(client, {}))).toMatchObject({ cause: { reason: "peer_untrusted" } });
  });

  it("mutual TLS shows our certificate", async () => {
    const server = await start(["orders.shop"], ca);
    const own = ca.issue({ names: ["client"] });
    const { client } = clientOf([server.address], {
      scheme: "https",
      authority: "orders.shop",
      tls: { ca: ca.cert, cert: own.cert, key: own.key },
    });
    expect((await get(client, {})).id).toBe("a");
  });
});

describe("Unix sockets", () => {
  const start = async (path: string, credentials?: ServerCredentials): Promise<MeshGrpcServer> => {
    const orders = new OrdersServer("a");
    const server = meshGrpcServer(orders.server, { discoveryWaitMs: 0 });
    cleanups.push(() => server.close(0));
    await server.listen(`unix:${path}`, credentials);
    return server;
  };

  it("carry calls like any other endpoint, and a server on one leaves as any other", async () => {
    const paths = [join(folder(), "a.sock"), join(folder(), "b.sock")];
    const servers = [await start(paths[0]!), await start(paths[1]!)];
    const addresses = paths.map((path) => `unix:${path}`);
    const { client, mesh } = clientOf(addresses, { balancer: { kind: "round-robin" } });
    for (let i = 0; i < 4; i++) await get(client, {});
    const { endpoints } = mesh.snapshot().services[0]!;
    expect(endpoints.map(({ address }) => address)).toEqual(addresses);
    expect(servers.map((server) => server.snapshot().sessions)).toEqual([1, 1]);
    const leaving = servers[0]!.drain(5_000);
    for (let i = 0; i < 4; i++) await get(client, {});
    await leaving;
    for (let i = 0; i < 4; i++) await get(client, {});
  });

  it("show the certificate of the service", async () => {
    const ca = new TestCa();
    const { cert, key } = ca.issue({ names: ["orders.shop"] });
    const path = join(folder(), "tls.sock");
    const pair = { cert_chain: Buffer.from(cert), private_key: Buffer.from(key) };
    await start(path, ServerCredentials.createSsl(null, [pair]));
    const tls = { scheme: "https", authority: "orders.shop", tls: { ca: ca.cert } } as const;
    expect((await get(clientOf([`unix:${path}`], tls).client, {})).id).toBe("a");
  });

  it("one without a server is refused; what a killed server left behind is taken away", async () => {
    const path = join(folder(), "left.sock");
    await leaveSocket(path);
    const { client } = clientOf([`unix:${path}`]);
    expect(await failed(get(client, {}))).toMatchObject({
      code: Status.UNAVAILABLE,
      cause: { code: "connect_failed", reason: "connect_refused", endpoint: `unix:${path}` },
    });
    await start(path);
    expect((await get(clientOf([`unix:${path}`]).client, {})).id).toBe("a");
    await expect(start(path)).rejects.toThrow(/EADDRINUSE/);
  });
});

describe("connections", () => {
  it("more calls than streams of one connection open further ones, up to four", async () => {
    let waiting = 0;
    const server = await scripted(() => void waiting++, { maxConcurrentStreams: 100 });
    const { client } = clientOf([server.address]);
    const calls = Array.from({ length: 350 }, () => get(client, {}).catch(() => {}));
    await until(() => waiting === 350);
    expect(server.sockets.size).toBe(4);
    server.reset();
    await Promise.all(calls);
  });

  it("no connection within connectMs is a connect_timeout, and the next dial is a new one", async () => {
    const silent = await import("node:net").then(({ createServer }) => {
      const server = createServer((socket) => {
        socket.on("error", () => {});
        cleanups.push(() => socket.destroy());
      });
      cleanups.push(() => server.close());
      return new Promise<number>((resolve) => {
        server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port));
      });
    });
    const { client } = clientOf([`127.0.0.1:${silent}`], { timeouts: { connectMs: 100 } });
    expect(await failed(get(client, {}))).toMatchObject({
      code: Status.UNAVAILABLE,
      cause: { code: "connect_failed", reason: "connect_timeout", progress: "not-sent" },
    });
  });

  it("a server that says goodbye loses no call", async () => {
    const { client, servers, mesh } = await bench([{}, {}]);
    let failures = 0;
    let done = 0;
    const running = new AbortController();
    const worker = async (): Promise<void> => {
      while (!running.signal.aborted) {
        await get(client, {}).catch(() => failures++);
        done++;
      }
    };
    const workers = Array.from({ length: 10 }, worker);
    await until(() => done > 50);
    const { port } = servers[0]!;
    await servers[0]!.drain();
    const again = await new OrdersServer("again").listen(port);
    cleanups.push(() => again.stop());
    const before = done;
    await until(() => done > before + 100);
    running.abort();
    await Promise.all(workers);
    expect(failures).toBe(0);
    expect(counted(mesh, "inmesh.call.active")).toBe(0);
  });

  it("a removed endpoint finishes its streams and lets go of its connection", async () => {
    const { client, servers, mesh } = await bench([{}]);
    const other = await new OrdersServer("b").listen();
    cleanups.push(() => other.stop());
    const chat = client.chat();
    const back = (): Promise<Order> => new Promise((resolve) => chat.once("data", resolve));
    let reply = back();
    chat.write({ count: 1 });
    await reply;
    mesh.update({ services: { orders: { discovery: { static: [other.address] } } } });
    expect((await get(client, {})).id).toBe("b");
    reply = back();
    chat.write({ count: 2 });
    expect((await reply).count).toBe(2);
    const over = new Promise((resolve) => chat.once("status", resolve));
    chat.end();
    chat.resume();
    expect(await over).toMatchObject({ code: Status.OK });
    await servers[0]!.drain();
  });
});

describe("nothing is left", () => {
  it("10,000 calls of all kinds, cancelled at random moments", { timeout: 120_000 }, async () => {
    const baseline = countResources();
    const one = await open(
      [{}, {}, {}].map(() => ({
        get: ((call, callback) =>
          void setTimeout(() => callback(null, call.request), 5)) as OrdersHandlers["get"],
      })),
      { limits: { maxInFlight: 20_000 } },
    );
    const { client, mesh, servers } = one;
    const ended = new Map<number, number>();
    let random = 12345;
    const chance = (): number => (random = (random * 48_271) % 2_147_483_647) / 2_147_483_647;
    const call = (kind: number): Promise<void> =>
      new Promise((resolve) => {
        const end = ({ code }: { code: number }): void => {
          ended.set(code, (ended.get(code) ?? 0) + 1);
          resolve();
        };
        const made =
          kind === 0
            ? client.get({ count: 1 }, () => {})
            : kind === 1
              ? client.add(() => {})
              : kind === 2
                ? client.list({ count: 50 })
                : client.chat();
        made.on("error", () => {});
        made.once("status", end);
        if (kind >= 2) (made as unknown as NodeJS.ReadableStream).resume();
        if (kind === 1 || kind === 3) {
          const stream = made as ReturnType<typeof client.chat>;
          for (let count = 0; count < 5; count++) stream.write({ count });
          if (chance() < 0.5) stream.end();
        }
        const moment = chance();
        if (moment < 0.2) made.cancel();
        else if (moment < 0.4) setImmediate(() => made.cancel());
        else setTimeout(() => made.cancel(), Math.floor(moment * 80));
      });
    for (let batch = 0; batch < 20; batch++) {
      await Promise.all(Array.from({ length: 500 }, (_, i) => call(i % 4)));
    }
    expect([...ended.values()].reduce((sum, count) => sum + count, 0)).toBe(10_000);
    // Node's servers give up a connection on which too many streams were reset (CVE-2023-44487).
    for (const code of ended.keys()) {
      expect([Status.OK, Status.CANCELLED, Status.UNAVAILABLE]).toContain(code);
    }
    expect(ended.get(Status.CANCELLED)).toBeGreaterThan(5_000);
    expect(counted(mesh, "inmesh.call.active")).toBe(0);
    for (const { inFlight } of mesh.snapshot().services[0]!.endpoints) expect(inFlight).toBe(0);
    // A server that drains waits for every stream that has not ended.
    await Promise.all(servers.map((server) => server.drain()));
    await one.close();
    await expectBaseline(baseline, 3_000);
  });

  it("L4 GC: a client that is dropped keeps no process alive: connections and timers do not hold it", async () => {
    const server = await scripted((stream) => answer(stream, Buffer.alloc(0)));
    const { client } = clientOf([server.address]);
    await get(client, {});
    const { address } = server;
    const script = `
      import { createMesh, meshGrpc } from "@inmesh/grpc";
      import { makeGenericClientConstructor } from "@grpc/grpc-js";
      const pass = (bytes) => bytes;
      const method = { path: "/a/B", requestStream: false, responseStream: false, requestSerialize: pass,
        requestDeserialize: pass, responseSerialize: pass, responseDeserialize: pass };
      const Client = makeGenericClientConstructor({ b: method }, "a");
      const mesh = createMesh({ env: {}, config: { services: { a: { discovery: { static: ["${address}"] } } } } });
      new Client(...meshGrpc("a", { mesh })).b(Buffer.alloc(1), () => process.stdout.write("answered"));`;
    const { execFile } = await import("node:child_process");
    const { promisify } = await import("node:util");
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ["--no-warnings", "--conditions=inmesh-source", "--input-type=module", "-e", script],
      { cwd: import.meta.dirname, timeout: 10_000 },
    );
    expect(stdout).toBe("answered");
  });
});
