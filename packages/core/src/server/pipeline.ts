/**
 * THE order of everything that happens to a request being served, in request direction, top first, with
 * the reason for each place; HTTP and gRPC alike. It is compiled once per server; what a server does not
 * use is left out here, so a request never asks whether something is switched on.
 *
 *   1 inbound record   outermost: every request has one end, those that are refused below too, and it is
 *                      counted here; a refusal of any stage comes up to it, and is written here
 *   2 head             what the request says is read, and refused if two readers could take it differently:
 *                      everything below decides by it
 *   3 health           above admission: a server that is too busy to say so would be restarted for it.
 *                      Questions of an orchestrator are no requests of a caller, and are not counted
 *   – observers        those of its mesh hear of it with its end; what is refused at 2 they hear of then
 *   4 admission        before anything is allocated for it: no time left, too many, too busy
 *   5 connection       what its connection may not have any more; it needs the head, and costs less than 6
 *   – access policy, rate limit, faults: their seats, empty now. Access comes before rate, so that a caller
 *                      who may not ask uses up no share; both come before anything is held for the request
 *   6 in progress      from here on it is counted, and its connection knows of it: its end has to come
 *   7 context          above the layers: the calls that they make for it inherit its deadline, its trace and
 *                      its end, like those of its handler
 *   8 layers           the application's own (`serverLayers`), and the guard around them
 *   – handler          the protocol gives it the request
 *
 * A stage that can decide at once answers at once: a refusal, or undefined. Only a layer of the
 * application that has to wait makes a promise, and then the request pays for it. What ends a request that
 * is in progress is the protocol's to notice: it calls `ended`. Whatever comes first, a refusal or that,
 * is its end; what comes second has no effect.
 */
import type { LimitedLog } from "../limited-log.ts";
import type { Log } from "../log.ts";
import type { Observers } from "../observe/observers.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { ServedRecords } from "../telemetry/served-records.ts";
import type { StandardDuration, StandardSeries } from "../telemetry/standard.ts";
import type { Admission } from "./admission.ts";
import { SHARED_REFUSALS, type Refusal } from "./refusals.ts";
import type { ServedCall, ServerEnd } from "./served-call.ts";
import {
  guardLayers,
  isPromise,
  layerLog,
  logFault,
  type ServerAnswer,
  type ServerLayer,
  type Stage,
} from "./server-layer.ts";

/** Why a request has no whole reply, where its client has left: the reason of a call that its caller gave up. */
const LEFT = "caller";

/** What a protocol does at the stages that are its own. */
export interface ServerProtocol<R extends ServedCall> {
  /** Reads the head into `request`, and validates it. */
  read(request: R): Refusal | undefined;
  /** True: it was a question about health, and is answered. Undefined: such questions come another way. */
  readonly answersHealth: ((request: R) => boolean) | undefined;
  /** What its connection, or a rule of this protocol alone, refuses. */
  check(request: R): Refusal | undefined;
  /** The request is in progress: `ended` has to be called when it has ended. */
  admitted(request: R): void;
  /** The request was refused after `admitted`: it holds nothing any more, and its refusal is written next. */
  released(request: R): void;
  /** Runs `inner` where calls inherit from the request. */
  enter(request: R, inner: Stage<R>): ServerAnswer;
  /** Gives it to its handler. */
  handle(request: R): void;
  refuse(request: R, refusal: Refusal): void;
  /** The duration of its requests under OpenTelemetry's name. Left out: it has none. */
  readonly standard?: StandardDuration<R> | undefined;
}

export interface ServerParts<R extends ServedCall> {
  /** Of the server, in its log. */
  readonly name: string;
  readonly protocol: ServerProtocol<R>;
  readonly admission: Admission;
  /** Undefined: requests are not counted. */
  readonly records: ServedRecords | undefined;
  /** The same under OpenTelemetry's name. */
  readonly standard?: StandardSeries<R> | undefined;
  /** Of its mesh; undefined: it has none. */
  readonly observers: Observers | undefined;
  readonly layers: readonly ServerLayer[];
  readonly runtime: Runtime;
  readonly log: Log;
  /** Counts a refusal; gives the reason that stands for it in metrics. */
  readonly count: (reason: string) => string;
}

export interface ServerPipeline<R extends ServedCall> {
  /** Throws only what a handler throws in the same turn. */
  serve(request: R): void;
  /** The reply of a request in progress is out, or its client has gone. False: it had ended before. */
  ended(request: R): boolean;
}

