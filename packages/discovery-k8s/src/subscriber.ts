/** One service of the mesh that a Service of the cluster feeds: what it heard last, and how news reach it. */
import {
  inTurns,
  nextTurn,
  type EndpointInfo,
  type EndpointSink,
  type Runtime,
  type Timer,
} from "@inmesh/core/spi/discovery";
import { ServiceEndpoints, type ServiceState, type Wanted } from "./endpoints.ts";
import type { NamedElsewhere } from "./external-name.ts";
import type { Slice } from "./slice.ts";

/** A Service without slices is looked at again after this time: it may have become an ExternalName. */
const LOOK_AGAIN_MS = 60_000;

/** Where the endpoints of a Service are reported to. */
export interface SliceSink extends EndpointSink {
  /** No slice of the Service exists. Default: it may be an ExternalName, else as `replace` without endpoints. */
  noSlices?(why: string): void;
}

export class Subscriber {
  readonly #endpoints: ServiceEndpoints;
  readonly #sink: SliceSink;
  readonly #runtime: Runtime;
  /** Reads the Service itself. */
  readonly #elsewhere: () => Promise<NamedElsewhere>;
  /** How many endpoints were reported. */
  #reported = 0;
  /** What was reported last is what the slices had then: a difference to it can be reported. */
  #isBase = false;
  /** What it knows is being put together, or the Service is being read. */
  #busy = false;
  /** What came meanwhile. */
  #next: readonly Slice[] | undefined = undefined;
  #error: Error | undefined = undefined;
  #again: Timer | undefined = undefined;
  #stopped = false;
  /** The last report was an error. */
  failing = false;

  constructor(
    wanted: Wanted,
    sink: SliceSink,
    runtime: Runtime,
    elsewhere: () => Promise<NamedElsewhere>,
  ) {
    this.#endpoints = new ServiceEndpoints(wanted);
    this.#sink = sink;
    this.#runtime = runtime;
    this.#elsewhere = elsewhere;
  }

  /** Of thousands of endpoints it takes several turns; what changes meanwhile is reported after that. */
  report(slices: Iterable<Slice>): void {
    if (this.#stopped) return;
    const all = [...slices];
    if (this.#busy) {
      this.#next = all;
      this.#error = undefined;
      return;
    }
    this.#again?.cancel();
    this.#again = undefined;
    const state = inTurns(this.#runtime, this.#endpoints.update(all));
    if (state instanceof Promise) return this.#wait(this.#takeLater(state));
    const later = this.#take(state);
    if (later !== undefined) this.#wait(later);
  }

  /** Thousands of endpoints: who hears of them has as much to do again. */
  async #takeLater(state: Promise<ServiceState>): Promise<void> {
    const found = await state;
    await nextTurn(this.#runtime);
    await this.#take(found);
  }

  fail(error: Error): void {
    if (this.#busy) {
      this.#error = error;
      return;
    }
    this.failing = true;
    this.#sink.failed(error);
  }

  stop(): void {
    this.#stopped = true;
    this.#again?.cancel();
  }

  #wait(done: Promise<void>): void {
    this.#busy = true;
    done
      .catch((error: unknown) => {
        // The Service could not be read: the slices were, and there are none.
        this.#error ??= error instanceof Error ? error : new Error(String(error));
      })
      .then(
        () => {
          this.#busy = false;
          const slices = this.#next;
          const error = this.#error;
          this.#next = this.#error = undefined;
          if (this.#stopped) return;
          if (slices !== undefined) this.report(slices);
          if (error !== undefined) this.fail(error);
        },
        () => {},
      );
  }

  #take(state: ServiceState): void | Promise<void> {
    if (this.#stopped) return undefined;
    if (state.problem !== undefined) {
      this.failing = true;
      this.#sink.failed(state.problem);
      return undefined;
    }
    if (!state.isUnknown) return this.#tell(state.endpoints, state.why);
    if (this.#sink.noSlices !== undefined) {
      this.failing = false;
      this.#reported = 0;
      this.#isBase = false;
      return this.#sink.noSlices(state.why!);
    }
    this.#again = this.#runtime.after(LOOK_AGAIN_MS, () => this.report([]), undefined);
    // What had slices a moment ago was deleted: nothing is picked any more, whatever it will be.
    if (this.#reported > 0) return this.#tellOther([], state.why);
    return this.#elsewhere().then(({ endpoint, why }) => {
      if (this.#stopped || this.#next !== undefined) return;
      this.#tellOther(endpoint === undefined ? [] : [endpoint], why);
    });
  }

  #tell(endpoints: ReadonlyMap<string, EndpointInfo>, why: string | undefined): void {
    this.failing = false;
    const { upserted, removed } = this.#endpoints.changes();
    const isDifference = this.#isBase && endpoints.size > 0;
    this.#reported = endpoints.size;
    this.#isBase = true;
    if (!isDifference) return this.#sink.replace([...endpoints.values()], why);
    // Also without a difference: it says that the source works again.
    this.#sink.change(upserted, removed);
  }

  /** Something else than what the slices have. */
  #tellOther(endpoints: readonly EndpointInfo[], why: string | undefined): void {
    this.failing = false;
    this.#reported = endpoints.length;
    this.#isBase = false;
    this.#sink.replace(endpoints, why);
  }
}
