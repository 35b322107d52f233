/**
 * Options of servers, by `servers.<name>` of a configuration and in code; see option.ts. `live`: a change
 * counts from the next request or connection on. The others count when a server is made.
 *
 * Limits of HTTP and of gRPC stand here because a configuration is read where neither is loaded.
 */

/** What stands around them, by its place behind `servers`. */
export const SERVERS = {
  /**
   * Options of the servers of this process, by the `name` that they have in code. Code wins over it. A
   * server without a `mesh` does not read it.
   * - Default: none
   * - Range: at most {services}
   * - Elsewhere: Envoy `listeners`
   */
  "": { type: "object" },
  /**
   * What its peers may cost it.
   * - Default: all defaults
   */
  ".*.limits": { type: "object" },
} as const;

/** What stands under the name of a server. */
export const SERVER = {
  /**
   * Which clients can connect, and so what is believed of what they say: any client, the application's own
   * host, or servers and clients of the mesh; see [headers](headers.md).
   * - Reason: Nothing is known about who connects.
   */
  posture: { type: "choice", choices: ["edge", "local", "mesh"], default: "edge" },
  /**
   * From "not ready" until callers have noticed, when draining.
   * - Reason: What Kubernetes needs to take an address out.
   */
  discoveryWait: { type: "duration", default: "5s", max: "1h" },
  /**
   * An idle connection is kept this long for one more request, when draining.
   * - Reason: A request may be on its way.
   * - No effect when the server speaks gRPC
   */
  idleWait: { type: "duration", default: "1s", max: "1h" },
  /**
   * Names of identity headers that stay, because something in front vouches for them.
   * - Range: header names
   * - No effect when the server speaks gRPC
   */
  keepHeaders: { type: "names", defaultText: "none" },
  /**
   * Keys of identity metadata that stay, because something in front vouches for them.
   * - Range: metadata keys
   * - No effect when the server speaks HTTP
   */
  keepMetadata: { type: "names", defaultText: "none" },
  /**
   * The hosts it is: `orders.example` at any port, or `orders.example:8443`. A request for
   * another gets 421.
   * - Range: host, or host:port
   * - No effect when the server speaks gRPC
   */
  authorities: { type: "names", defaultText: "any host" },
  /**
   * Names of headers with a `_` get 400.
   * - Reason: Only some backends take `X_Y` for `X-Y`.
   * - No effect when the server speaks gRPC
   */
  refuseUnderscores: { type: "boolean", default: false },
} as const;

/** Limits of every server. */
export const SERVER_LIMITS = {
  /**
   * Requests in progress; the rest is refused: 503, UNAVAILABLE.
   * - Reason: Bounds memory and the wait behind them.
   * - Elsewhere: Envoy `circuit_breakers.max_requests`
   */
  maxInFlight: { type: "integer", unit: "requests", default: 4_096, max: 1_000_000, live: true },
  /**
   * What the requests of one turn of the event loop may take while the loop is late by a third
   * of it all the time; the rest of the turn is refused. Less for a caller that would get its
   * reply too late. `none`: not watched.
   * - Reason: A caller that waits longer has mostly given up.
   * - Elsewhere: Envoy `adaptive_concurrency` has the same purpose
   */
  maxLoopDelay: { type: "duration", default: "1s", max: "1h", none: true, live: true },
  /**
   * Share of V8's old generation in use above which requests are refused. 1: not watched.
   * - Reason: V8 ends the process at 1, and all requests in progress with it.
   * - Elsewhere: Envoy `overload_manager` with `fixed_heap`
   */
  maxHeapRatio: { type: "number", unit: "share of the heap", default: 0.95, max: 1, live: true },
  /**
   * Connections; above it none is accepted.
   * - Reason: Descriptors are finite.
   * - No effect when it is above half of the process's descriptors: that is the limit then
   * - Elsewhere: Envoy `global_downstream_max_connections`
   */
  maxConnections: { type: "integer", unit: "connections", default: 10_000, max: 1_000_000 },
  /**
   * A handshake: of TLS, and of HTTP/2 for gRPC.
   * - Reason: Node waits two minutes for the first and for ever for the second.
   * - Elsewhere: Envoy `transport_socket_connect_timeout`
   */
  handshakeTimeout: { type: "duration", default: "10s", max: "1h", none: true },
  /**
   * Heads of all requests that a connection has in progress: 431, RESOURCE_EXHAUSTED, and it
   * is closed.
   * - Reason: Many requests at once must not hold more than one may.
   */
  maxConnectionHeaderBytes: {
    type: "integer",
    unit: "bytes",
    default: 524_288,
    max: 1_073_741_824,
    live: true,
  },
  /**
   * HTTP/2 streams of one connection.
   * - Reason: Node announces four billion.
   * - Elsewhere: Envoy `max_concurrent_streams`, gRPC `grpc.max_concurrent_streams`
   */
  maxConcurrentStreams: { type: "integer", unit: "streams", default: 100, max: 1_000_000 },
  /**
   * HTTP/2's table of compressed header fields.
   * - Reason: RFC 7541's own.
   * - Elsewhere: Envoy `hpack_table_size`
   */
  maxHeaderTableBytes: { type: "integer", unit: "bytes", default: 4_096, max: 1_048_576 },
  /**
   * Requests of an HTTP/2 connection that the client resets in a burst; a thirtieth of it per
   * second is forgotten. What it gives up at its deadline, or after a second, is not counted.
   * - Reason: Node's own default.
   */
  maxStreamResets: { type: "integer", unit: "requests", default: 1_000, max: 1_000_000 },
  /**
   * Share of a connection's requests that were reset, up to which more than `maxStreamResets`
   * may be. 1: any.
   * - Reason: Most of what an honest client asks for is wanted.
   */
  maxResetRatio: { type: "number", unit: "share of requests", default: 0.5, max: 1, live: true },
  /**
   * A connection, ± 10 %; then it is asked to go.
   * - Reason: Clients spread again, over servers that are new.
   * - Elsewhere: Envoy `max_connection_duration`, gRPC `grpc.max_connection_age_ms`
   */
  maxConnectionAge: { type: "duration", default: "1h", max: "24h", none: true },
  /**
   * A client that does not read what waits for it; then it is cut off.
   * - Reason: Node waits for ever.
   * - Elsewhere: Envoy `stream_flush_timeout`
   */
  writeStallTimeout: { type: "duration", default: "30s", max: "24h", none: true },
  /**
   * A deadline as received; a longer one is cut to it.
   * - Reason: No request is worth more than an hour unless the server says so.
   * - Elsewhere: Envoy `max_stream_duration`, `grpc_timeout_header_max`
   */
  maxTimeout: { type: "duration", default: "1h", max: "24h", none: true, live: true },
  /**
   * Servers of the mesh a request may come through: 508, INTERNAL.
   * - Reason: Longer is a circle of services.
   */
  maxHops: { type: "integer", unit: "servers", default: 16, max: 1_000, live: true },
  /**
   * A longer `tracestate` is dropped.
   * - Reason: W3C Trace Context asks for 512.
   */
  maxTracestateBytes: { type: "integer", unit: "bytes", default: 512, max: 1_048_576, live: true },
  /**
   * A longer `baggage` is dropped.
   * - Reason: W3C Baggage asks for 8192.
   */
  maxBaggageBytes: { type: "integer", unit: "bytes", default: 8_192, max: 1_048_576, live: true },
} as const;

