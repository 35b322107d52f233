/** Section B of the fault matrix, library client: what balancing, breakers and budget do on real sockets. */
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ServiceInput } from "@inmesh/core";
import type { MeshClient } from "@inmesh/http";
import { describe, expect, it, onTestFinished } from "vitest";
import { startChild } from "./support/children.ts";
import { discovered, infoOf, TestDiscovery } from "./support/discovery.ts";
import {
  clientOf,
  counted,
  endpointsOf,
  failureOf,
  peerOf,
  SeededRuntime,
  serve,
  type Served,
  sleep,
  until,
} from "./wire.ts";
import { freeAddress } from "../../../scripts/free-port.ts";

const picksOf = (client: MeshClient, address: string): number =>
  endpointsOf(client).find((endpoint) => endpoint.address === address)!.picks;

/** Calls without a pause, `width` at a time, while `goesOn` says so; what they ended with, counted. */
async function load(
  client: MeshClient,
  width: number,
  goesOn: (calls: number) => boolean,
): Promise<Map<string, number>> {
  const ends = new Map<string, number>();
  let calls = 0;
  const worker = async (): Promise<void> => {
    while (goesOn(calls)) {
      calls++;
      const end = await client.fetch("/").then(
        async (reply) => `${reply.status} ${await reply.text()}`.trim(),
        (error: { reason: string }) => error.reason,
      );
      ends.set(end, (ends.get(end) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: width }, worker));
  return ends;
}

const failing = (): Promise<Served> =>
  serve((_request, response) => {
    response.statusCode = 500;
    response.end("no");
  });

describe("B: overload and balancing, library client", () => {
  it("B1 LC: everything fails: at most 1.2 × the load and 1/s; the error is the last attempt's", async () => {
    const peers = await Promise.all(
      Array.from({ length: 3 }, () =>
        peerOf(async (connection) => {
          await connection.readRequest();
          connection.rst();
        }),
      ),
    );
    const startedAt = performance.now();
    const client = clientOf(peers.map(({ address }) => address));
    const before = client.mesh.snapshot().services[0]!.retryBudget;
    const calls = 500;
    const ends = await load(client, 4, (made) => made < calls);
    const elapsedS = (performance.now() - startedAt) / 1_000;
    const received = peers.reduce((sum, { requests }) => sum + requests.length, 0);
    // The reserve is 1/s over a window of ten seconds.
    expect(received).toBeLessThanOrEqual(1.2 * calls + 10 + elapsedS);
    expect(received).toBeGreaterThan(calls);
    const budget = client.mesh.snapshot().services[0]!.retryBudget;
    expect(before.balance).toBe(10);
    expect(budget.balance).toBe(0);
    expect(budget.withdrawn).toBe(received - calls);
    expect(budget.refused).toBeGreaterThan(calls / 2);
    expect([...ends.keys()]).toEqual(["reset_before_response"]);
    expect(counted(client.mesh, "inmesh.retry.decisions", { decision: "budget" })).toBe(
      budget.refused,
    );
    const last = await failureOf(client.fetch("/"));
    expect(last).toMatchObject({ attempts: 1, progress: "maybe-processed", noRetry: "budget" });
    const post = await failureOf(client.fetch("/", { method: "POST", body: "x" }));
    expect(post).toMatchObject({ attempts: 1, noRetry: "not_idempotent" });
    expect(peers.map(({ address }) => address)).toContain(last.endpoint);
  });

  it("B4 LC: all fail: who answers gets the load, evenly; who refuses stays out", async () => {
    const answer = [await failing(), await failing()];
    const refusing = await freeAddress();
    const client = clientOf([refusing, ...answer.map(({ address }) => address)], {
      retry: { attempts: 1 },
    });
    await load(client, 2, (made) => made < 200);
    const service = client.mesh.snapshot().services[0]!;
    expect(service.panic).toBe(true);
    const picked = answer.map(({ address }) => picksOf(client, address));
    const refused = picksOf(client, refusing);
    const ends = await load(client, 2, (made) => made < 400);
    expect([...ends]).toEqual([["500 no", 400]]);
    expect(picksOf(client, refusing) - refused).toBe(0);
    for (const [i, { address }] of answer.entries()) {
      expect(picksOf(client, address) - picked[i]!).toBeGreaterThan(400 * 0.3);
    }
  });

  it("B4 LC: the last endpoint is never taken out for its answers", async () => {
    const { address } = await failing();
    const client = clientOf([address], { retry: { attempts: 1 } });
    const ends = await load(client, 1, (made) => made < 100);
    expect([...ends]).toEqual([["500 no", 100]]);
  });

  it("B4 LC: all refuse: the call fails at once, without a queue", async () => {
    const client = clientOf([await freeAddress(), await freeAddress()], {
      timeouts: { connectMs: 1_000 },
    });
    await load(client, 1, (made) => made < 10);
    const took: number[] = [];
    for (let i = 0; i < 50; i++) {
      const startedAt = performance.now();
      const error = await failureOf(client.fetch("/"));
      took.push(performance.now() - startedAt);
      expect(error).toMatchObject({ code: "no_endpoint", reason: "all_open" });
    }
    // The median: any one of them may meet a busy machine.
    expect(took.sort((a, b) => a - b)[25]).toBeLessThan(5);
  });

  /**
   * A process of its own, which goes on while this one stands still. Answers ten calls together, `ms` after the last
   * has come. Makes a file in `directory` when they have come, `arrived`, and one when they have their replies, `answered`.
   */
  const late = (ms: number, directory: string): ReturnType<typeof startChild> =>
    startChild(`
      const note = (name) => require("node:fs").writeFileSync(${JSON.stringify(directory)} + "/" + name, "");
      let requests = 0;
      let replies = 0;
      const waiting = [];
      const server = require("node:http").createServer((request, response) => {
        if (request.url === "/count") return response.end(String(requests));
        requests++;
        if (request.url === "/warm") return setTimeout(() => response.end("ok"), 50);
        response.on("finish", () => ++replies === 10 && note("answered"));
        if (waiting.push(response) < 10) return;
        note("arrived");
        setTimeout(() => waiting.forEach((one) => one.end("ok")), ${ms});
      });
      server.keepAliveTimeout = 65_000;
      server.listen(0, "127.0.0.1", () => ready(server.address().port));
    `);

  const STALL_MS = 1_200;

  /** And for as long after it as `goesOn` says. */
  function standStill(goesOn: () => boolean): void {
    const word = new Int32Array(new SharedArrayBuffer(4));
    Atomics.wait(word, 0, 0, STALL_MS);
    for (let i = 0; i < 400 && goesOn(); i++) Atomics.wait(word, 0, 0, 50);
  }

  interface StalledCalls {
    readonly client: MeshClient;
    readonly results: string[];
    readonly received: number;
    readonly stalledMs: number;
  }

  /**
   * A client with ten connections, which then makes ten calls and stands still; `untilAnswered`: until the server,
   * which may be slow to run on a busy machine, has sent its replies.
   */
  async function stalledCalls(
    ms: number,
    input: ServiceInput,
    untilAnswered: boolean,
  ): Promise<StalledCalls> {
    const directory = await mkdtemp(join(tmpdir(), "inmesh-stall-"));
    onTestFinished(() => rm(directory, { recursive: true, force: true }));
    await using server = await late(ms, directory);
    const client = clientOf([`127.0.0.1:${server.port}`], input);
    const text = async (path: string): Promise<string> => (await client.fetch(path)).text();
    await Promise.all(Array.from({ length: 10 }, () => text("/warm")));
    const calls = Array.from({ length: 10 }, () =>
      text("/").catch((error: { reason: string }) => error.reason),
    );
    // The stall would hold back what has not left.
    await until(() => existsSync(join(directory, "arrived")));
    const stalledAt = performance.now();
    standStill(() => untilAnswered && !existsSync(join(directory, "answered")));
    const stalledMs = performance.now() - stalledAt;
    const results = await Promise.all(calls);
    await sleep(50);
    return { client, results, received: Number(await text("/count")), stalledMs };
  }

  it("B5 LC: our loop stalls: replies that came meanwhile are delivered, nothing is repeated", async () => {
    // All timeouts are over when the loop comes back, and the replies lie in the sockets.
    for (const timeouts of [{ requestMs: 1_000 }, { backendRequestMs: 1_000 }]) {
      const { client, results, received, stalledMs } = await stalledCalls(100, { timeouts }, true);
      expect(results).toEqual(Array.from({ length: 10 }, () => "ok"));
      expect(received).toBe(20);
      expect(counted(client.mesh, "inmesh.attempts", { outcome: "timeout" })).toBe(0);
      expect(client.mesh.snapshot().services[0]!.retryBudget.withdrawn).toBe(0);
      expect(endpointsOf(client)[0]).toMatchObject({
        breaker: { state: "closed", consecutiveFailures: 0 },
        penaltyMs: 0,
      });
      // Its own 100 ms, not the time that we were away.
      expect(endpointsOf(client)[0]!.latencyMs).toBeLessThan(stalledMs);
    }
  });

  it("B5 LC: our loop stalls: deadlines missed meanwhile are not charged", async () => {
    const { client, results } = await stalledCalls(
      5_000,
      { timeouts: { requestMs: 1_000 } },
      false,
    );
    expect(results).toEqual(Array.from({ length: 10 }, () => "call_deadline"));
    expect(counted(client.mesh, "inmesh.attempts", { outcome: "timeout" })).toBe(0);
    expect(counted(client.mesh, "inmesh.attempts", { outcome: "abandoned" })).toBe(10);
    expect(endpointsOf(client)[0]).toMatchObject({
      breaker: { state: "closed", consecutiveFailures: 0 },
      penaltyMs: 0,
    });
    expect(client.mesh.snapshot().services[0]!.retryBudget.withdrawn).toBe(0);
  });

  it("B15 LC: a new endpoint in a busy set: at most 2 × its fair share in any second, no error", async () => {
    const servers = await Promise.all(
      Array.from({ length: 6 }, () =>
        serve((_request, response) => void setTimeout(() => response.end("ok"), 8)),
      ),
    );
    const addresses = servers.map(({ address }) => address);
    const newcomer = addresses.pop()!;
    const discovery = new TestDiscovery((sink) =>
      sink.replace(addresses.map((address) => infoOf(address))),
    );
    const client = discovered(
      discovery,
      { balancer: { slowStartMs: 3_000 } },
      { runtime: new SeededRuntime(7) },
    );
    const total = (): number => endpointsOf(client).reduce((sum, { picks }) => sum + picks, 0);
    await load(client, 10, (made) => made < 300);
    discovery.sink!.change([infoOf(newcomer)], []);
    await until(() => endpointsOf(client).length === 6);
    let on = true;
    const loading = load(client, 10, () => on);
    const shares: number[] = [];
    for (let second = 0; second < 5; second++) {
      const [all, its] = [total(), picksOf(client, newcomer)];
      await sleep(1_000);
      shares.push((picksOf(client, newcomer) - its) / (total() - all));
    }
    on = false;
    const ends = await loading;
    expect([...ends.keys()]).toEqual(["200 ok"]);
    for (const share of shares) expect(share).toBeLessThanOrEqual(2 / 6);
    // It grows: little at first, its part in the end.
    expect(shares[0]).toBeLessThan(shares[4]!);
    expect(shares[4]).toBeGreaterThan(0.5 / 6);
  });
});
