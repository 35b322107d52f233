/** What the layers of the mesh may know of a gRPC reply. The reader's half is the Exchange itself. */
import type { HeaderChanges, Outcome, Reply } from "@inmesh/core/spi";
import type { Exchange } from "./exchange.ts";

export class GrpcReply implements Reply {
  readonly outcome: Outcome;
  /** The HTTP status that its gRPC status stands for; 200 while there is none yet. */
  readonly code: number;
  readonly nacked: boolean;
  readonly final: boolean;
  readonly retryAfterMs: number | undefined;
  /** A server's pushback is about the call, wherever it is sent next (gRFC A6). */
  readonly waitsForAll = true;
  readonly exchange: Exchange;

  constructor(
    exchange: Exchange,
    outcome: Outcome,
    code: number,
    nacked: boolean,
    final: boolean,
    retryAfterMs: number | undefined,
  ) {
    this.exchange = exchange;
    this.outcome = outcome;
    this.code = code;
    this.nacked = nacked;
    this.final = final;
    this.retryAfterMs = retryAfterMs;
  }

  changeHeaders(changes: HeaderChanges): void {
    this.exchange.changeHead(changes);
  }

  discard(): void {
    this.exchange.discard();
  }
}
