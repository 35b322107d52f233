/**
 * A gRPC call at the stages of core's server pipeline that are gRPC's own: its metadata is read, its
 * connection knows of it, it is given to its handler, a refusal is sent, and its end is noticed. The order
 * of the stages is in core (`server/pipeline.ts`). Health is not among them: its calls never come here.
 */
import type {
  Trust,
  Refusal,
  ServerAnswer,
  ServerCore,
  ServerPipeline,
  ServerProtocol,
  Stage,
  StandardDuration,
} from "@inmesh/core/spi";
import { GRPC_SERVED_DURATION, SHARED_REFUSALS } from "@inmesh/core/spi";
import type { HeadReader } from "./head-reader.ts";
import type { Http2Stream } from "../internals.ts";
import type { InboundCalls } from "./inbound-calls.ts";
import { enterContext, type Inbound, type InboundOwner } from "./inbound.ts";
import type { GrpcServerLimits } from "./limits.ts";
import { refusalStatuses, type GrpcCutReason, type StatusOfRefusal } from "./refusals.ts";
import type { SessionUse, Sessions } from "./sessions.ts";

export interface GrpcServingParts {
  readonly core: ServerCore<GrpcCutReason>;
  readonly limits: GrpcServerLimits;
  readonly reader: HeadReader;
  readonly calls: InboundCalls;
  readonly sessions: Sessions;
  /** Another instrumentation wraps handlers as they are registered. */
  readonly tracedByOthers: boolean;
  /** Layers of the application decide about each call. */
  readonly layered: boolean;
}

export class GrpcServing implements ServerProtocol<Inbound>, InboundOwner {
  readonly name: string;
  readonly answersHealth: undefined = undefined;
  readonly tracedByOthers: boolean;
  readonly standard: StandardDuration<Inbound> = GRPC_SERVED_DURATION;
  readonly #parts: GrpcServingParts;
  /** Of callers that get the reason of a refusal, and of others. */
  readonly #telling: StatusOfRefusal = refusalStatuses(true);
  readonly #silent: StatusOfRefusal = refusalStatuses(false);
  readonly #pipeline: ServerPipeline<Inbound>;

  constructor(parts: GrpcServingParts) {
    const { core } = parts;
    this.name = core.name;
    this.#parts = parts;
    this.tracedByOthers = parts.tracedByOthers;
    this.#pipeline = core.pipeline<Inbound>(this);
  }

  serve(inbound: Inbound): void {
    this.#pipeline.serve(inbound);
  }

  read(inbound: Inbound): Refusal | undefined {
    const { core, limits, reader } = this.#parts;
    const { runtime } = core;
    const trust = this.#trustOf(inbound);
    inbound.startedAt ||= runtime.now(); // sessions ask how long it was in progress
    const unread = reader.read(inbound, inbound.metadata!, trust);
    if (unread !== undefined) return SHARED_REFUSALS[unread];
    const deadline = inbound.getDeadline();
    if (deadline !== Infinity) {
      inbound.remainingMs = Math.min(Number(deadline) - runtime.wallNow(), limits.maxTimeoutMs);
      inbound.untrustedDeadline = !trust.deadlineIsOurs;
    }
    return undefined;
  }

  check(inbound: Inbound): Refusal | undefined {
    return this.#parts.sessions.holds(inbound) ? undefined : SHARED_REFUSALS.connection_headers;
  }

  admitted(inbound: Inbound): void {
    const { observed, stream } = inbound;
    if (observed !== undefined && stream !== undefined) countMessages(stream, observed);
    this.#parts.sessions.began(inbound);
    this.#parts.calls.add(inbound);
  }

  released(inbound: Inbound): void {
    this.#parts.calls.remove(inbound);
    this.#parts.sessions.left(inbound);
  }

  /** A call that is begun by the end of its request enters its context then, unless layers need it now. */
  enter(inbound: Inbound, inner: Stage<Inbound>): ServerAnswer {
    return inbound.late && !this.#parts.layered ? inner(inbound) : enterContext(inbound, inner);
  }

  handle(inbound: Inbound): void {
    inbound.begin();
  }

  refuse(inbound: Inbound, refusal: Refusal): void {
    const { givesReasons } = this.#trustOf(inbound);
    inbound.refuse(givesReasons ? this.#telling(refusal) : this.#silent(refusal));
  }

  /** Decided once for each connection; for each call where the connection is not known. */
  #trustOf(inbound: Inbound): Trust {
    const { core } = this.#parts;
    const use = this.useOf(inbound);
    if (use?.trust !== undefined) return use.trust;
    const trust = core.trustOf(() => inbound.peer);
    if (use !== undefined) use.trust = trust;
    return trust;
  }

  useOf(inbound: Inbound): SessionUse | undefined {
    return this.#parts.sessions.useOf(inbound);
  }

  ended(inbound: Inbound): void {
    this.#parts.calls.remove(inbound);
    this.#parts.sessions.ended(inbound);
    this.#pipeline.ended(inbound);
  }
}

/** What comes and goes behind the heads on the stream of a call that has observers. */
function countMessages(
  stream: Http2Stream,
  bytes: { sentBytes: number; receivedBytes: number },
): void {
  const push = stream.push.bind(stream);
  stream.push = (chunk: unknown, encoding?: BufferEncoding): boolean => {
    bytes.receivedBytes += lengthOf(chunk);
    return push(chunk, encoding);
  };
  const write = stream.write.bind(stream) as (...args: unknown[]) => boolean;
  stream.write = ((...args: unknown[]): boolean => {
    bytes.sentBytes += lengthOf(args[0]);
    return write(...args);
  }) as never;
}

function lengthOf(chunk: unknown): number {
  return chunk instanceof Uint8Array ? chunk.byteLength : 0;
}
