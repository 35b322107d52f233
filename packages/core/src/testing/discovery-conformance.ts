/**
 * The Discovery contract as a list of checks, whatever the source. An adapter says what the source
 * knows; the checks look at what it reports. Run them with any test framework:
 *
 *   for (const { title, run } of discoveryConformance(adapter)) it(title, run);
 */
import { strict as assert } from "node:assert";
import type { Discovery, EndpointSink, EndpointWatch } from "../discovery/discovery.ts";
import { addressOf, type EndpointInfo } from "../endpoint-info.ts";
import type { ConformanceCheck } from "./conformance-parts.ts";

export interface DiscoveryAdapter {
  /** What the source knows may change, and it may be unable to read it. */
  readonly changes: boolean;
  /** It can know that an endpoint is draining. Default false. */
  readonly drains?: boolean;
  /** A source that knows these. */
  open(known: readonly EndpointInfo[]): Promise<DiscoveryBench>;
}

export interface DiscoveryBench {
  readonly discovery: Discovery;
  /** From now on the source knows these; undefined: it cannot read anything. */
  say(known: readonly EndpointInfo[] | undefined): void;
  /** Lets time pass until the condition holds; rejects if it never does. */
  until(condition: () => boolean): Promise<void>;
  /** Lets whatever is on its way arrive. */
  settle(): Promise<void>;
  close(): Promise<void>;
}

/** The reports that a consumer has received. */
class Listener implements EndpointSink {
  readonly set = new Map<string, EndpointInfo>();
  readonly news: ("replace" | "change" | "failed")[] = [];

  replace(endpoints: readonly EndpointInfo[]): void {
    this.news.push("replace");
    this.set.clear();
    for (const info of endpoints) this.set.set(addressOf(info), info);
  }

  change(upserted: readonly EndpointInfo[], removed: readonly EndpointInfo[]): void {
    this.news.push("change");
    for (const info of removed) this.set.delete(addressOf(info));
    for (const info of upserted) this.set.set(addressOf(info), info);
  }

  failed(error: Error): void {
    assert.ok(error instanceof Error && error.message !== "", "says why");
    this.news.push("failed");
  }

  has(...infos: readonly EndpointInfo[]): boolean {
    return this.set.size === infos.length && infos.every((info) => this.set.has(addressOf(info)));
  }
}

const A: EndpointInfo = { host: "10.0.0.1", port: 80 };
const B: EndpointInfo = { host: "10.0.0.2", port: 80 };

export function discoveryConformance(adapter: DiscoveryAdapter): ConformanceCheck[] {
  const checks: ConformanceCheck[] = [];
  const check = (
    title: string,
    body: (bench: DiscoveryBench, watch: (listener: Listener) => EndpointWatch) => Promise<void>,
  ): void => {
    const run = async (): Promise<void> => {
      const bench = await adapter.open([A, B]);
      const watches: EndpointWatch[] = [];
      try {
        await body(bench, (listener) => {
          const watch = bench.discovery.watch(listener);
          watches.push(watch);
          return watch;
        });
      } finally {
        for (const watch of watches) watch.stop();
        await bench.close();
      }
    };
    checks.push({ title, run });
  };

  check("its name may be a label", async ({ discovery }) => {
    await Promise.resolve();
    assert.match(discovery.source, /^[a-z][a-z0-9-]{0,30}$/);
  });

  check("its first report is the whole set", async (bench, watch) => {
    const listener = new Listener();
    watch(listener);
    await bench.until(() => listener.news.length > 0);
    assert.equal(listener.news[0], "replace");
    assert.ok(listener.has(A, B));
  });

  check("each watch gets reports, and ends by itself", async (bench, watch) => {
    const [one, two] = [new Listener(), new Listener()];
    const first = watch(one);
    watch(two);
    await bench.until(() => one.has(A, B) && two.has(A, B));
    first.stop();
    if (!adapter.changes) return;
    bench.say([A]);
    await bench.until(() => two.has(A));
    assert.ok(one.has(A, B), "reported after stop");
  });

  check(
    "nothing is reported after stop, however often it is stopped or asked",
    async (bench, watch) => {
      const listener = new Listener();
      const watched = watch(listener);
      watched.refresh();
      await bench.until(() => listener.has(A, B));
      bench.say([A]);
      watched.refresh();
      watched.stop();
      watched.stop();
      watched.refresh();
      const before = listener.news.length;
      await bench.settle();
      assert.equal(listener.news.length, before);
    },
  );

  check("a watch that is stopped at once reports nothing more", async (bench, watch) => {
    const listener = new Listener();
    watch(listener).stop();
    const before = listener.news.length;
    await bench.settle();
    assert.equal(listener.news.length, before);
  });

  if (adapter.changes && adapter.drains === true) {
    check("an endpoint that drains stays in the set and says so", async (bench, watch) => {
      const listener = new Listener();
      const watched = watch(listener);
      await bench.until(() => listener.has(A, B));
      bench.say([A, { ...B, draining: true }]);
      watched.refresh();
      await bench.until(() => listener.set.get(addressOf(B))?.draining === true);
      assert.ok(listener.has(A, B));
      assert.notEqual(listener.set.get(addressOf(A))?.draining, true);
    });
  }

  if (!adapter.changes) return checks;

  check("what changes is reported", async (bench, watch) => {
    const listener = new Listener();
    const watched = watch(listener);
    await bench.until(() => listener.has(A, B));
    bench.say([B]);
    watched.refresh();
    await bench.until(() => listener.has(B));
  });

  check(
    "a source that knows nothing reports an error, and never an empty set",
    async (bench, watch) => {
      const listener = new Listener();
      const watched = watch(listener);
      await bench.until(() => listener.has(A, B));
      bench.say(undefined);
      watched.refresh();
      await bench.until(() => listener.news.at(-1) === "failed");
      assert.ok(listener.has(A, B), "the last good set was taken back");
      bench.say([A, B]);
      watched.refresh();
      await bench.until(() => listener.news.at(-1) !== "failed");
      assert.ok(listener.has(A, B));
    },
  );

  check("an error is also reported when it comes first", async (bench, watch) => {
    bench.say(undefined);
    const listener = new Listener();
    watch(listener);
    await bench.until(() => listener.news.length > 0);
    assert.equal(listener.news[0], "failed");
    bench.say([A]);
    await bench.until(() => listener.has(A));
  });

  return checks;
}
