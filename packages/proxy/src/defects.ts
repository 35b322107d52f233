/**
 * Errors of the proxy's own, such as a TypeError in a codec. Codecs run in events of sockets and timers, where what is
 * thrown ends the process, and every other connection with it. So each place where the event loop enters a connection
 * catches, and ends that connection alone. A defect must be seen all the same: it is counted and logged.
 */
import type { Socket } from "node:net";
import { linesAbout, type LimitedLog } from "@inmesh/core/spi/server";
import { DEFECTS, type Counter } from "@inmesh/core/spi/telemetry";
import { stackOf, type Mesh, type Runtime } from "@inmesh/core/spi/transport";

/** What an error can end. */
interface Ended {
  destroy(): void;
}

/** The events of `net.Socket` that codecs take, with what they give. */
type Events = {
  readonly data: Buffer;
  readonly end: void;
  readonly drain: void;
  readonly close: boolean;
};

/** Of one mesh. */
export class Defects {
  static readonly #all = new WeakMap<Runtime, Defects>();
  #counter: Counter | undefined = undefined;
  #lines: LimitedLog | undefined = undefined;

  /** Of the mesh that has this clock, which is what every connection of a mesh knows of it. */
  static of(runtime: Runtime): Defects {
    let defects = Defects.#all.get(runtime);
    if (defects === undefined) Defects.#all.set(runtime, (defects = new Defects()));
    return defects;
  }

  /** Where they are counted and logged. Without effect from the second time on. */
  reportTo({ telemetry, log, runtime }: Mesh): void {
    if (this.#lines !== undefined) return;
    this.#counter = telemetry.counter(DEFECTS, {});
    this.#lines = linesAbout("mesh-proxy", log, runtime);
  }

  /** `one` ends, whatever that throws in its turn. Never throws. */
  end(error: unknown, one: Ended): void {
    this.note(error);
    try {
      one.destroy();
    } catch (again) {
      this.note(again);
    }
  }

  /** What it was in has ended already. Never throws. */
  note(error: unknown): void {
    this.#counter?.add(1);
    this.#lines?.write(
      "proxy.defect",
      () =>
        `an error of mesh-proxy's own has ended a connection: please report it (${textOf(error)})`,
    );
  }
}

/** Runs `handler` at each such event of `socket`; where that throws, `owner` ends. */
export function onEvent<E extends keyof Events>(
  socket: Socket,
  event: E,
  runtime: Runtime,
  owner: Ended,
  handler: (given: Events[E]) => void,
): void {
  socket.on(event as string, (given: Events[E]) => {
    try {
      handler(given);
    } catch (error) {
      Defects.of(runtime).end(error, owner);
    }
  });
}

/** With where it was thrown, in one line. */
function textOf(error: unknown): string {
  return stackOf(error)
    .replaceAll(/\s*\n\s*/g, " ")
    .slice(0, 1_000);
}
