/** When the pool of connections to an endpoint has had its time, and how it ends, for HTTP here and in the proxy. */
import { MeshError, type Runtime } from "@inmesh/core/spi";

/** An idle connection of HTTP/1.1. Below every sane server's idle time; a server's own hint shortens it by two seconds. */
export const KEEP_ALIVE_MS = 4_000;
export const KEEP_ALIVE_MARGIN_MS = 2_000;
/**
 * Longer than an idle HTTP/1.1 connection is kept: one that is still there after this long without a
 * call outlived a process that was frozen, and its peer may have forgotten it (faults.md L7).
 */
export const STALE_MS = 5_000;
/** A connection of HTTP/2 without streams: long, because GOAWAY makes losing one harmless. */
export const HTTP2_IDLE_MS = 60_000;
/** Streams wait and nothing came for this long: is the peer still there (faults.md C6)? */
export const PING_INTERVAL_MS = 10_000;
/** No answer for this long: it is not. */
export const PING_TIMEOUT_MS = 20_000;
/** TLS agreed on HTTP/1.1 where HTTP/2 was asked for. Not for good: the endpoint may be replaced by one that speaks it. */
export const REMEMBER_HTTP1_MS = 300_000;

interface Ending {
  close(): Promise<void>;
  destroy(error: MeshError): unknown;
}

/** Waits for what is in flight and queued, at most `graceMs`, then breaks it off. Does not reject. */
export function shutPool(
  pool: Ending,
  service: string,
  graceMs: number,
  runtime: Runtime,
): Promise<void> {
  return new Promise((resolve) => {
    const breakOff = (): void => {
      const error = new MeshError({
        code: "cancelled",
        reason: "shutdown",
        message: `${service}: the connection was closed before the attempt ended`,
        progress: "maybe-processed",
      });
      // undici's close never ends when a pool with queued requests is destroyed.
      const destroyed = Promise.resolve(pool.destroy(error)) as Promise<void>;
      destroyed.then(resolve, resolve);
    };
    const timer = runtime.after(graceMs, breakOff, undefined, true);
    const closed = (): void => {
      timer.cancel();
      resolve();
    };
    pool.close().then(closed, closed);
  });
}
