/** Section D of the fault matrix, library client: what discovery does to calls on real sockets. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NodeRuntime, type Timer } from "@inmesh/core/spi";
import { describe, expect, it } from "vitest";
import { discovered, infoOf, TestDiscovery } from "./support/discovery.ts";
import { answering, counted, failureOf, peerOf, rejectionOf, serve, until, OK } from "./wire.ts";

/** The minute for which a removed endpoint is remembered passes in a hundredth of a second. */
class HastyRuntime extends NodeRuntime {
  override after<A>(delayMs: number, run: (arg: A) => void, arg: A, hold = false): Timer {
    return super.after(delayMs >= 60_000 ? 10 : delayMs, run, arg, hold);
  }
}

describe("D: discovery, library client", () => {
  it("D16 LC: calls in flight finish when the service goes, and new ones fail at once", async () => {
    let answer = (): void => {};
    const released = new Promise<void>((resolve) => (answer = resolve));
    const peer = await peerOf(async (connection) => {
      for (;;) {
        await connection.readRequest();
        await released;
        // A hint that the connection may stay idle for a second, so that the test need not wait long.
        await connection.write(OK.replace("content", "keep-alive: timeout=3\r\ncontent"));
      }
    });
    const discovery = new TestDiscovery((sink) => sink.replace([infoOf(peer.address)]));
    const client = discovered(discovery);
    const calls = Array.from({ length: 10 }, () =>
      client.fetch("/", { method: "POST", body: "x" }).then((reply) => reply.text()),
    );
    await until(() => peer.requests.length === 10);
    discovery.sink!.replace([]);
    // News within 100 ms of other news wait for it to be over.
    await until(() => client.mesh.snapshot().services[0]!.endpoints.length === 0);
    const error = await failureOf(client.fetch("/"));
    expect(error).toMatchObject({
      code: "no_endpoint",
      reason: "no_endpoints",
      progress: "not-sent",
    });
    answer();
    expect(await Promise.all(calls)).toEqual(Array.from({ length: 10 }, () => "ok"));
    expect(peer.requests).toHaveLength(10);
    await until(() => peer.open === 0, 5_000);
  });

  it("D16 LC: a call that outlives its endpoint by the drain grace is ended, its socket closed", async () => {
    const peer = await peerOf(async (connection) => {
      await connection.readRequest();
      await connection.hold();
    });
    const discovery = new TestDiscovery((sink) => sink.replace([infoOf(peer.address)]));
    const client = discovered(discovery, { drainGraceMs: 150 }, { runtime: new HastyRuntime() });
    const pending = failureOf(client.fetch("/", { method: "POST", body: "x" }));
    await until(() => peer.requests.length === 1);
    discovery.sink!.replace([]);
    expect(await pending).toMatchObject({ code: "cancelled", reason: "shutdown" });
    await until(() => peer.open === 0);
    expect(client.mesh.snapshot().services[0]!.callsInFlight).toBe(0);
  });

  it("D14 LC: a zone that loses its last endpoint is left at once, and no call fails or waits", async () => {
    const near = await serve((_, response) => response.end("near"));
    const far = await serve((_, response) => response.end("far"));
    const inZone = [infoOf(near.address, { zone: "a" })];
    const others = [infoOf(far.address, { zone: "b" })];
    const discovery = new TestDiscovery((sink) => sink.replace([...inZone, ...others]));
    const client = discovered(discovery, { zones: { minEndpoints: 2 } }, { zone: "a" });
    const answers = async (count: number): Promise<Record<string, number>> => {
      const counts: Record<string, number> = { near: 0, far: 0 };
      for (let i = 0; i < count; i++) counts[await (await client.fetch("/")).text()]!++;
      return counts;
    };
    expect((await answers(50))["near"]).toBeGreaterThan(40);
    discovery.sink!.change([], inZone);
    await until(() => client.mesh.snapshot().services[0]!.endpoints.length === 1);
    const startedAt = performance.now();
    expect(await answers(20)).toEqual({ near: 0, far: 20 });
    expect(performance.now() - startedAt).toBeLessThan(1_000);
    // Hints that one endpoint lacks are no hints.
    discovery.sink!.replace([
      infoOf(near.address, { zone: "a", forZones: ["a"] }),
      infoOf(far.address, { zone: "b" }),
    ]);
    await until(() => client.mesh.snapshot().services[0]!.zones.mode !== "hints");
    const { endpoints } = client.mesh.snapshot().services[0]!;
    const picked = endpoints.reduce((sum, one) => sum + (one.zone === "b" ? one.picks : 0), 0);
    expect(picked).toBeGreaterThanOrEqual(20);
  });

  it("D21 LC: with libuv's thread pool starved, lookups and calls go on", async () => {
    const server = createServer((_, response) => response.end("ok"));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const folder = mkdtempSync(join(tmpdir(), "inmesh-"));
    try {
      const { port } = server.address() as { port: number };
      const child = spawn(
        process.execPath,
        [
          "--conditions=inmesh-source",
          "--disable-warning=ExperimentalWarning",
          join(import.meta.dirname, "children/starved-pool.ts"),
          String(port),
          folder,
        ],
        { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, UV_THREADPOOL_SIZE: "4" } },
      );
      let out = "";
      child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
      await once(child, "close");
      const seen = JSON.parse(out) as Record<string, unknown>;
      expect(seen).toMatchObject({
        before: "ok",
        // It was starved all the time: this is what would have waited.
        poolAnswered: false,
        during: Array.from({ length: 20 }, () => "ok"),
        another: "ok",
        poolAnsweredAfter: true,
      });
      expect(seen["slowestMs"]).toBeLessThan(2_000);
    } finally {
      rmSync(folder, { recursive: true });
      server.closeAllConnections();
      server.close();
    }
  });

  it("D22 LC: calls that waited go oldest first; the expired ones are never sent", async () => {
    const peer = await answering(OK);
    const discovery = new TestDiscovery();
    const limits = { maxConnectionsPerEndpoint: 1 };
    const client = discovered(discovery, { limits });
    const gone: Promise<unknown>[] = [];
    const calls: Promise<string>[] = [];
    for (let i = 0; i < 1_000; i++) {
      // Every tenth is too impatient for the first endpoint.
      if (i % 10 === 9) gone.push(rejectionOf(client.fetch(`/${i}`, { timeoutMs: 50 })));
      else calls.push(client.fetch(`/${i}`).then((reply) => reply.text()));
    }
    const errors = await Promise.all(gone);
    for (const error of errors) {
      expect(error).toMatchObject({ code: "deadline_exceeded", progress: "not-sent" });
    }
    expect(peer.connections).toBe(0);
    const other = discovered(new TestDiscovery());
    const closed = failureOf(other.fetch("/"));
    await other.mesh.close(10);
    expect(await closed).toMatchObject({ reason: "shutdown", progress: "not-sent" });
    discovery.sink!.replace([infoOf(peer.address)]);
    expect(new Set(await Promise.all(calls))).toEqual(new Set(["ok"]));
    const order = peer.requests.map(({ head }) => Number(/^GET \/(\d+) /.exec(head)![1]));
    expect(order).toEqual(Array.from({ length: 1_000 }, (_, i) => i).filter((i) => i % 10 !== 9));
    expect(peer.connections).toBe(1);
  });

  it("D22 LC: no burst above the limits: dials per endpoint, and calls in progress", async () => {
    let inside = 0;
    let most = 0;
    const server = await serve((_, response) => {
      most = Math.max(most, ++inside);
      setTimeout(() => {
        inside--;
        response.end("ok");
      }, 5);
    });
    const discovery = new TestDiscovery();
    const limits = { maxConnectionsPerEndpoint: 8, maxInFlight: 300 };
    const client = discovered(discovery, { limits });
    const calls = Array.from({ length: 400 }, () =>
      client.fetch("/").then(
        (reply) => reply.text(),
        (error: { reason: string }) => error.reason,
      ),
    );
    discovery.sink!.replace([infoOf(server.address)]);
    const results = await Promise.all(calls);
    expect(results.filter((one) => one === "ok")).toHaveLength(300);
    expect(results.filter((one) => one === "concurrency")).toHaveLength(100);
    expect(most).toBe(8);
    expect(server.connections).toBe(8);
    expect(counted(client.mesh, "inmesh.attempts")).toBe(300);
  });
});
