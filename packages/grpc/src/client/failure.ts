/**
 * Distinguishes a server's answer from a failure of the way to it. grpc-js reports both as a status; its own
 * have no metadata at all, while a server's trailers say at least their content type. That matters:
 * a server that passes on the text of its upstream's failure has processed the request.
 */
import { status as Status, type ChannelCredentials, type Metadata } from "@grpc/grpc-js";
import {
  isConnectStrike,
  type MeshError,
  stacklessError,
  type ErrorReason,
  type Outcome,
  type Where,
} from "@inmesh/core/spi";
import type { WireStatus } from "../call-types.ts";
import { connectFailure, isConnectFailure } from "./connect-failure.ts";
import { CONTENT_TYPE, textOf } from "../metadata.ts";

export interface Failure {
  /** Undefined: it is the server's answer, whatever it says. */
  readonly error: MeshError | undefined;
  readonly outcome: Outcome;
  readonly connectFailed: boolean;
  /** The HTTP/2 session is gone. grpc-js notices some turns later: until then no attempt may go that way. */
  readonly sessionGone: boolean;
}

/** What is known of the attempt whose status it is. */
export interface FailureFacts {
  /** The head of a reply is here: the server has the request. */
  readonly headed: boolean;
  /** The reply has been given to the mesh. */
  readonly replied: boolean;
  readonly where: Where;
  readonly lane: LaneFacts;
}

interface LaneFacts {
  /** It has a connection at this very moment. */
  readonly connected: boolean;
  readonly credentials: ChannelCredentials;
}

const ANSWER: Failure = {
  error: undefined,
  outcome: "success",
  connectFailed: false,
  sessionGone: false,
};

/** grpc-js found no session to send on. Of a session that ends with streams on it, it says another thing. */
const NEVER_STARTED =
  /^Failed to start HTTP\/2 stream|^Channel closed|: The session has been destroyed$/;

/** The head of a gRPC reply, not of a page that something in between has made. */
export function isGrpc(metadata: Metadata): boolean {
  return textOf(metadata, CONTENT_TYPE)?.startsWith("application/grpc") !== false;
}

export function failureOf(status: WireStatus, facts: FailureFacts): Failure {
  const { code, details, metadata } = status;
  if (code === Status.OK) return ANSWER;
  if (code !== Status.UNAVAILABLE && code !== Status.INTERNAL) return ANSWER;
  if (Object.keys(metadata.getMap()).length > 0) return ANSWER;
  if (!facts.headed && isConnectFailure(details)) {
    const failed = connectFailure(details, facts.lane.credentials, facts.where);
    const connectFailed = isConnectStrike(failed);
    const outcome = connectFailed ? "failure" : "abandoned";
    return { error: failed, outcome, connectFailed, sessionGone: false };
  }
  const { service, address } = facts.where;
  const lost = (
    reason: ErrorReason,
    sent: boolean,
    outcome: Outcome,
    sessionGone = false,
  ): Failure => ({
    error: stacklessError(
      "connection_lost",
      reason,
      sent ? "maybe-processed" : "not-sent",
      `${service} → ${address}: ${details}`,
    ),
    outcome,
    connectFailed: false,
    sessionGone,
  });
  if (!facts.headed && isRefused(details)) {
    // A GOAWAY refuses the streams above its last id, and the connection is given up with it.
    return facts.lane.connected
      ? lost("refused_stream", false, "overloaded")
      : lost("goaway", false, "abandoned");
  }
  const broken =
    details === "Connection dropped" ||
    details.startsWith("Write error") ||
    details.startsWith("Write failed") ||
    /^read |ECONNRESET|ETIMEDOUT|triggered by internal client error: Session closed/.test(details);
  if (broken) {
    return lost(facts.replied ? "reset_mid_response" : "reset_before_response", true, "failure");
  }
  // The server has it: from here on its trailers may be as bare as grpc-js's own status.
  if (facts.headed) return ANSWER;
  if (NEVER_STARTED.test(details)) {
    return lost("reset_before_response", false, "abandoned", true);
  }
  return ANSWER;
}

/** By this grpc-js says ENHANCE_YOUR_CALM. */
const CALM = "Bandwidth exhausted or memory limit exceeded";

/** The server did not want this one stream, whether or not it says that it never looked at it. */
export function isRefusal({ details, metadata }: WireStatus, facts: FailureFacts): boolean {
  if (facts.headed || Object.keys(metadata.getMap()).length > 0) return false;
  if (isRefused(details) || details === CALM) return true;
  return details.startsWith("Write error") && details.endsWith("NGHTTP2_ENHANCE_YOUR_CALM");
}

/** The stream was refused; grpc-js may hear it first from a message that was on its way. */
function isRefused(details: string): boolean {
  return (
    details === "Stream refused by server" ||
    (details.startsWith("Write error") && details.endsWith("NGHTTP2_REFUSED_STREAM"))
  );
}
