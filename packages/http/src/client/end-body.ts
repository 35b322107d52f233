/**
 * The end of a body that is a stream, when its request has failed. undici destroys it without the error
 * if the handler has not done so before, and what produces the body would hear of a `close` alone.
 */
import type { Duplex, Readable } from "node:stream";

/** Without effect on what is no stream of Node, or has ended. */
export function endBody(body: unknown, error: unknown): void {
  if (isStream(body)) endStream(body, error);
}

/** A stream that has no listener for the error must not end the process. */
export function endStream(stream: Readable | Duplex, error: unknown): void {
  if (stream.destroyed) return;
  stream.on("error", ignore);
  stream.destroy(error instanceof Error ? error : undefined);
}

function isStream(body: unknown): body is Readable {
  if (typeof body !== "object" || body === null) return false;
  const { destroy, on } = body as Partial<Readable>;
  return typeof destroy === "function" && typeof on === "function";
}

function ignore(): void {}
