import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { Misuse, type ConnectionUse, type MisuseLimits } from "./misuse.ts";
import { Tally } from "./tally.ts";

class Connection {
  destroyed = false;
  asked = 0;
  destroy(): void {
    this.destroyed = true;
  }
}

function bench(limits: Partial<MisuseLimits> = {}) {
  const runtime = new SimRuntime(1);
  const counted: string[] = [];
  const session = new Connection();
  const use: ConnectionUse<Connection> = {
    session,
    evicted: false,
    streams: 0,
    resets: 0,
    recentResets: new Tally(),
    headBytes: 0,
  };
  const misuse = new Misuse<Connection, "other">(
    { maxStreamResets: 50, maxResetRatio: 0.5, maxConnectionHeaderBytes: 1_000, ...limits },
    runtime,
    (one) => void one.asked++,
    (reason) => void counted.push(reason),
  );
  return { runtime, counted, session, use, misuse };
}

describe("misuse", () => {
  it("is asked to leave once, counted once, and ended a second later", async () => {
    const { runtime, counted, session, use, misuse } = bench();
    misuse.over(use, "other");
    misuse.over(use, "other");
    misuse.evict(use);
    expect(counted).toEqual(["other"]);
    expect(session).toEqual({ asked: 1, destroyed: false });
    await runtime.advance(999);
    expect(session.destroyed).toBe(false);
    await runtime.advance(1);
    expect(session.destroyed).toBe(true);
  });

  it("asks nothing of a connection that has gone, nor of one without a session", async () => {
    const { runtime, counted, session, use, misuse } = bench();
    session.destroy();
    misuse.over(use, "other");
    expect(counted).toEqual([]);
    misuse.evict({ ...use, session: undefined });
    await runtime.advance(2_000);
    expect(session.asked).toBe(0);
  });

  it("resets: more at once than may be, and more than the ratio of all requests", () => {
    const some = {
      maxStreamResets: fc.integer({ min: 0, max: 100 }),
      maxResetRatio: fc.double({ min: 0, max: 1, noNaN: true }),
    };
    fc.assert(
      fc.property(fc.record(some), fc.array(fc.boolean(), { maxLength: 200 }), (limits, resets) => {
        const { runtime, use, misuse } = bench(limits);
        let wanted = false;
        let count = 0;
        for (const [i, isReset] of resets.entries()) {
          use.streams++;
          if (!isReset) continue;
          count++;
          misuse.reset(use, runtime.now(), Infinity);
          wanted ||= count > limits.maxStreamResets && count > limits.maxResetRatio * (i + 1);
        }
        expect(use.evicted).toBe(wanted);
      }),
    );
  });

  it.each([
    [33, false],
    [34, true],
  ])(
    "resets: Node's burst at once, then %i every second: closed: %s",
    async (perSecond, closed) => {
      const { runtime, use, misuse } = bench({ maxStreamResets: 1_000 });
      const reset = (): void => {
        use.streams++;
        misuse.reset(use, runtime.now(), Infinity);
      };
      for (let i = 0; i < 1_000; i++) reset();
      expect(use.evicted).toBe(false);
      for (let second = 0; second < 60; second++) {
        await runtime.advance(1_000);
        for (let i = 0; i < perSecond; i++) reset();
      }
      expect(use.evicted).toBe(closed);
    },
  );

  it.each([
    ["half of a very short time", 2, 4],
    ["all but 20 ms", 80, 100],
    ["nine tenths of their time", 900, 1_000],
    ["a second of more time", 1_000, 5_000],
    ["a second without a deadline", 1_000, Infinity],
  ])("resets: not of those who have waited for %s", async (_, patientMs, timeoutMs) => {
    const { runtime, use, misuse } = bench();
    const startedAt = runtime.now();
    await runtime.advance(patientMs);
    misuse.reset(use, startedAt, startedAt + timeoutMs);
    expect(use.resets).toBe(0);
    misuse.reset(use, startedAt + 1, startedAt + 1 + timeoutMs);
    expect(use.resets).toBe(1);
  });

  it("resets: where it is not known how long they have waited, they count", () => {
    const { use, misuse } = bench();
    misuse.reset(use, NaN, Infinity);
    expect(use.resets).toBe(1);
  });

  it("heads: as many bytes as may be, and not one more", () => {
    const { use, misuse, session } = bench();
    use.headBytes = 400;
    expect(misuse.holds(use, 600)).toBe(true);
    expect(session.asked).toBe(0);
    expect(misuse.holds(use, 601)).toBe(false);
    expect(session.asked).toBe(1);
  });
});
