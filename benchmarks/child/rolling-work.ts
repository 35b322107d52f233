/** What one request of the rolling restart asks for, as client and server agree on it. */
export const CHUNK_BYTES = 8192;
export const CHUNKS = 8;
export const CHUNK_EVERY_MS = 2;
