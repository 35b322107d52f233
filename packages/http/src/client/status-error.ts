/** `throwOnError`: a reply with a status from 400 up as an error, with the beginning of its body. */
import { MeshError, type MeshErrorJson } from "@inmesh/core";
import type { HttpHeaders } from "../headers.ts";
import type { HttpReply, ReplyInfo } from "./reply.ts";

/** More of the body is not read: it is there to be looked at. */
export const MAX_ERROR_BODY_BYTES = 16_384;

/** Code `bad_status`. The pipeline has counted the call as a reply; retries were over when it came. */
export class StatusError extends MeshError {
  readonly status: number;
  readonly headers: HttpHeaders;
  /** The first 16 KiB of the body as text. Not in the message and not in the JSON: it may hold secrets. */
  readonly body: string;
  /** There was more of the body, or it was cut. */
  readonly isBodyCut: boolean;
  readonly mesh: ReplyInfo;

  constructor(reply: HttpReply, body: Buffer, isBodyCut: boolean) {
    const { status, headers, mesh } = reply;
    super({
      code: "bad_status",
      reason: status < 500 ? "client_error" : "server_error",
      message: `${mesh.service} → ${mesh.endpoint}: the reply's status is ${status}; error.body has the beginning of its body`,
      progress: "maybe-processed",
      stackless: true,
    });
    this.status = status;
    this.headers = headers;
    this.body = body.toString("utf8");
    this.isBodyCut = isBodyCut;
    this.mesh = mesh;
    this.endpoint = mesh.endpoint;
    this.attempts = mesh.attempts;
    this.noRetry = mesh.noRetry;
  }

  override toJSON(): MeshErrorJson & { readonly status: number } {
    return { ...super.toJSON(), status: this.status };
  }
}

/** Reads the beginning of the body. Never rejects: a body that is cut has begun all the same. */
export function statusError(reply: HttpReply): Promise<StatusError> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    let over = false;
    const done = (isCut: boolean): void => {
      if (over) return;
      over = true;
      const body = Buffer.concat(chunks).subarray(0, MAX_ERROR_BODY_BYTES);
      resolve(new StatusError(reply, body, isCut));
    };
    reply.sendTo({
      paused: false,
      data(chunk) {
        if (over) return;
        chunks.push(chunk);
        bytes += chunk.length;
        if (bytes <= MAX_ERROR_BODY_BYTES) return;
        done(true);
        // Not inside an event of the connection that it ends.
        queueMicrotask(() => reply.leave());
      },
      end: () => done(false),
      fail: () => done(true),
    });
  });
}
