/**
 * Which lines the log of a mesh gets, changed for a while. `debug` adds a line for each attempt and each call that
 * failed, by an observer that is attached only meanwhile.
 */
import { escapeText } from "../config/mistakes.ts";
import { LimitedLog } from "../limited-log.ts";
import type { LogLevel } from "../log.ts";
import type { Mesh } from "../mesh.ts";
import type { EndedAttempt, EndedCall, Observer } from "../observe/observer.ts";
import type { Timer } from "../runtime/runtime.ts";
import type { Body } from "./answer.ts";
import type { LogLevelAnswer, LogLevelRequest, LogLevelState, Undo } from "./api.ts";

export const LOG_LEVELS: readonly LogLevel[] = ["debug", "info", "warn"];
export const MIN_LOG_LEVEL_MS = 1_000;
export const MAX_LOG_LEVEL_MS = 86_400_000;
const STANDARD: LogLevel = "info";
const PATH = "/api/v1/log-level";
/** In a minute: a debug line for everything that fails must not become what is wrong. */
const MAX_DEBUG_LINES = 600;
const MAX_PATH = 128;

export class LogLevelControl {
  readonly #mesh: Mesh;
  #endsAt: number | undefined = undefined;
  #timer: Timer | undefined = undefined;
  #stopDebug: (() => void) | undefined = undefined;

  constructor(mesh: Mesh) {
    this.#mesh = mesh;
  }

  get state(): LogLevelState {
    const { logFilter, runtime } = this.#mesh;
    const endsAt = this.#endsAt;
    return {
      level: logFilter.least,
      endsInMs: endsAt === undefined ? undefined : Math.max(0, endsAt - runtime.now()),
    };
  }

  get answer(): Body<LogLevelAnswer> {
    return { ...this.state, standard: STANDARD, hasLog: this.#mesh.logFilter.hasLog };
  }

  /** Of the level that holds now: how to come back to it. */
  get undo(): Undo {
    const { level, endsInMs } = this.state;
    return endsInMs === undefined || endsInMs < MIN_LOG_LEVEL_MS
      ? { method: "DELETE", path: PATH, body: undefined }
      : { method: "PUT", path: PATH, body: { level, forMs: Math.round(endsInMs) } };
  }

  set({ level, forMs }: LogLevelRequest): void {
    const { runtime } = this.#mesh;
    this.#take(level);
    this.#endsAt = runtime.now() + forMs;
    this.#timer = runtime.after(
      forMs,
      () => {
        this.clear();
        const message = `admin: the log level is ${STANDARD} again, because ${level} was asked for a time that is over`;
        this.#mesh.log({ level: "info", event: "admin.changed", message });
      },
      undefined,
    );
  }

  clear(): void {
    this.#take(STANDARD);
  }

  #take(level: LogLevel): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#endsAt = undefined;
    this.#mesh.logFilter.least = level;
    if (level !== "debug") {
      this.#stopDebug?.();
      this.#stopDebug = undefined;
    } else this.#stopDebug ??= debugLines(this.#mesh);
  }
}

/** Ends when the function that is returned is called. */
function debugLines(mesh: Mesh): () => void {
  const lines = new Map<string, LimitedLog>();
  const linesOf = (service: string): LimitedLog => {
    let log = lines.get(service);
    if (log === undefined) {
      log = new LimitedLog(mesh.log, mesh.runtime, service, undefined, MAX_DEBUG_LINES);
      lines.set(service, log);
    }
    return log;
  };
  const observer: Observer = {
    attemptEnded(attempt) {
      if (attempt.outcome === "success" || attempt.outcome === "abandoned") return;
      const { call, endpoint } = attempt;
      linesOf(call.service).write("attempt.failed", () => attemptText(attempt), endpoint);
    },
    callEnded(call) {
      if (call.outcome === "success" || call.outcome === "abandoned") return;
      linesOf(call.service).write("call.failed", () => callText(call));
    },
  };
  const detach = mesh.observe(observer);
  return () => {
    detach();
    for (const log of lines.values()) log.close();
  };
}

function attemptText({
  call,
  number,
  kind,
  endpoint,
  outcome,
  status,
  error,
  durationMs,
}: EndedAttempt): string {
  const why = error === undefined ? `status ${status}` : error.message;
  return `${whatOf(call)}: attempt ${number} (${kind}) to ${endpoint} ended after ${Math.round(durationMs)} ms with ${outcome}: ${escapeText(why)}`;
}

function callText(call: EndedCall): string {
  const { attempts, outcome, status, error, notRetried, durationMs } = call;
  const why = error === undefined ? `status ${status}` : error.message;
  const stopped = notRetried === undefined ? "" : `; no further attempt: ${notRetried}`;
  return `${whatOf(call)}: failed after ${Math.round(durationMs)} ms and ${attempts} ${attempts === 1 ? "attempt" : "attempts"} with ${outcome}: ${escapeText(why)}${stopped}`;
}

/** Paths are whatever a caller has sent. */
function whatOf({ id, method, path, route }: EndedAttempt["call"]): string {
  const shown = path.length > MAX_PATH ? `${path.slice(0, MAX_PATH)}…` : path;
  return `call ${id}, ${escapeText(method)} ${escapeText(shown)}, route ${escapeText(route)}`;
}
