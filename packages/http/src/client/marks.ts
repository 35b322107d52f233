/**
 * What a server of the mesh says of its reply in fields of our namespace. It is for this hop: an
 * application that copies the headers of a reply must not pass it on, so it never sees them
 * (faults R17).
 */
import type { IncomingMessage } from "node:http";
import type { HeaderChanges } from "@inmesh/core/spi";
import { FINAL, LEAVING, NACK, REASON, single, type RawHeaders } from "../headers.ts";
import { changedBytes, changedList, changeIncoming } from "./header-changes.ts";

export interface Marks {
  /** The server guarantees that it has not processed the request. */
  readonly nacked: boolean;
  /** It has retried already. */
  readonly final: boolean;
  /** Why the server refused the request; undefined: it did not refuse it, or does not say why. */
  readonly reason: string | undefined;
}

const NONE: Marks = { nacked: false, final: false, reason: undefined };
const HIDDEN: HeaderChanges = { taken: new Set([NACK, FINAL, LEAVING, REASON]), given: [] };

/** Reads them and takes them out; undefined: there were none. */
export function takeMarks(fields: RawHeaders): Marks | undefined {
  const nack = fields[NACK];
  const final = fields[FINAL];
  const reason = fields[REASON];
  if (nack === undefined && final === undefined && reason === undefined) {
    if (fields[LEAVING] === undefined) return undefined;
    delete fields[LEAVING];
    return NONE;
  }
  const marks: Marks = {
    nacked: single(fields, NACK) !== undefined,
    final: final !== undefined,
    reason: single(fields, REASON),
  };
  for (const name of HIDDEN.taken) delete fields[name];
  return marks;
}

/** Of a head before parsing: bytes from undici, texts from HTTP/2. */
export function unmarkedList(raw: readonly Buffer[] | readonly string[]): Buffer[] | string[] {
  return raw[0] instanceof Buffer
    ? changedBytes(raw as readonly Buffer[], HIDDEN)
    : changedList(raw as readonly string[], HIDDEN);
}

/** Of node's own reply. */
export function hideMarks(reply: IncomingMessage): void {
  for (const name of HIDDEN.taken) {
    if (reply.headers[name] !== undefined) return changeIncoming(reply, HIDDEN);
  }
}
