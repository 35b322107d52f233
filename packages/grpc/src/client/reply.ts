/** What the layers of the mesh may know of a gRPC reply; head, messages and status go to a listener. */
import type { HeaderChanges, Outcome, Reply } from "@inmesh/core/spi";
import type { WireListener } from "../call-types.ts";

/** The attempt that the reply belongs to, and that its messages come from. */
export interface ReplySource {
  /** From here on everything goes to the listener, what is held first. */
  deliver(listener: WireListener): void;
  /** Changes the head of the reply. Called before the reply is delivered. */
  changeHead(changes: HeaderChanges): void;
  /** The rest of the reply is not wanted. */
  discard(): void;
}

export class GrpcReply implements Reply {
  readonly outcome: Outcome;
  /** The HTTP status that its gRPC status stands for; 200 while there is none yet. */
  readonly code: number;
  readonly nacked: boolean;
  readonly final: boolean;
  readonly retryAfterMs: number | undefined;
  /** A server's pushback is about the call, wherever it is sent next (gRFC A6). */
  readonly waitsForAll = true;
  readonly #source: ReplySource;

  constructor(
    source: ReplySource,
    outcome: Outcome,
    code: number,
    nacked: boolean,
    final: boolean,
    retryAfterMs: number | undefined,
  ) {
    this.#source = source;
    this.outcome = outcome;
    this.code = code;
    this.nacked = nacked;
    this.final = final;
    this.retryAfterMs = retryAfterMs;
  }

  deliver(listener: WireListener): void {
    this.#source.deliver(listener);
  }

  changeHeaders(changes: HeaderChanges): void {
    this.#source.changeHead(changes);
  }

  discard(): void {
    this.#source.discard();
  }
}
