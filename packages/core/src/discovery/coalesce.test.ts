import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { CoalescingSink, GATHER_MS } from "./coalesce.ts";
import type { EndpointSink } from "./discovery.ts";
import { addressOf, type EndpointInfo } from "../endpoint-info.ts";

const at = (i: number): EndpointInfo => ({ host: `10.0.0.${i}`, port: 80 });

/** What a consumer would have in the end, and when it got it. */
class Consumer implements EndpointSink {
  readonly set = new Map<string, EndpointInfo>();
  readonly toldAt: number[] = [];
  error: Error | undefined;
  readonly #runtime: SimRuntime | undefined;
  constructor(runtime?: SimRuntime) {
    this.#runtime = runtime;
  }
  replace(endpoints: readonly EndpointInfo[]): void {
    this.set.clear();
    this.change(endpoints, []);
  }
  change(upserted: readonly EndpointInfo[], removed: readonly EndpointInfo[]): void {
    for (const info of removed) this.set.delete(addressOf(info));
    for (const info of upserted) this.set.set(addressOf(info), info);
    this.error = undefined;
    if (this.#runtime !== undefined) this.toldAt.push(this.#runtime.now());
  }
  failed(error: Error): void {
    this.error = error;
  }
}

describe("news of a source", () => {
  it("D10 CO: of a flapping endpoint the first is applied at once, then one every 100 ms at most", async () => {
    const runtime = new SimRuntime(1);
    const consumer = new Consumer(runtime);
    const sink = new CoalescingSink(consumer, runtime);
    sink.replace([at(1), at(2)]);
    for (let i = 0; i < 100; i++) {
      await runtime.advance(10);
      if (i % 2 === 0) sink.change([], [at(1)]);
      else sink.change([at(1)], []);
    }
    await runtime.advance(1000);
    expect(consumer.toldAt[0]).toBe(0);
    expect(consumer.toldAt).toHaveLength(12);
    for (let i = 1; i < consumer.toldAt.length; i++) {
      expect(consumer.toldAt[i]! - consumer.toldAt[i - 1]!).toBe(GATHER_MS);
    }
    expect([...consumer.set.keys()].toSorted()).toEqual(["10.0.0.1:80", "10.0.0.2:80"]);
    // Quiet since: the next is applied at once again.
    sink.change([], [at(2)]);
    expect(consumer.set.size).toBe(1);
  });

  it("come out as they would have one by one", async () => {
    const endpoint = fc.integer({ min: 1, max: 4 });
    const list = fc.uniqueArray(endpoint, { maxLength: 4 });
    const news = fc.oneof(
      fc.record({ kind: fc.constant("replace" as const), list }),
      fc.record({ kind: fc.constant("change" as const), list, gone: list }),
      fc.record({ kind: fc.constant("failed" as const) }),
      fc.record({ kind: fc.constant("pass" as const), ms: fc.integer({ min: 1, max: 250 }) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(news, { maxLength: 30 }), async (all) => {
        const runtime = new SimRuntime(1);
        const gathered = new Consumer();
        const direct = new Consumer();
        const sink = new CoalescingSink(gathered, runtime);
        for (const [i, one] of all.entries()) {
          const weighted = (n: number): EndpointInfo => ({ ...at(n), weight: i + 1 });
          if (one.kind === "pass") await runtime.advance(one.ms);
          for (const to of one.kind === "pass" ? [] : [sink, direct]) {
            if (one.kind === "replace") to.replace(one.list.map(weighted));
            if (one.kind === "change") to.change(one.list.map(weighted), one.gone.map(at));
            if (one.kind === "failed") to.failed(new Error(`${i}`));
          }
        }
        await runtime.advance(2 * GATHER_MS);
        const sorted = ({ set }: Consumer) => [...set.values()].map(show).toSorted();
        expect(sorted(gathered)).toEqual(sorted(direct));
        expect(gathered.error?.message).toBe(direct.error?.message);
      }),
    );
  });

  it("are not passed on after stop, and an error waits for older news only", async () => {
    const runtime = new SimRuntime(1);
    const consumer = new Consumer(runtime);
    const sink = new CoalescingSink(consumer, runtime);
    sink.replace([at(1)]);
    sink.failed(new Error("now"));
    expect(consumer.error?.message).toBe("now");
    sink.replace([at(2)]);
    sink.failed(new Error("later"));
    expect(consumer.error?.message).toBe("now");
    sink.stop();
    await runtime.advance(1000);
    sink.replace([]);
    sink.change([at(3)], []);
    sink.failed(new Error("late"));
    expect([...consumer.set.keys()]).toEqual(["10.0.0.1:80"]);
    expect(consumer.toldAt).toEqual([0]);
  });
});

function show(info: EndpointInfo): string {
  return `${addressOf(info)} ${info.weight}`;
}

it("news that are applied in turns are complete before the next are, errors too", async () => {
  const runtime = new SimRuntime(1);
  const applied: string[] = [];
  let complete = (): void => {};
  const sink = new CoalescingSink(
    {
      replace(endpoints) {
        applied.push(`replace ${endpoints.length}`);
        return new Promise((resolve) => (complete = resolve));
      },
      change: (upserted, removed) =>
        void applied.push(`change +${upserted.length} -${removed.length}`),
      failed: ({ message }) => void applied.push(message),
    },
    runtime,
  );
  sink.replace([at(1), at(2)]);
  sink.change([at(3)], []);
  sink.failed(new Error("away"));
  await runtime.advance(3 * GATHER_MS);
  expect(applied).toEqual(["replace 2"]);
  complete();
  await runtime.advance(1);
  expect(applied).toEqual(["replace 2", "change +1 -0", "away"]);
  // One that was stopped meanwhile passes nothing on.
  await runtime.advance(GATHER_MS);
  sink.replace([at(1)]);
  sink.change([at(4)], []);
  sink.stop();
  complete();
  await runtime.advance(3 * GATHER_MS);
  expect(applied.slice(3)).toEqual(["replace 1"]);
});
