/**
 * The Node servers: those we make, with every limit, and what we change on one we are given. The
 * http2 module is loaded when first needed; nothing else makes HTTP/2 servers.
 */
import type { Server as HttpServer, ServerOptions } from "node:http";
// oxlint-disable-next-line no-restricted-imports -- types; the module itself is loaded below, if at all
import type { Http2SecureServer, Http2Server, Http2ServerResponse, Http2Session } from "node:http2";
import type { Server as HttpsServer } from "node:https";
import type { TlsOptions } from "node:tls";
import { messageClasses } from "./http2/messages.ts";
import type { ServerLimits } from "./limits.ts";

/**
 * An `import` of node:http reads all its exports, `WebSocket` among them, and that loads Node's whole
 * fetch: 45 ms, and two symbols on `globalThis` (P6). This way only those who use it pay.
 */
export const NODE_HTTP: typeof import("node:http") = process.getBuiltinModule("node:http");

export type { Http2ServerResponse, Http2Session };
export type NodeServer = HttpServer | HttpsServer | Http2Server | Http2SecureServer;

export interface ListenerOptions {
  readonly http2: boolean;
  readonly tls: TlsOptions | undefined;
  readonly limits: ServerLimits;
}

export function makeServer({ http2, tls, limits }: ListenerOptions): NodeServer {
  const http1 = http1Options(limits);
  const secure = { handshakeTimeout: limits.handshakeTimeoutMs, ...tls };
  let server: NodeServer;
  if (http2) {
    const module = process.getBuiltinModule("node:http2");
    const options = {
      ...http2Options(limits),
      ...http1,
      ...messageClasses(module),
      http1Options: http1,
    };
    server =
      tls === undefined
        ? module.createServer(options)
        : module.createSecureServer({ ...options, ...secure, allowHTTP1: true });
    server.setTimeout(0);
  } else if (tls === undefined) server = NODE_HTTP.createServer(http1);
  else server = process.getBuiltinModule("node:https").createServer({ ...http1, ...secure });
  server.maxConnections = limits.maxConnections;
  return server;
}

/** After so long without a byte TCP asks whether the client still lives, and ends it after ten tries (faults C6). */
const TCP_KEEP_ALIVE_MS = 10_000;

function http1Options(limits: ServerLimits): ServerOptions {
  return {
    keepAlive: true,
    keepAliveInitialDelay: TCP_KEEP_ALIVE_MS,
    keepAliveTimeout: 0, // see Connections
    headersTimeout: limits.headersTimeoutMs,
    // Node's would end long uploads; the watch over slow peers looks at progress instead.
    requestTimeout: 0,
    connectionsCheckingInterval: limits.headersCheckMs,
    maxHeaderSize: limits.maxHeaderBytes,
    // Node would refuse by itself, and then give us the request that came behind: see the validator.
    requireHostHeader: false,
    insecureHTTPParser: false,
  };
}

/**
 * Node's own count sees each reset and knows no deadlines, so it is only the last limit, for what the
 * count of ours pardons (core's misuse.ts) and for frames that never become a request.
 */
const LAST_RESETS = 10;
/** Node's default. */
const FORGET_BURST_S = 30;
/** Node keeps its limits as 32 bits. */
const MAX_UINT32 = 2 ** 32 - 1;

/**
 * `maxSessionMemory` is as large as it can be. Node counts what was written to a stream, and when that
 * is reset it forgets to take off what had not been sent: after ten cancelled replies of 1 MB a
 * connection takes no streams for the rest of its life. Nothing of that is in memory; what is, is
 * bounded by the number of requests in progress.
 */
function http2Options(limits: ServerLimits): object {
  const lastResets = Math.min(LAST_RESETS * limits.maxStreamResets, MAX_UINT32);
  return {
    settings: {
      maxConcurrentStreams: limits.maxConcurrentStreams,
      headerTableSize: limits.maxHeaderTableBytes,
      maxHeaderListSize: limits.maxHeaderBytes,
      enablePush: false,
      enableConnectProtocol: false,
    },
    maxSessionInvalidFrames: limits.maxInvalidFrames,
    maxSessionMemory: MAX_UINT32,
    streamResetBurst: lastResets,
    streamResetRate: Math.max(1, Math.ceil(lastResets / FORGET_BURST_S)),
    maxSettings: 32,
    maxOutstandingPings: 10,
    unknownProtocolTimeout: limits.handshakeTimeoutMs,
  };
}

/** A limit of a server that was not made here. */
export interface GivenLimit {
  readonly name: keyof ServerLimits;
  readonly wanted: number;
  readonly actual: number;
}

/** Makes weaker limits strict where that can still be done; gives those that stay weaker. */
export function tighten(server: NodeServer, limits: ServerLimits): GivenLimit[] {
  const weaker: GivenLimit[] = [];
  const { maxConnections } = server as { maxConnections?: number | null };
  // 0 is a limit, by which Node drops them all; what is no number limits nothing.
  if (typeof maxConnections !== "number" || !(maxConnections <= limits.maxConnections)) {
    server.maxConnections = limits.maxConnections;
  }
  if (!(server instanceof NODE_HTTP.Server) && !("keepAliveTimeout" in server)) return weaker;
  const http1 = server as HttpServer;
  // Of the two Node takes the longer one for the whole request, whichever name it has.
  const requestTimeoutMs = http1.requestTimeout > 0 ? http1.requestTimeout : Infinity;
  const headersTimeoutMs = Math.min(limits.headersTimeoutMs, requestTimeoutMs);
  if (http1.headersTimeout === 0 || http1.headersTimeout > headersTimeoutMs) {
    http1.headersTimeout = headersTimeoutMs;
  }
  // The application chose when its connections end; a client may lose that race (faults C5).
  if (http1.keepAliveTimeout !== 0 && http1.keepAliveTimeout < limits.keepAliveIdleMs) {
    const actual = http1.keepAliveTimeout;
    weaker.push({ name: "keepAliveIdleMs", wanted: limits.keepAliveIdleMs, actual });
  }
  return weaker;
}