export function compileServer<R extends ServedCall>(parts: ServerParts<R>): ServerPipeline<R> {
  const { protocol, admission, layers, runtime, records, observers } = parts;
  const { answersHealth } = protocol;
  const log = layerLog(parts);
  const isWatched = records !== undefined || observers !== undefined || layers.length > 0;
  const end = isWatched ? reportEnd(parts, log) : undefined;
  const decide = chain<R>(
    [
      ...(isWatched ? [clock<R>(runtime)] : []), // 1; what comes up to it: `answer`
      check((request) => protocol.read(request)), // 2
      ...(answersHealth === undefined ? [] : [health(answersHealth)]), // 3
      ...(observers === undefined ? [] : [observe<R>(observers)]),
      admit<R>(admission, runtime), // 4
      check((request) => protocol.check(request)), // 5
      inProgress(protocol, admission), // 6
      ...(records === undefined ? [] : [sample<R>(records, runtime)]),
      (inner) => (request) => protocol.enter(request, inner), // 7
    ],
    layers.length > 0
      ? guardLayers<R>(layers, (request) => protocol.handle(request), parts, log) // 8
      : (request) => {
          request.phase = "begun";
          protocol.handle(request);
          return undefined;
        },
  );

  const refuse = (request: R, refusal: Refusal): void => {
    if (request.phase === "ended") return; // its client has gone while a layer waited
    if (request.phase === "admitted") {
      admission.inFlight--;
      protocol.released(request);
    }
    request.phase = "ended";
    const reason = parts.count(refusal.reason);
    if (observers?.attached !== undefined) request.observed ??= observers.servedStarted(request);
    protocol.refuse(request, refusal);
    end?.(request, reason, refusal);
  };
  return {
    serve(request) {
      const answer = decide(request);
      if (answer === undefined) return;
      if (!isPromise(answer)) return refuse(request, answer);
      // A rejection is that of the handler: it stays unhandled, as it would without this pipeline.
      void answer.then((late) => late === undefined || refuse(request, late));
    },
    ended(request) {
      if (request.phase === "ended") return false;
      request.phase = "ended";
      admission.inFlight--;
      end?.(request, request.cut, undefined);
      return true;
    },
  };
}

/** Of the requests of a server, one in so many is looked at; a power of two. */
const SAMPLED = 64;

type Wrap<R extends ServedCall> = (inner: Stage<R>) => Stage<R>;

/** 1. Its duration is measured from here, unless its protocol has read the clock already. */
function clock<R extends ServedCall>(runtime: Runtime): Wrap<R> {
  return (inner) => (request) => {
    if (request.startedAt === 0) request.startedAt = runtime.now();
    return inner(request);
  };
}

/** Stage 1, the inbound record: reports the end of each request. */
function reportEnd<R extends ServedCall>(
  { records, standard, runtime }: ServerParts<R>,
  log: LimitedLog,
): (request: R, reason: string | undefined, refusal: Refusal | undefined) => void {
  return (request, reason, refusal) => {
    const durationMs = runtime.now() - request.startedAt;
    const outcome = refusal === undefined ? request.endOutcome : refusal.outcome;
    if (records !== undefined) {
      const { traceId } = request;
      records.ended(request.route, outcome, request.endHttpStatus, reason, durationMs, traceId);
      if (standard !== undefined) {
        const why = reason ?? (outcome === "abandoned" ? LEFT : undefined);
        // What is refused reaches no handler, and so no instrumentation of the application.
        if (refusal === undefined) {
          standard.recordOnce(request, undefined, why, durationMs, traceId);
        } else standard.record(request, undefined, why, durationMs, traceId);
      }
    }
    // No status of HTTP: nothing was sent. That of gRPC may be 0, which is OK.
    const status = request.endHttpStatus === 0 ? undefined : request.endStatus;
    request.observed?.ended(outcome, status, reason);
    const { endListeners } = request;
    if (endListeners === undefined) return;
    request.endListeners = undefined;
    const end: ServerEnd = { outcome, status: request.endStatus, reason, durationMs };
    for (const listener of endListeners) {
      try {
        listener(end);
      } catch (error) {
        logFault(log, "threw an error in what it gave to `onEnd`", error);
      }
    }
  };
}

/** Stages 2 and 5, which are the protocol's: they refuse a request or let it pass. */
function check<R extends ServedCall>(refuses: (request: R) => Refusal | undefined): Wrap<R> {
  return (inner) => (request) => refuses(request) ?? inner(request);
}

/** 3 */
function health<R extends ServedCall>(answers: (request: R) => boolean): Wrap<R> {
  return (inner) => (request) => (answers(request) ? undefined : inner(request));
}

/** With none attached it costs one comparison. */
function observe<R extends ServedCall>(observers: Observers): Wrap<R> {
  return (inner) => (request) => {
    if (observers.attached !== undefined) request.observed = observers.servedStarted(request);
    return inner(request);
  };
}

/** 4. What the sender said about its time counts from now on. */
function admit<R extends ServedCall>(admission: Admission, runtime: Runtime): Wrap<R> {
  return (inner) => (request) => {
    const { remainingMs } = request;
    const refused = admission.refuses(request, remainingMs);
    if (refused !== undefined) return SHARED_REFUSALS[refused];
    if (remainingMs !== Infinity) {
      request.deadlineAt = (request.startedAt || runtime.now()) + remainingMs;
    }
    return inner(request);
  };
}

/** 6 */
function inProgress<R extends ServedCall>(
  protocol: ServerProtocol<R>,
  admission: Admission,
): Wrap<R> {
  return (inner) => (request) => {
    request.phase = "admitted";
    admission.inFlight++;
    protocol.admitted(request);
    return inner(request);
  };
}

/** What came before it took so long, of one request in 64. Layers and handler are the application's. */
function sample<R extends ServedCall>(records: ServedRecords, runtime: Runtime): Wrap<R> {
  let count = 0;
  return (inner) => (request) => {
    if ((count++ & (SAMPLED - 1)) === 0) records.begun(runtime.now() - request.startedAt);
    return inner(request);
  };
}

function chain<R extends ServedCall>(wraps: readonly Wrap<R>[], inner: Stage<R>): Stage<R> {
  return wraps.reduceRight((stage, wrap) => wrap(stage), inner);
}
