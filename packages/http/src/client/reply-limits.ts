/** What is no reply to us, besides what the parsers refuse and `limits.maxReplyHeaderBytes` bounds. */

/** Fields of a head; Node's own limit is 2 000 over HTTP/1. */
export const MAX_REPLY_FIELDS = 200;
/** A server may send 103 a few times; more is an attack on patience. */
export const MAX_INTERIM = 32;

/**
 * A `Transfer-Encoding` that readers understand differently: said twice, or with something behind
 * `chunked`, which must be the last (RFC 9112 §6.1). llhttp takes both.
 */
export function isAmbiguous(coding: string | readonly string[]): boolean {
  if (typeof coding !== "string") return true;
  const codings = coding.toLowerCase().split(",");
  const chunkedAt = codings.findIndex((one) => one.trim() === "chunked");
  return chunkedAt >= 0 && chunkedAt < codings.length - 1;
}