/** Further ones of HTTP servers. */
export const HTTP_SERVER_LIMITS = {
  /**
   * Requests of one HTTP/1 connection in progress, answered in order; one more gets 503, and
   * the connection is closed.
   * - Reason: What is pipelined waits for what is in front of it.
   */
  maxPipelined: { type: "integer", unit: "requests", default: 16, max: 1_000_000, live: true },
  /**
   * TLS handshakes in progress; further connections are closed.
   * - Reason: They cost the server more than the client.
   * - No effect when the server has no TLS
   */
  maxHandshakes: { type: "integer", unit: "handshakes", default: 256, max: 1_000_000, live: true },
  /**
   * From the first byte of a request, or from the connection, to the end of its head: 408.
   * - Reason: Node waits 60 s.
   * - Elsewhere: Envoy `request_headers_timeout`
   */
  headersTimeout: { type: "duration", default: "10s", max: "24h", none: true },
  /**
   * How often that is looked at.
   * - Reason: Node looks every 30 s, and so late can the end be.
   * - No effect when the server was made by the application
   */
  headersCheck: { type: "duration", default: "5s", min: "1ms", max: "1h" },
  /**
   * Head of a request: 431.
   * - Reason: Node's own default.
   * - No effect when the server was made by the application
   * - Elsewhere: Envoy `max_request_headers_kb`
   */
  maxHeaderBytes: { type: "integer", unit: "bytes", default: 16_384, max: 1_048_576 },
  /**
   * Fields of a head: 431.
   * - Reason: Node lets 2 000 through.
   * - Elsewhere: Envoy `max_headers_count`
   */
  maxHeaderCount: { type: "integer", unit: "fields", default: 100, max: 100_000, live: true },
  /**
   * Name of a field: 431.
   * - Reason: Longer than any name in use.
   */
  maxHeaderNameBytes: { type: "integer", unit: "bytes", default: 256, max: 1_048_576, live: true },
  /**
   * Value of a field: 431.
   * - Reason: Half of the head; tokens and cookies fit.
   */
  maxHeaderValueBytes: {
    type: "integer",
    unit: "bytes",
    default: 8_192,
    max: 1_048_576,
    live: true,
  },
  /**
   * Request target: 414.
   * - Reason: RFC 9112 §3 asks for 8 000 at least.
   * - No effect when it is above `maxHeaderBytes`
   */
  maxTargetBytes: { type: "integer", unit: "bytes", default: 8_192, max: 1_048_576, live: true },
  /**
   * Fields of a trailer; a request with more loses them all.
   * - Reason: Few protocols have any.
   */
  maxTrailerCount: { type: "integer", unit: "fields", default: 32, max: 100_000, live: true },
  /**
   * A longer trailer is dropped.
   * - Reason: As one header field.
   */
  maxTrailerBytes: { type: "integer", unit: "bytes", default: 8_192, max: 1_048_576, live: true },
  /**
   * Silence of a client that owes the rest of a body: 408. Not counted while the handler does
   * not read.
   * - Reason: A client that vanished must not hold a handler.
   * - Elsewhere: Envoy `stream_idle_timeout`
   */
  bodyIdleTimeout: { type: "duration", default: "30s", max: "24h", none: true },
  /**
   * What a body must bring over each window while the handler reads: 408. 0: any.
   * - Reason: A body that trickles holds a handler for hours.
   */
  minBodyRate: {
    type: "integer",
    unit: "bytes per second",
    default: 500,
    max: 1_073_741_824,
    live: true,
  },
  /**
   * The window of `minBodyRate`.
   * - Reason: Long enough for a mobile network's pauses.
   */
  bodyRateWindow: { type: "duration", default: "20s", max: "24h", none: true },
  /**
   * What a client must take of a reply over HTTP/2 that waits for it, over twice
   * `writeStallTimeout`; otherwise it is destroyed. 0: any.
   * - Reason: A window that opens byte by byte is never silent.
   */
  minReplyRate: {
    type: "integer",
    unit: "bytes per second",
    default: 500,
    max: 1_073_741_824,
    live: true,
  },
  /**
   * Of a body whose answer is already given: read and dropped, so that closing does not eat
   * the answer.
   * - Reason: What clients send before they read.
   */
  lingerBytes: { type: "integer", unit: "bytes", default: 262_144, max: 1_073_741_824, live: true },
  /**
   * The same, in time.
   * - Reason: A round trip over any network.
   */
  linger: { type: "duration", default: "1s", max: "1h", live: true },
  /**
   * An idle connection is closed after this long.
   * - Reason: Above every client's own, so that clients close first.
   * - Elsewhere: Envoy `idle_timeout`
   */
  keepAliveIdle: { type: "duration", default: "65s", max: "24h", none: true },
  /**
   * Glitches of a connection, which are irregularities that are tolerated each by itself; one is forgotten
   * every 10 s. Above it, the connection is closed.
   * - Reason: An honest client has a few.
   */
  maxGlitches: { type: "integer", unit: "glitches", default: 100, max: 1_000_000, live: true },
  /**
   * HTTP/2 pings by the client in a burst; one is forgotten every second.
   * - Reason: Each costs an answer.
   */
  maxPings: { type: "integer", unit: "pings", default: 10, max: 1_000_000, live: true },
  /**
   * HTTP/2 SETTINGS by the client in a burst; one is forgotten every six seconds.
   * - Reason: Each costs an answer.
   */
  maxSettingsFrames: { type: "integer", unit: "frames", default: 10, max: 1_000_000, live: true },
  /**
   * HTTP/2 frames that Node takes for invalid before it closes the connection.
   * - Reason: Node takes 1 000.
   */
  maxInvalidFrames: { type: "integer", unit: "frames", default: 100, max: 1_000_000 },
} as const;

