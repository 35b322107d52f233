/** What the connections to one endpoint are, of HTTP/1 or of HTTP/2, to who sends attempts there. */
import type { MeshError } from "@inmesh/core/spi";
import type { Exchange } from "./exchange.ts";

export interface UpstreamPool {
  /** Gives it to a connection (`exchange.begin`), or keeps it until there is one (`exchange.queued`). Must not throw. */
  dispatch(exchange: Exchange): void;
  /** Connections that are established. */
  readonly open: number;
  /** Attempts that wait for a connection. */
  readonly queued: number;
  /** `http/1.1` or `h2`; undefined before the first connection. */
  readonly application: string | undefined;
  /** Completes a handshake and keeps the connection for the next attempt. False: there was none. */
  probe(): Promise<boolean>;
  /**
   * The process may have stood still, and peers may have forgotten its connections: none is used before it has answered.
   * False: they cannot be asked, and the pool has to be replaced.
   */
  distrust(): boolean;
  /** Takes nothing new; resolves when what is queued and in flight has ended. Idempotent. */
  close(): Promise<void>;
  /** Ends everything now, with this error for what is queued and in flight. */
  destroy(error: MeshError): void;
}
