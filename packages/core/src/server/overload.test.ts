/**
 * Load shedding on a model of an event loop, in virtual time: what arrives waits in the kernel until the
 * loop comes round, handlers use its processor, and timers run between two turns. Goodput are the replies
 * within the caller's deadline, beside the same loop without admission.
 */
import { describe, expect, it } from "vitest";
import { ServedRequest } from "../context.ts";
import type { LogLine } from "../log.ts";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { Admission } from "./admission.ts";

interface Request {
  readonly at: number;
  /** How long its caller waits. */
  readonly patienceMs: number;
  /** The server learns of it. */
  readonly tells: boolean;
  readonly cpuMs: number;
  /** The handler waits so long before it uses the processor. */
  readonly ioMs: number;
}

interface Result {
  good: number;
  late: number;
  refused: number;
  /** Requests that were refused although nothing else came up in their turn. */
  alone: number;
  log: LogLine[];
}

/** What a refusal costs. */
const REFUSAL_MS = 0.1;

/** `again`: what its caller sends next, after a reply or a refusal. */
async function play(
  arrivals: Request[],
  untilMs: number,
  limits: { maxLoopDelayMs: number },
  again?: (before: Request, now: number, refused: boolean) => Request | undefined,
): Promise<Result> {
  const runtime = new SimRuntime(1);
  const result: Result = { good: 0, late: 0, refused: 0, alone: 0, log: [] };
  const admission = new Admission({ maxInFlight: 4096, ...limits }, runtime, "orders", (line) =>
    result.log.push(line),
  );
  const waiting = arrivals.toSorted((a, b) => a.at - b.at);
  const io: { at: number; one: Request }[] = [];
  const next = (one: Request, refused: boolean): void => {
    const following = again?.(one, runtime.now(), refused);
    if (following === undefined) return;
    const place = waiting.findLastIndex(({ at }) => at <= following.at);
    waiting.splice(place + 1, 0, following);
  };
  const work = (one: Request): void => {
    runtime.stall(one.cpuMs);
    admission.inFlight--;
    if (runtime.now() > untilMs) return;
    if (runtime.now() - one.at <= one.patienceMs) result.good++;
    else result.late++;
    next(one, false);
  };
  while (runtime.now() < untilMs) {
    const idleUntil = Math.min(waiting[0]?.at ?? Infinity, io[0]?.at ?? Infinity, untilMs);
    await runtime.runUntil(Math.max(runtime.now(), idleUntil));
    const turnAt = runtime.now();
    while (io[0] !== undefined && io[0].at <= turnAt) work(io.shift()!.one);
    const polledAt = runtime.now();
    let inTurn = 0;
    while (waiting[0] !== undefined && waiting[0].at <= polledAt) {
      const one = waiting.shift()!;
      const busy = inTurn++ > 0 || admission.inFlight > 0;
      const remainingMs = one.tells ? one.patienceMs : Infinity;
      if (admission.refuses(new ServedRequest(), remainingMs) !== undefined) {
        runtime.stall(REFUSAL_MS);
        result.refused++;
        if (!busy) result.alone++;
        next(one, true);
        continue;
      }
      admission.inFlight++;
      if (one.ioMs === 0) work(one);
      else {
        io.push({ at: runtime.now() + one.ioMs, one });
        io.sort((a, b) => a.at - b.at);
      }
    }
  }
  return result;
}

const DEFAULTS = { maxLoopDelayMs: 1_000 };
const BARE = { maxLoopDelayMs: Infinity };

function request(fields: Partial<Request> = {}): Request {
  return { at: 0, patienceMs: Infinity, tells: false, cpuMs: 20, ioMs: 0, ...fields };
}

/** A Poisson stream of requests that take `cpuMs` on average, of which the loop can do `load` at a time. */
function stream(
  seed: number,
  load: number,
  fields: (random: () => number) => Partial<Request>,
): Request[] {
  const runtime = new SimRuntime(seed);
  const random = (): number => runtime.random();
  const all: Request[] = [];
  let at = 0;
  for (;;) {
    const one = request(fields(random));
    at += -Math.log(1 - random()) * (20 / load);
    if (at > 60_000) return all;
    all.push({ ...one, at });
  }
}

const closed = (before: Request, now: number): Request => ({ ...before, at: now + 0.2 });

describe("one stall is no state", () => {
  it.each([2_000, 10_000])("R12 CO: after a stall of %i ms nothing is refused", async (cpuMs) => {
    const arrivals = [
      request({ cpuMs }),
      ...Array.from({ length: 300 }, (_, i) => request({ at: 10 + i * 20, cpuMs: 2 })),
    ];
    const { good, refused } = await play(arrivals, 20_000, DEFAULTS);
    expect({ good, refused }).toEqual({ good: 301, refused: 0 });
  });

  it("R12 CO: a burst that the loop works off is served whole", async () => {
    const arrivals: Request[] = [];
    for (let at = 0; at < 20_000; at += 4_000) {
      for (let i = 0; i < 90; i++) arrivals.push(request({ at }));
    }
    expect(await play(arrivals, 20_000, DEFAULTS)).toMatchObject({ good: 450, refused: 0 });
  });

  it("R12 CO: what has certainly waited longer than its caller does is not begun", async () => {
    const arrivals = [
      request({ cpuMs: 1_000 }),
      request({ at: 0, patienceMs: 900, tells: true }),
      request({ at: 0, patienceMs: 1_100, tells: true }),
    ];
    expect(await play(arrivals, 5_000, DEFAULTS)).toMatchObject({ good: 2, refused: 1 });
  });
});

