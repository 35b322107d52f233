/** What a reply may cost besides its bytes, which `limits.maxReplyHeaderBytes` bounds. */

/** Fields of a head; Node's own limit is 2 000 over HTTP/1. */
export const MAX_REPLY_FIELDS = 200;
/** A server may send 103 a few times; more is an attack on patience. */
export const MAX_INTERIM = 32;
