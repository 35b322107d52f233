/** Replies that the proxy makes itself: refusals, and what became of a call that has no reply. */
import {
  grpcCodeOfError,
  MeshError,
  REFUSAL_CODES,
  type ErrorCode,
  type ErrorReason,
  type Refusal,
} from "@inmesh/core/spi";
import { FINAL, NACK, REASON } from "@inmesh/http/spi/codec";
import { Field } from "./fields.ts";
import { ReplyHead } from "./message.ts";

const PLAIN = new Field("content-type", "text/plain; charset=utf-8");
const NACKED = new Field(NACK, "1");
/** It was tried more than once, so that no caller above should. */
export const FINAL_MARK: Field = new Field(FINAL, "1");

/** Statuses of a gateway for what became of a call (docs/reference/errors.md). */
const STATUSES: Readonly<Record<ErrorCode, number>> = {
  deadline_exceeded: 504,
  cancelled: 503,
  no_route: 404,
  no_endpoint: 503,
  overloaded: 503,
  connect_failed: 502,
  connection_lost: 502,
  bad_response: 502,
  bad_request: 400,
  bad_status: 502,
  identity_unavailable: 503,
  denied: 403,
  loop: 508,
  closed: 503,
  bad_config: 500,
};

/** Those that say more than their code: that time ran out, and that the server takes no head as large as this one. */
const STATUSES_BY_REASON: Readonly<Partial<Record<ErrorReason, number>>> = {
  connect_timeout: 504,
  header_too_large: 431,
};

/** 500: what was thrown is no error of the mesh. */
export function statusOfError(error: unknown): number {
  if (!(error instanceof MeshError)) return 500;
  return STATUSES_BY_REASON[error.reason] ?? STATUSES[error.code];
}

const NOTHING = Buffer.alloc(0);
const REPLACED: ReadonlySet<string> = new Set(["content-type", "retry-after"]);
const GRPC = new Field("content-type", "application/grpc");
const INTERNAL = 13;

export class OwnHead {
  readonly head: ReplyHead = new ReplyHead();
  /** Of HTTP, for records; a reply of gRPC has 200 in its head. */
  readonly status: number;
  /** Of gRPC; undefined: it speaks HTTP. */
  grpcStatus: number | undefined = undefined;
  body: Buffer;

  /** `reason`: from a closed set, in lower case. */
  constructor(status: number, reason: string, givesReasons: boolean) {
    const { head } = this;
    this.body = Buffer.from(`${reason}\n`);
    this.status = head.status = status;
    head.bodyLength = this.body.length;
    head.fields.add(PLAIN);
    if (givesReasons) head.fields.add(new Field(REASON, reason));
  }

  static ofRefusal(
    { status, reason, headers, retryAfterMs, nack }: Refusal,
    givesReasons: boolean,
  ): OwnHead {
    const own = new OwnHead(status, reason, givesReasons);
    const { fields } = own.head;
    for (const name in headers) fields.add(new Field(name, headers[name]!));
    if (retryAfterMs !== undefined) {
      fields.add(new Field("retry-after", String(Math.ceil(retryAfterMs / 1_000))));
    }
    if (nack) fields.add(NACKED);
    return own;
  }

  /** The refusal as gRPC says it: a status without a message. */
  static ofGrpcRefusal(refusal: Refusal, givesReasons: boolean): OwnHead {
    const own = OwnHead.ofRefusal(refusal, givesReasons);
    own.#speakGrpc(REFUSAL_CODES[refusal.code].grpc, refusal.reason);
    const { retryAfterMs } = refusal;
    if (retryAfterMs !== undefined) {
      own.head.fields.add(new Field("grpc-retry-pushback-ms", String(Math.ceil(retryAfterMs))));
    }
    return own;
  }

  static ofGrpcError(error: unknown, exhausted: boolean, givesReasons: boolean): OwnHead {
    const own = OwnHead.ofError(error, exhausted, givesReasons);
    const known = error instanceof MeshError;
    own.#speakGrpc(known ? grpcCodeOfError(error) : INTERNAL, known ? error.reason : "internal");
    return own;
  }

  /** More for people, below the reason. Not for gRPC, whose message is the reason. */
  explain(text: string): void {
    if (this.body.length === 0) return;
    this.body = Buffer.concat([this.body, Buffer.from(`${text}\n`)]);
    this.head.bodyLength = this.body.length;
  }

  #speakGrpc(code: number, reason: string): void {
    const { head } = this;
    this.grpcStatus = code;
    head.status = 200;
    head.bodyLength = 0;
    this.body = NOTHING;
    head.fields.remove(REPLACED);
    head.fields.add(GRPC);
    head.fields.add(new Field("grpc-status", String(code)));
    head.fields.add(new Field("grpc-message", reason));
  }

  /** `exhausted`: it was tried more than once, so that no caller above should. */
  static ofError(error: unknown, exhausted: boolean, givesReasons: boolean): OwnHead {
    const known = error instanceof MeshError;
    const own = new OwnHead(statusOfError(error), known ? error.reason : "internal", givesReasons);
    if (exhausted) own.head.fields.add(FINAL_MARK);
    return own;
  }
}