describe("services that use the processor", () => {
  it.each([
    [1, 300],
    [1, 3_000],
    [4, 100],
    [4, 250],
  ])(
    "R12 CO: %i callers in a closed loop of %i ms each: nothing is refused",
    async (callers, cpuMs) => {
      const arrivals = Array.from({ length: callers }, () => request({ cpuMs }));
      const { good, refused } = await play(arrivals, 60_000, DEFAULTS, closed);
      expect(refused).toBe(0);
      expect(good).toBeGreaterThanOrEqual(Math.floor(60_000 / (cpuMs + 0.3)));
    },
  );

  it.each([
    [64, 100],
    [200, 20],
    [20, 300],
  ])(
    "R12 CO: %i callers of %i ms that come back at once lose no goodput to refusals",
    async (callers, cpuMs) => {
      const arrivals = Array.from({ length: callers }, () => request({ cpuMs }));
      const bare = await play(arrivals, 60_000, BARE, closed);
      const ours = await play(arrivals, 60_000, DEFAULTS, closed);
      expect(ours.good / bare.good).toBeGreaterThan(0.98);
      expect(ours.refused).toBeGreaterThan(0);
      expect(ours.alone).toBe(0);
    },
  );

  it("R12 CO: callers that stay away for a second after a refusal leave no hole", async () => {
    const arrivals = Array.from({ length: 64 }, () => request({ cpuMs: 50 }));
    const politely = (before: Request, now: number, refused: boolean): Request =>
      closed(before, refused ? now + 1_000 : now);
    const bare = await play(arrivals, 60_000, BARE, politely);
    const ours = await play(arrivals, 60_000, DEFAULTS, politely);
    expect(ours.good / bare.good).toBeGreaterThan(0.98);
  });
});

const MIXES: Record<string, (random: () => number) => Partial<Request>> = {
  "20 ms each": () => ({}),
  "a tenth of 110 ms, the rest of 10 ms": (random) => ({ cpuMs: random() < 0.1 ? 110 : 10 }),
  "I/O of 50 ms before": () => ({ ioMs: 50 }),
  "I/O of 5 to 500 ms before": (random) => ({ ioMs: 5 + 495 * random() }),
};

describe.each(Object.keys(MIXES))("an open loop, %s", (mix) => {
  const fields = MIXES[mix]!;

  it.each([0.5, 0.8, 0.9])("R12 CO: at %f of capacity no less is served in time", async (load) => {
    let [bare, ours] = [0, 0];
    for (const patienceMs of [500, 1_000, 2_000]) {
      for (const seed of [1, 2, 3]) {
        const arrivals = stream(seed, load, (random) => ({
          ...fields(random),
          patienceMs,
          tells: true,
        }));
        bare += (await play(arrivals, 60_000, BARE)).good;
        ours += (await play(arrivals, 60_000, DEFAULTS)).good;
      }
    }
    expect(ours / bare).toBeGreaterThan(0.998);
  });

  it.each([
    [1.2, 1.3],
    [1.5, 1.5],
    [3, 1.5],
  ])("R12 CO: at %f times capacity %f times as much is served in time", async (load, least) => {
    for (const patienceMs of [500, 1_000, 2_000]) {
      const arrivals = stream(7, load, (random) => ({
        ...fields(random),
        patienceMs,
        tells: true,
      }));
      const bare = await play(arrivals, 60_000, BARE);
      const ours = await play(arrivals, 60_000, DEFAULTS);
      expect(ours.good / bare.good).toBeGreaterThan(least);
      expect(ours.alone).toBe(0);
    }
  });

  it("R12 CO: over capacity, callers that wait for ever get no less", async () => {
    const arrivals = stream(7, 1.5, fields);
    const bare = await play(arrivals, 60_000, BARE);
    const ours = await play(arrivals, 60_000, DEFAULTS);
    expect(ours.good / bare.good).toBeGreaterThan(0.98);
    expect(ours.refused).toBeGreaterThan(0);
  });
});

describe("what it says", () => {
  const overload = (): Request[] => stream(1, 3, () => ({}));

  it("R12 CO: the first refusal is logged with what to do, then once a minute with how many", async () => {
    const { log, refused } = await play(overload(), 60_000, DEFAULTS);
    expect(refused).toBeGreaterThan(1_000);
    expect(log).toHaveLength(1);
    expect(log[0]).toMatchObject({ level: "warn", event: "server.refusing" });
    expect(log[0]!.message).toMatch(
      /^orders: a request is refused \(loop_delay\): the event loop is late by \d+ ms or more, limits\.maxLoopDelayMs is 1000.*add instances/,
    );
  });

  it("R12 CO: the next line says how many there were since", () => {
    const runtime = new SimRuntime(1);
    const log: LogLine[] = [];
    const limits = { maxInFlight: 0, maxLoopDelayMs: Infinity };
    const admission = new Admission(limits, runtime, "orders", (line) => log.push(line));
    for (let i = 0; i < 121; i++) {
      admission.refuses(new ServedRequest(), Infinity);
      runtime.stall(1_000);
    }
    expect(log.map(({ message }) => message.slice(0, 48))).toEqual([
      "orders: a request is refused (concurrency): 0 ar",
      "orders: 60 requests were refused (concurrency): ",
      "orders: 60 requests were refused (concurrency): ",
    ]);
  });

  it("R12 CO: a log that throws changes no refusal", () => {
    const admission = new Admission(
      { maxInFlight: 0, maxLoopDelayMs: Infinity },
      new SimRuntime(1),
      "orders",
      () => {
        throw new Error("disk full");
      },
    );
    expect(admission.refuses(new ServedRequest(), Infinity)).toBe("concurrency");
  });
});
