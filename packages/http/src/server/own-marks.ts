/**
 * The fields of our namespace on a reply say what this server guarantees: not processed, retried
 * already, leaving. A handler that copies the reply of another server must not pass on what that one
 * said, or forged (faults R17). Every head passes through `writeHead`: there they are taken out, and
 * what is true of this reply is written.
 */
import type { ServerResponse } from "node:http";
import { FINAL, LEAVING, NAMESPACE } from "../headers.ts";
import { INBOUND } from "./in-context.ts";
import type { WithInbound } from "./inbound.ts";
import { declaredLength } from "./reply-length.ts";

type Response = ServerResponse & WithInbound;
type WriteHead = (status: number, message?: string | Given, given?: Given) => ServerResponse;
type Given = readonly unknown[] | Readonly<Record<string, unknown>>;

/** As `writeHead` of one reply. A function for all of them: it costs a request one property. */
export function writeOwnHead(
  this: Response,
  status: number,
  message?: string | Given,
  given?: Given,
): ServerResponse {
  if (!this.headersSent) {
    for (const name of this.getHeaderNames()) if (isOurs(name)) this.removeHeader(name);
    const { exhausted, last, http2, owner } = this[INBOUND]!;
    if (exhausted && status >= 500) this.setHeader(FINAL, "1");
    if (last && http2) this.setHeader(LEAVING, "1");
    // As Node does: not for a handler that says by itself what becomes of the connection.
    if (owner.keepAlive !== undefined && !http2 && !this.hasHeader("connection")) {
      this.setHeader("keep-alive", owner.keepAlive);
    }
  }
  const { writeHead } = Object.getPrototypeOf(this) as { writeHead: WriteHead };
  const fields = without(typeof message === "string" ? given : (message ?? given));
  const reply =
    typeof message === "string"
      ? writeHead.call(this, status, message, fields)
      : writeHead.call(this, status, fields);
  const inbound = this[INBOUND];
  if (inbound !== undefined && !inbound.http2 && !inbound.owner.members.seesSends) {
    inbound.declaredBytes = declaredLength(this, fields);
  }
  return reply;
}

/** The first letter excludes nearly all others. */
function isOurs(name: string): boolean {
  return (name.charCodeAt(0) | 32) === 120 && name.toLowerCase().startsWith(NAMESPACE);
}

/** An object, pairs, or names and values in turn, as they were given if none of them is ours. */
function without(given: Given | undefined): Given | undefined {
  if (typeof given !== "object" || given === null) return given;
  if (!Array.isArray(given)) {
    const names = Object.keys(given);
    if (!names.some(isOurs)) return given;
    const entries = Object.entries(given).filter(([name]) => !isOurs(name));
    return Object.fromEntries(entries);
  }
  if (Array.isArray(given[0])) {
    return given.filter(([name]: unknown[]) => !isOurs(String(name)));
  }
  const kept: unknown[] = [];
  for (let i = 0; i < given.length; i += 2) {
    if (!isOurs(String(given[i]))) kept.push(given[i], given[i + 1]);
  }
  return kept;
}