/** Further ones of gRPC servers. Listeners of mesh-proxy have those of pings too. */
export const GRPC_SERVER_LIMITS = {
  /**
   * Names, values and 32 bytes per entry of a call's metadata: RESOURCE_EXHAUSTED.
   * - Reason: As heads of HTTP.
   */
  maxMetadataBytes: { type: "integer", unit: "bytes", default: 16_384, max: 1_048_576, live: true },
  /**
   * Keys of a call's metadata: RESOURCE_EXHAUSTED.
   * - Reason: Node resets a stream with more than 128.
   */
  maxMetadataCount: { type: "integer", unit: "keys", default: 100, max: 100_000, live: true },
  /**
   * A message received, unpacked: RESOURCE_EXHAUSTED, before it is in memory.
   * - Reason: gRPC's own default.
   * - Elsewhere: gRPC `grpc.max_receive_message_length`
   */
  maxMessageBytes: { type: "integer", unit: "bytes", default: 4_194_304, max: 2_147_483_647 },
  /**
   * What calls on a connection at the end of its age have left before it is destroyed.
   * - Reason: As a drain has.
   * - Elsewhere: gRPC `grpc.max_connection_age_grace_ms`
   */
  maxConnectionAgeGrace: { type: "duration", default: "30s", max: "24h", none: true },
  /**
   * A silent connection is pinged this often; by mesh-proxy only while requests over HTTP/2 are in progress on it.
   * - Reason: A client that vanished is noticed.
   * - Elsewhere: gRPC `grpc.keepalive_time_ms`
   */
  pingInterval: { type: "duration", default: "1m", max: "24h", none: true },
  /**
   * Without an answer so long the connection is destroyed.
   * - Reason: gRPC's own default.
   * - Elsewhere: gRPC `grpc.keepalive_timeout_ms`
   */
  pingTimeout: { type: "duration", default: "20s", max: "24h", none: true },
  /**
   * Watchers of the health service.
   * - Reason: A load balancer has one for each of its instances.
   */
  maxWatchers: { type: "integer", unit: "watchers", default: 100, max: 1_000_000 },
} as const;
