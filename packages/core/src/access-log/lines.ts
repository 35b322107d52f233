/**
 * Lines on their way to a stream. Those of one turn of the event loop are one write. What the stream does not
 * take waits here, within bounds; then new lines are dropped and counted, and no call is slower for it.
 */
import { messageOf } from "../errors.ts";
import type { ExportedMesh } from "../exporter.ts";
import { type LimitedLog, linesAbout } from "../limited-log.ts";
import { ACCESS_LOG_LINES } from "../telemetry/instruments.ts";
import type { Counter } from "../telemetry/telemetry.ts";

/** What is used of a `Writable` of Node. */
export interface LineStream {
  /** False: it asks to wait for `drain`. */
  write(text: string, written?: (error?: Error | null) => void): boolean;
  on(event: "drain", listener: () => void): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
  off(event: "drain", listener: () => void): unknown;
  /** It has ended, or failed: nothing is written to it any more. Default: true as long as it exists. */
  readonly writable?: boolean;
}

const MAX_LINES = 10_000;
const MAX_CHARACTERS = 4_194_304;

interface Writers {
  readonly all: Set<Lines>;
  readonly onDrain: () => void;
}

const writers = new WeakMap<LineStream, Writers>();

/**
 * Gives the end of it. A stream gets one listener of each kind, however many meshes log to it. The one for errors stays:
 * without it, an error that comes after the last of them would end the process.
 */
function joinWriters(stream: LineStream, one: Lines): () => void {
  let known = writers.get(stream);
  if (known === undefined) {
    const all = new Set<Lines>();
    stream.on("error", (error) => {
      for (const each of all) each.failed(error);
    });
    const onDrain = (): void => {
      for (const each of all) each.drained();
    };
    writers.set(stream, (known = { all, onDrain }));
  }
  const { all, onDrain } = known;
  if (all.size === 0) stream.on("drain", onDrain);
  all.add(one);
  return () => {
    all.delete(one);
    if (all.size === 0) stream.off("drain", onDrain);
  };
}

export class Lines {
  readonly #stream: LineStream;
  #mesh: ExportedMesh | undefined = undefined;
  #log: LimitedLog | undefined = undefined;
  #written!: Counter;
  #dropped!: Counter;
  #waiting: string[] = [];
  #characters = 0;
  /** Since the last line of the mesh's log about it. */
  #droppedHere = 0;
  #isAsked = false;
  /** The stream asked to wait. */
  #isFull = false;
  /** It has taken nothing since it failed. That of a process whose reader has gone (EPIPE) says to be writable all the same. */
  #hasFailed = false;
  /** Writes that the stream has not finished. */
  #unfinished = 0;
  #idle: (() => void) | undefined = undefined;
  #leave: () => void = () => {};

  constructor(stream: LineStream) {
    this.#stream = stream;
  }

  start(mesh: ExportedMesh): void {
    this.#mesh = mesh;
    this.#log = linesAbout("access log", mesh.log, mesh.runtime, 1);
    this.#written = mesh.telemetry.counter(ACCESS_LOG_LINES, { result: "written" });
    this.#dropped = mesh.telemetry.counter(ACCESS_LOG_LINES, { result: "dropped" });
    this.#leave = joinWriters(this.#stream, this);
  }

  add(line: string): void {
    const full = this.#waiting.length >= MAX_LINES || this.#characters >= MAX_CHARACTERS;
    if (full || this.#stream.writable === false) return this.#drop();
    this.#waiting.push(line);
    this.#characters += line.length;
    if (this.#isFull || this.#isAsked) return;
    this.#isAsked = true;
    this.#mesh!.runtime.afterIo(() => this.#write());
  }

  #drop(): void {
    this.#dropped.add(1);
    this.#droppedHere++;
    this.#log?.write("access_log.dropped", () => {
      const count = this.#droppedHere === 1 ? "a line was" : `${this.#droppedHere} lines were`;
      this.#droppedHere = 0;
      const why = this.#stream.writable === false ? "has ended" : "takes fewer than there are";
      return `${count} dropped: its stream ${why}`;
    });
  }

  #write(): void {
    this.#isAsked = false;
    const { length } = this.#waiting;
    if (length === 0 || this.#isFull) return this.#isIdle();
    const text = this.#waiting.join("");
    this.#waiting = [];
    this.#characters = 0;
    if (this.#stream.writable === false) {
      for (let i = 0; i < length; i++) this.#drop();
      return this.#isIdle();
    }
    this.#unfinished++;
    try {
      // What is no stream of Node may give nothing back, and has no `drain` then.
      const accepted: unknown = this.#stream.write(text, (error) => {
        if (error == null) this.#hasFailed = false;
        this.#unfinished--;
        this.#isIdle();
      });
      this.#isFull = accepted === false;
      this.#written.add(length);
    } catch {
      this.#unfinished--;
      for (let i = 0; i < length; i++) this.#drop();
      this.#isIdle();
    }
  }

  drained(): void {
    this.#isFull = false;
    this.#write();
  }

  failed(error: unknown): void {
    this.#hasFailed = true;
    this.#log?.write("access_log.failed", () => `its stream failed: ${messageOf(error)}`);
  }

  #isIdle(): void {
    if (this.#unfinished === 0 && this.#waiting.length === 0) this.#idle?.();
  }

  /** Resolves when all has left, or after `withinMs`. */
  close(withinMs: number): Promise<void> {
    const { runtime } = this.#mesh!;
    return new Promise<void>((resolve) => {
      const timer = runtime.after(withinMs, () => this.#idle?.(), undefined, true);
      this.#idle = () => {
        this.#idle = undefined;
        timer.cancel();
        for (const _ of this.#waiting.splice(0)) this.#drop();
        this.#leave();
        this.#log?.close();
        resolve();
      };
      this.#write();
      // Nothing will come of what waits.
      if (this.#hasFailed) this.#idle?.();
    });
  }
}
