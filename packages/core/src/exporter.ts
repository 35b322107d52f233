/**
 * What takes measurements, series or events out of the process. A mesh owns its exporters: it starts them
 * when it is made and closes them within the time of its own `close`, after the last call has been counted.
 */
import { makeMistake, type Mistake } from "./config/mistakes.ts";
import { isRaw } from "./config/plain.ts";
import type { Log } from "./log.ts";
import type { Observer } from "./observe/observer.ts";
import { observerMistakes, type Observers } from "./observe/observers.ts";
import { promised } from "./promised.ts";
import type { Runtime } from "./runtime/runtime.ts";
import type { Series, Telemetry } from "./telemetry/telemetry.ts";

/** What an exporter may use of its mesh. */
export interface ExportedMesh {
  /** Every series of the in-memory recorder: for exporters that are read, or that push from time to time. */
  metrics(): Series[];
  /** For instruments of its own. */
  readonly telemetry: Telemetry;
  readonly runtime: Runtime;
  readonly log: Log;
}

/** Takes measurements and events out of the process, for `createMesh({ exporters })`. `name` alone is needed. */
export interface Exporter {
  /** In logs and in `inmesh.hook.errors`. */
  readonly name: string;
  /** Receives every measurement, beside the mesh's own recorder. Default: none. */
  readonly telemetry?: Telemetry;
  /** Attached before the first call, until the mesh is closed. Default: none. */
  readonly observer?: Observer;
  /** Called once, at the end of `createMesh`. What it throws is counted and logged. */
  start?(mesh: ExportedMesh): void;
  /**
   * Called once, by `mesh.close`, when every call has ended: sends what it still holds and gives up its
   * timers and sockets. It has `withinMs`; after that the mesh is closed without it.
   */
  close?(withinMs: number): void | Promise<void>;
}

/** What an exporter of the process may use of each mesh. */
export interface ProcessMesh extends ExportedMesh {
  observe(observer: Observer): () => void;
  readonly configVersion: number;
}

const makers: ((mesh: ProcessMesh) => Exporter)[] = [];

/** Every mesh that is made from now on has what `make` gives, beside the exporters among its options. */
export function exportEveryMesh(make: (mesh: ProcessMesh) => Exporter): void {
  makers.push(make);
}

/** Those of the process, for a mesh that is being made. */
export function exportersOfProcess(mesh: ProcessMesh): Exporter[] {
  return makers.map((make) => make(mesh));
}

/** Kept back of the time of a `close`, so that calls in progress cannot use up all of it. */
const FLUSH_MS = 1_000;
const FLUSH_SHARE = 0.1;

/** Of `createMesh({ exporters })`, beside those of a list. */
export function exporterMistakes(exporters: readonly unknown[]): Mistake[] {
  return exporters.flatMap((one, i) => {
    const { name, telemetry, observer } = (one ?? {}) as Record<string, unknown>;
    const at = (key: string): (string | number)[] => ["exporters", i, key];
    const mistakes: Mistake[] = [];
    const check = (key: string, fits: boolean, rule: string, value: unknown): void => {
      if (!fits) mistakes.push(makeMistake(at(key), rule, value, "createMesh"));
    };
    check("name", typeof name === "string" && name !== "", "must be a text", name);
    check("telemetry", telemetry === undefined || isRaw(telemetry), "must be an object", telemetry);
    if (observer !== undefined) mistakes.push(...observerMistakes(observer, at("observer")));
    return mistakes;
  });
}

export class Exporters {
  readonly #all: readonly Exporter[];
  readonly #observers: Observers;
  readonly #mesh: ExportedMesh;
  readonly #detach: (() => void)[];

  /** Starts them. */
  constructor(all: readonly Exporter[], observers: Observers, mesh: ExportedMesh) {
    this.#all = all;
    this.#observers = observers;
    this.#mesh = mesh;
    this.#detach = all.flatMap(({ observer }) =>
      observer === undefined ? [] : [observers.attach(observer)],
    );
    for (const one of all) {
      // Declared to give nothing, and one that is asynchronous must not become an unhandled rejection.
      const starting = this.#safely(one, () => promised(one.start?.(mesh)));
      starting?.catch((error: unknown) => this.#failed(one, error));
    }
  }

  /** Of `graceMs`, for them. */
  flushMs(graceMs: number): number {
    return this.#all.length === 0 ? 0 : Math.min(FLUSH_MS, graceMs * FLUSH_SHARE);
  }

  async close(withinMs: number): Promise<void> {
    await Promise.all(this.#all.map((one) => this.#close(one, withinMs)));
    for (const detach of this.#detach) detach();
  }

  #close(exporter: Exporter, withinMs: number): Promise<void> {
    return new Promise((resolve) => {
      const closing = this.#safely(exporter, () => promised(exporter.close?.(withinMs)));
      if (closing === undefined) return resolve();
      const timer = this.#mesh.runtime.after(
        withinMs,
        () => {
          this.#failed(exporter, `it has not ended within ${withinMs} ms`);
          resolve();
        },
        undefined,
        true,
      );
      closing
        .then(
          () => resolve(),
          (error: unknown) => {
            this.#failed(exporter, error);
            resolve();
          },
        )
        .finally(() => timer.cancel());
    });
  }

  #safely<T>(exporter: Exporter, act: () => T): T | undefined {
    try {
      return act();
    } catch (error) {
      this.#failed(exporter, error);
      return undefined;
    }
  }

  #failed({ name }: Exporter, error: unknown): void {
    const line = this.#observers.failed("exporter", error);
    const message = `the exporter ${name} failed: ${line}`;
    this.#mesh.log({ level: "warn", event: "exporter.failed", message });
  }
}
