/**
 * The application's own layers of a server, and the guard around them. A layer is what it is at a client,
 * a function that wraps another, except that it answers in the same turn if it can: no promise is made
 * for a layer that decides at once. What a layer does wrong is answered with 500 and logged: a request
 * is neither lost nor begun twice.
 */
import { linesAbout, type LimitedLog } from "../limited-log.ts";
import type { Log } from "../log.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { Refusal, SHARED_REFUSALS } from "./refusals.ts";
import type { ServedCall, ServerRequest } from "./served-call.ts";

/** A refusal answers the request. Undefined: the handler has it, because `inner` was called. */
export type ServerAnswer = Refusal | undefined | Promise<Refusal | undefined>;

/** What serves a request: the handler, below the layers, or all that is below a layer. */
export type ServerHandler = (request: ServerRequest) => ServerAnswer;

/**
 * Wraps a ServerHandler in another. Called once, when the server is made. What it gives returns a
 * refusal, or what `inner(request)` returned, or a promise of either.
 */
export type ServerLayer = (inner: ServerHandler) => ServerHandler;

/** A step of a server's pipeline, ours or the application's. */
export type Stage<R extends ServedCall> = (request: R) => ServerAnswer;

const FAILED = SHARED_REFUSALS.layer_failed;
/** How long a layer may wait with a request that has no deadline, or a later one. */
const MAX_WAIT_MS = 30_000;

export interface GuardParts {
  readonly name: string;
  readonly runtime: Runtime;
  readonly log: Log;
}

/** For what layers do wrong: one line a minute. */
export function layerLog({ name, runtime, log }: GuardParts): LimitedLog {
  return linesAbout(name, log, runtime, 1);
}

export function logFault(log: LimitedLog, what: string, error?: unknown): void {
  const why =
    error === undefined ? "" : `: ${error instanceof Error ? error.message : typeof error}`;
  log.write("server.layer_failed", () => `a server layer ${what}${why}`);
}

/** What a handler threw, so that it is not taken for a mistake of a layer above it. */
class Thrown<R> {
  request: R | undefined = undefined;
  error: unknown = undefined;
}

/** `handle` gives the request to its handler. Throws a TypeError for what is no layer. */
export function guardLayers<R extends ServedCall>(
  layers: readonly ServerLayer[],
  handle: (request: R) => void,
  parts: GuardParts,
  log: LimitedLog,
): Stage<R> {
  const { runtime } = parts;
  const thrown = new Thrown<R>();
  const begin = (request: R): Refusal | undefined => {
    if (request.phase !== "admitted") {
      if (request.phase === "begun")
        logFault(log, "called `inner` twice; the second call had no effect");
      return undefined; // or its client has gone while the layers waited
    }
    // After a layer that waited: what has no time left is not begun.
    if (request.deadlineAt !== Infinity && runtime.now() >= request.deadlineAt) {
      return SHARED_REFUSALS.expired_on_arrival;
    }
    request.phase = "begun";
    try {
      handle(request);
    } catch (error) {
      thrown.request = request;
      thrown.error = error;
      throw error;
    }
    return undefined;
  };
  const chain = layers.reduceRight<ServerHandler>((inner, layer, index) => {
    const wrapped: unknown = typeof layer === "function" ? layer(inner) : undefined;
    if (typeof wrapped === "function") return wrapped as ServerHandler;
    throw new TypeError(
      `serverLayers[${index}] must be a function that takes the inner handler and gives another`,
    );
  }, begin as ServerHandler);

  const checked = (request: R, answer: unknown): Refusal | undefined => {
    if (answer instanceof Refusal) {
      if (request.phase === "admitted") return answer;
      if (request.phase === "begun")
        logFault(log, "refused a request that its handler already has");
      return undefined;
    }
    if (request.phase !== "admitted") return undefined;
    logFault(log, "neither refused a request nor called `inner`; it was answered with 500");
    return FAILED;
  };
  const failed = (request: R, error: unknown): Refusal | undefined => {
    if (thrown.request === request && thrown.error === error) {
      thrown.request = thrown.error = undefined;
      throw error; // the handler's own: what Node does with it is not ours to change
    }
    logFault(log, "threw an error", error);
    return request.phase === "admitted" ? FAILED : undefined;
  };
  return (request) => {
    let answer: ServerAnswer;
    try {
      answer = chain(request);
    } catch (error) {
      return failed(request, error);
    }
    if (!isPromise(answer)) return checked(request, answer);
    const decided = answer.then(
      (late) => checked(request, late),
      (error: unknown) => failed(request, error),
    );
    return request.phase === "admitted" ? inTime(request, decided, runtime, log) : decided;
  };
}

/** A layer whose promise never settles would hold its request, and a drain, for ever. */
function inTime(
  request: ServedCall,
  decided: Promise<Refusal | undefined>,
  runtime: Runtime,
  log: LimitedLog,
): Promise<Refusal | undefined> {
  const leftMs = request.deadlineAt - runtime.now();
  return new Promise((resolve, reject) => {
    const timer = runtime.after(
      Math.max(0, Math.min(leftMs, MAX_WAIT_MS)),
      () => {
        if (request.phase !== "admitted") return resolve(undefined);
        if (leftMs <= MAX_WAIT_MS) return resolve(SHARED_REFUSALS.expired_on_arrival);
        logFault(log, `had not decided after ${MAX_WAIT_MS} ms; the request was answered with 500`);
        resolve(FAILED);
      },
      undefined,
    );
    decided.finally(() => timer.cancel()).then(resolve, reject);
  });
}

export function isPromise(answer: ServerAnswer): answer is Promise<Refusal | undefined> {
  return typeof (answer as { then?: unknown } | null | undefined)?.then === "function";
}
