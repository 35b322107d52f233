/**
 * The whole pipeline over a stub that replies at once, in a fresh process: argv is the kind of call
 * (`mesh`, `observed`, `bare`, `cockatiel`), the calls per round and the rounds. Prints `SeamRun` as JSON.
 */
import { createMesh, type Mesh, type Observer } from "@inmesh/core";
import { Call } from "@inmesh/core/spi";
import { StubRequest, stubProtocol } from "@inmesh/core/testing";
import {
  circuitBreaker,
  ConsecutiveBreaker,
  ExponentialBackoff,
  handleAll,
  retry,
  timeout,
  TimeoutStrategy,
  wrap,
} from "cockatiel";
import { settledHeap, threadMs } from "../child.ts";

export interface SeamRun {
  /** Microseconds of CPU time per call, round by round. */
  readonly cpuUs: number[];
  /** The same by the clock on the wall. */
  readonly wallUs: number[];
  /** Garbage made by a call. */
  readonly bytesPerCall: number;
}

interface Subject {
  calls(count: number): Promise<void>;
  /** Throws if the calls made so far were not done as they should be. */
  verify(count: number): Promise<void>;
}

const ENDPOINTS = 10;
/** Before the first measured round: V8 has optimised everything and settled its feedback. */
const WARM_ROUNDS = 4;

/** With an observer attached that takes every hook of a call and does no more than count. */
function observedSubject(): Subject {
  const counts = { callStarted: 0, attemptStarted: 0, attemptEnded: 0, callEnded: 0 };
  const subject = meshSubject({
    callStarted: () => void counts.callStarted++,
    attemptStarted: () => void counts.attemptStarted++,
    attemptEnded: () => void counts.attemptEnded++,
    callEnded: () => void counts.callEnded++,
  });
  return {
    calls: (count) => subject.calls(count),
    async verify(count) {
      for (const [hook, times] of Object.entries(counts)) equal(hook, times, count);
      await subject.verify(count);
    },
  };
}

function meshSubject(observer?: Observer): Subject {
  let served = 0;
  const mesh = createMesh({
    env: {},
    config: { services: { orders: { discovery: { static: addresses() } } } },
  });
  if (observer !== undefined) mesh.observe(observer);
  const protocol = stubProtocol((exchange) => {
    served++;
    exchange.reply();
  });
  const service = mesh.service("orders", protocol);
  const request = new StubRequest("/orders/1");
  return {
    async calls(count) {
      for (let i = 0; i < count; i++) {
        const reply = await service.current(new Call("orders", request, true, true));
        if (reply.code !== 200) throw new Error(`reply ${reply.code}`);
      }
    },
    async verify(count) {
      equal("attempts served", served, count);
      verifyMesh(mesh, count);
      await mesh.close();
    },
  };
}

function verifyMesh(mesh: Mesh, count: number): void {
  const [service] = mesh.snapshot().services;
  if (service === undefined) throw new Error("no service");
  equal("calls in flight", service.callsInFlight, 0);
  equal("endpoints", service.endpoints.length, ENDPOINTS);
  equal("attempts in flight", sum(service.endpoints.map(({ inFlight }) => inFlight)), 0);
  equal("picks", sum(service.endpoints.map(({ picks }) => picks)), count);
  for (const name of ["inmesh.calls", "inmesh.attempts"]) equal(name, counted(mesh, name), count);
}

function counted(mesh: Mesh, name: string): number {
  const series = mesh
    .metrics()
    .filter((one) => one.name === name && one.labels["outcome"] === "success");
  return sum(series.map((one) => (one.kind === "histogram" ? one.count : one.value)));
}

/** The same stub server behind one promise: what awaiting costs without a mesh. */
function bareSubject(): Subject {
  const stub = bareStub();
  return {
    async calls(count) {
      for (let i = 0; i < count; i++) {
        const reply = await stub.send();
        if (reply.code !== 200) throw new Error(`reply ${reply.code}`);
      }
    },
    verify: (count) => Promise.resolve(equal("served", stub.served(), count)),
  };
}

/** A comparable stack of a resilience library: no discovery, balancing, budget or metrics. */
function cockatielSubject(): Subject {
  const stub = bareStub();
  const policy = wrap(
    retry(handleAll, { maxAttempts: 1, backoff: new ExponentialBackoff({ initialDelay: 25 }) }),
    circuitBreaker(handleAll, { halfOpenAfter: 1000, breaker: new ConsecutiveBreaker(7) }),
    timeout(15_000, TimeoutStrategy.Cooperative),
  );
  return {
    async calls(count) {
      for (let i = 0; i < count; i++) {
        const reply = await policy.execute(() => stub.send());
        if (reply.code !== 200) throw new Error(`reply ${reply.code}`);
      }
    },
    verify: (count) => Promise.resolve(equal("served", stub.served(), count)),
  };
}

function bareStub(): { send(): Promise<{ code: number }>; served(): number } {
  let served = 0;
  return {
    send() {
      served++;
      return new Promise((resolve) => {
        resolve({ code: 200 });
      });
    },
    served: () => served,
  };
}

function addresses(): string[] {
  return Array.from({ length: ENDPOINTS }, (_, i) => `10.0.0.${i + 1}:8080`);
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}

function equal(what: string, actual: number, expected: number): void {
  if (actual !== expected) throw new Error(`${what}: ${actual}, expected ${expected}`);
}

const SUBJECTS: Record<string, () => Subject> = {
  mesh: () => meshSubject(),
  observed: observedSubject,
  bare: bareSubject,
  cockatiel: cockatielSubject,
};

const [kind = "mesh", perRound = "100000", rounds = "15"] = process.argv.slice(2);
const calls = Number(perRound);
const subject = SUBJECTS[kind]!();
const run: { -readonly [K in keyof SeamRun]: SeamRun[K] } = {
  cpuUs: [],
  wallUs: [],
  bytesPerCall: 0,
};
for (let round = -WARM_ROUNDS; round < Number(rounds); round++) {
  const cpu = threadMs();
  const wall = performance.now();
  await subject.calls(calls);
  const wallUs = ((performance.now() - wall) * 1000) / calls;
  const cpuUs = ((threadMs() - cpu) * 1000) / calls;
  if (round < 0) continue;
  run.cpuUs.push(cpuUs);
  run.wallUs.push(wallUs);
}
// Few enough calls that the young generation is not collected in between.
const few = 500;
settledHeap();
const before = process.memoryUsage().heapUsed;
await subject.calls(few);
run.bytesPerCall = (process.memoryUsage().heapUsed - before) / few;
await subject.verify(calls * (Number(rounds) + WARM_ROUNDS) + few);
process.stdout.write(JSON.stringify(run));
