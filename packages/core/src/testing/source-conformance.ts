/**
 * The contract of a configuration source as a list of checks, whatever the source. An adapter says what it
 * knows; the checks look at what it reports to a mesh. Run them with any test framework:
 *
 *   for (const { title, run } of sourceConformance(adapter)) it(title, run);
 */
import { strict as assert } from "node:assert";
import type { MeshInput } from "../config/input.ts";
import { loadLayers } from "../config/load.ts";
import { mergeConfig } from "../config/merge.ts";
import { makeMistake } from "../config/mistakes.ts";
import { OUTSIDE_RANKS, RANKS } from "../config/ranks.ts";
import {
  type ConfigLayer,
  type ConfigSink,
  type ConfigSource,
  type ConfigWatch,
  SOURCE_NAME,
} from "../config/source.ts";
import { BUILT_IN_KINDS } from "../discovery-kinds.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { ConformanceCheck } from "./conformance-parts.ts";

export interface SourceAdapter {
  /** What the source knows may change, and it may be unable to read it. */
  readonly changes: boolean;
  /** A source that knows this. */
  open(known: MeshInput): Promise<SourceBench>;
}

export interface SourceBench {
  readonly source: ConfigSource;
  /** What `watch` is given. */
  readonly runtime: Runtime;
  /** From now on the source knows this; undefined: it cannot read anything. */
  say(known: MeshInput | undefined): void;
  /** Lets time pass until the condition holds; rejects if it never does. */
  until(condition: () => boolean): Promise<void>;
  /** Lets what is on its way arrive. */
  settle(): Promise<void>;
  close(): Promise<void>;
}

/** The reports that a mesh has received. */
class Listener implements ConfigSink {
  readonly news: ("replace" | "failed")[] = [];
  /** Each layer, beside what it held when it came. */
  readonly layers: { readonly layer: ConfigLayer; readonly text: string }[] = [];

  replace(layer: ConfigLayer): void {
    this.news.push("replace");
    this.layers.push({ layer, text: JSON.stringify(layer.input) });
  }

  failed(error: Error): void {
    assert.ok(error instanceof Error && error.message !== "", "says why");
    this.news.push("failed");
  }

  /** The services of the last layer. */
  has(...names: readonly string[]): boolean {
    const last = this.layers.at(-1);
    return last !== undefined && servicesOf(last.layer).join() === names.join();
  }
}

const A: MeshInput = { services: { bills: { url: "http://10.0.0.1:80" } } };
const B: MeshInput = { services: { orders: { url: "http://10.0.0.2:80" } } };

/** The services of a layer as a mesh reads it; throws ConfigError where a mesh would refuse it. */
function servicesOf(layer: ConfigLayer): string[] {
  const merged = mergeConfig([{ ...layer, origin: layer.origin ?? "source" }]);
  return Object.keys(loadLayers(merged, { kinds: BUILT_IN_KINDS }).config.services).toSorted();
}

export function sourceConformance(adapter: SourceAdapter): ConformanceCheck[] {
  const checks: ConformanceCheck[] = [];
  const check = (
    title: string,
    body: (bench: SourceBench, watch: (listener: Listener) => ConfigWatch) => Promise<void>,
  ): void => {
    const run = async (): Promise<void> => {
      const bench = await adapter.open(A);
      const watches: ConfigWatch[] = [];
      try {
        await body(bench, (listener) => {
          const { runtime } = bench;
          const watch = bench.source.watch(listener, { runtime, log() {} });
          watches.push(watch);
          return watch;
        });
      } finally {
        for (const watch of watches) await watch.stop();
        await bench.close();
      }
    };
    checks.push({ title, run });
  };

  check("its name may be a label, and it has a rank", async ({ source }) => {
    await Promise.resolve();
    assert.match(source.name, SOURCE_NAME);
    const builtIn = source.name === "environment" || source.name === "file";
    const ranks: readonly string[] = builtIn ? RANKS : OUTSIDE_RANKS;
    assert.ok(ranks.includes(source.rank), `${source.rank} is none of ${ranks.join(", ")}`);
  });

  check("its first report is all it knows, as plain data", async (bench, watch) => {
    const listener = new Listener();
    watch(listener);
    if (bench.source.required === true)
      assert.ok(listener.news.length > 0, "reports nothing at once");
    await bench.until(() => listener.news.length > 0);
    assert.equal(listener.news[0], "replace");
    assert.ok(listener.has("bills"));
    const { layer, text } = listener.layers[0]!;
    assert.deepEqual(structuredClone(layer.input), JSON.parse(text));
    for (const label of [layer.version, layer.origin]) {
      assert.ok(label === undefined || (typeof label === "string" && label.length <= 256));
    }
  });

  check(
    "it gets a report of what became of a layer, and goes on after any of it",
    async (bench, watch) => {
      const listener = new Listener();
      const watched = watch(listener);
      await bench.until(() => listener.has("bills"));
      const { layer } = listener.layers[0]!;
      const mistakes = [makeMistake(["services", "bills"], "must be paid", "late", "test")];
      for (const result of ["refused", "applied", "unchanged"] as const) {
        const its = result === "refused" ? mistakes : [];
        watched.report?.({ layer, result, mistakes: its, generation: 2 });
      }
      await bench.settle();
      assert.ok(!listener.news.includes("failed"));
    },
  );

  check("each watch gets reports, and ends by itself", async (bench, watch) => {
    const [one, two] = [new Listener(), new Listener()];
    const first = watch(one);
    watch(two);
    await bench.until(() => one.has("bills") && two.has("bills"));
    await first.stop();
    if (!adapter.changes) return;
    bench.say(B);
    await bench.until(() => two.has("orders"));
    assert.ok(one.has("bills"), "reported after stop");
  });

  check("nothing is reported after stop, however often it is stopped", async (bench, watch) => {
    const listener = new Listener();
    const watched = watch(listener);
    await bench.until(() => listener.has("bills"));
    bench.say(B);
    const ends = [watched.stop(), watched.stop()];
    const before = listener.news.length;
    for (const end of ends) await end;
    await bench.settle();
    assert.equal(listener.news.length, before);
  });

  check("a watch that is stopped at once reports nothing more", async (bench, watch) => {
    const listener = new Listener();
    await watch(listener).stop();
    const before = listener.news.length;
    await bench.settle();
    assert.equal(listener.news.length, before);
  });

  if (!adapter.changes) return checks;

  check(
    "a change is reported as a whole layer, and no layer changes after it was reported",
    async (bench, watch) => {
      const listener = new Listener();
      watch(listener);
      await bench.until(() => listener.has("bills"));
      bench.say(B);
      await bench.until(() => listener.has("orders"));
      bench.say(A);
      await bench.until(() => listener.has("bills"));
      for (const { layer, text } of listener.layers)
        assert.equal(JSON.stringify(layer.input), text);
    },
  );

  check(
    "a source that knows nothing reports an error, and never an empty layer",
    async (bench, watch) => {
      const listener = new Listener();
      watch(listener);
      await bench.until(() => listener.has("bills"));
      bench.say(undefined);
      await bench.until(() => listener.news.at(-1) === "failed");
      assert.ok(listener.has("bills"), "the last good layer was taken back");
      bench.say(B);
      await bench.until(() => listener.has("orders"));
    },
  );

  check("an error is also reported when it comes first", async (bench, watch) => {
    bench.say(undefined);
    const listener = new Listener();
    watch(listener);
    await bench.until(() => listener.news.length > 0);
    assert.equal(listener.news[0], "failed");
    bench.say(A);
    await bench.until(() => listener.has("bills"));
  });

  return checks;
}
