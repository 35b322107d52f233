/**
 * Tells a server's answer from a failure of the way to it. grpc-js reports both as a status; its own
 * have no metadata at all, while a server's trailers say at least their content type. That matters:
 * a server that passes on the text of its upstream's failure has processed the request.
 */
import { connectivityState, status as Status, type Metadata } from "@grpc/grpc-js";
import { MeshError, type ErrorReason, type Outcome } from "@inmesh/core/spi";
import type { WireStatus } from "./call-types.ts";
import type { Exchange } from "./exchange.ts";
import type { Lane } from "./lane.ts";
import { CONTENT_TYPE, textOf } from "./metadata.ts";

export interface Failure {
  /** Undefined: it is the server's answer, whatever it says. */
  readonly error: MeshError | undefined;
  readonly outcome: Outcome;
  readonly connectFailed: boolean;
}

const ANSWER: Failure = { error: undefined, outcome: "success", connectFailed: false };

/** The head of a gRPC reply, not of a page that something in between has made. */
export function isGrpc(metadata: Metadata): boolean {
  return textOf(metadata, CONTENT_TYPE)?.startsWith("application/grpc") !== false;
}

export function failureOf(status: WireStatus, lane: Lane, exchange: Exchange): Failure {
  const { code, details, metadata } = status;
  if (code === Status.OK) return ANSWER;
  if (code !== Status.UNAVAILABLE && code !== Status.INTERNAL) return ANSWER;
  if (Object.keys(metadata.getMap()).length > 0) return ANSWER;
  const lost = (reason: ErrorReason, sent: boolean, outcome: Outcome): Failure => ({
    error: new MeshError({
      code:
        reason === "connect_refused" || reason === "tls_handshake"
          ? "connect_failed"
          : "connection_lost",
      reason,
      message: `${exchange.attempt.call.service} → ${exchange.peer}: ${details}`,
      progress: sent ? "maybe-processed" : "not-sent",
      stackless: true,
    }),
    outcome,
    connectFailed: reason === "connect_refused" || reason === "tls_handshake",
  });
  if (details.startsWith("No connection established")) {
    return lost(isTls(details) ? "tls_handshake" : "connect_refused", false, "failure");
  }
  if (details === "Stream refused by server") {
    // A GOAWAY refuses the streams above its last id, and the connection is given up with it.
    const leaving = lane.channel.getConnectivityState(false) !== connectivityState.READY;
    return leaving
      ? lost("goaway", false, "abandoned")
      : lost("refused_stream", false, "overloaded");
  }
  if (details.startsWith("Failed to start HTTP/2 stream") || details.startsWith("Channel closed")) {
    return lost("reset_before_response", false, "abandoned");
  }
  if (
    details === "Connection dropped" ||
    details.startsWith("Write error") ||
    details.startsWith("Write failed") ||
    /^read |ECONNRESET|ETIMEDOUT/.test(details)
  ) {
    return lost(exchange.replied ? "reset_mid_response" : "reset_before_response", true, "failure");
  }
  return ANSWER;
}

function isTls(details: string): boolean {
  return /certificate|CERT|SSL|TLS|altname|self.signed/i.test(details);
}
