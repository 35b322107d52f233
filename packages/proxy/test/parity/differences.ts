/**
 * Every difference between the mesh in a program and the mesh in the proxy: what the proxy cannot know, and what it
 * does otherwise by design. The suite reads it: a difference that it finds and that is not here fails, and so does one that
 * is here and that it does not find. docs/reference/proxy.md shows it.
 */
/** Facts by name, of every scenario or of some, on every way or on some. */
export interface Place {
  readonly fact: RegExp;
  readonly scenario?: RegExp;
  /** `P11`, `P12`, `P21`, `P22`. */
  readonly way?: RegExp;
}

export interface Difference {
  /** What is different; a row of the page, as are the two that follow. */
  readonly what: string;
  readonly library: string;
  readonly proxy: string;
  /** Where it is seen: each of these has to be. */
  readonly at: readonly Place[];
}

export const DIFFERENCES: readonly Difference[] = [
  // ── what only a program knows ────────────────────────────────────────────────────────────────
  {
    what: "how long a call may take",
    library: "`timeoutMs`, up to `timeouts.maxRequest`",
    proxy:
      "`x-mesh-timeout-ms` or `grpc-timeout`: what is left of it, and never more than the service gives",
    at: [
      { scenario: /gives more time to calls/, fact: /\.x-mesh-timeout-ms$|^tap .*\.decisions/ },
      { scenario: /the deadline of a call|until the deadline/, fact: /^tap .*\.decisions/ },
    ],
  },
  {
    what: "that a call may be sent twice",
    library: "its method, an `idempotency-key`, `idempotent` of its route or of the call",
    proxy: "the same without the option of one call",
    at: [{ scenario: /an option of one call/, fact: /./ }],
  },
  {
    what: "a body with a length, for a further attempt",
    library: "the program has it, whatever its size",
    proxy: "up to 64 KiB are kept",
    at: [{ scenario: /a body with a length that is more than is kept/, fact: /./ }],
  },
  {
    what: "a streamed body, for a further attempt",
    library: "it is gone once a part of it was sent",
    proxy: "up to 64 KiB are kept",
    at: [{ scenario: /retries: a streamed body$/, fact: /./ }],
  },
  {
    what: "that a call has been repeated in vain",
    library: "`noRetry` and `attempts` of its error, or of `reply.mesh`",
    proxy: "`x-mesh-final: 1` on a reply of 500 and above; the rest is in `inmesh tap`",
    at: [{ scenario: /^(?!heads)/, fact: /^answer\[\d+\]\.headers\.x-mesh-final$/ }],
  },
  {
    what: "fields `x-mesh-…` of a reply that are none of the mesh's",
    library: "the application sees them",
    proxy: "they are not passed on",
    at: [{ scenario: /the reason of a refusal/, fact: /^answer\[\d+\]\.headers\.x-mesh-other$/ }],
  },

  // ── what only a client of gRPC knows ─────────────────────────────────────────────────────────
  {
    what: "which of the four kinds a call of gRPC is",
    library:
      "known: `timeouts.request` covers unary ones, and their replies are held until the status is here, so that it can be tried elsewhere",
    proxy:
      "not known: the client's deadline counts, and `timeouts.request` of a route with `streaming: true`; a status is tried elsewhere where it comes without a head before it",
    at: [
      { scenario: /^gRPC/, fact: /\.grpc-timeout$|^tap outbound\[\d+\]\.decisions/ },
      { scenario: /^gRPC: the deadline of the service/, fact: /./ },
      {
        scenario: /^gRPC: a reply without a status/,
        fact: /\.inmesh\.not_retried$|inmesh\.retry\.decisions/,
      },
    ],
  },
  {
    what: "which methods of gRPC have a name in metrics, and are the route of a call that is served",
    library: "those of definitions and routes, and those that a server serves",
    proxy:
      "those of routes, and those that were answered with OK before, 200 of a service; others are `_OTHER`, and of the route `default`",
    at: [
      { scenario: /^gRPC/, fact: /^metric rpc\.client\.call\.duration/ },
      {
        scenario: /^served gRPC/,
        fact: /^metric rpc\.server\.call\.duration|\.inmesh\.route$|^tap inbound.*\.route$|^metric inmesh\.calls?(?:\.duration)?\{direction=inbound/,
      },
    ],
  },
  {
    what: "connections, bytes and limits of a server of gRPC in metrics",
    library: "`grpc`",
    proxy: "`http2` and `http`: a listener takes both",
    at: [
      {
        scenario: /^served gRPC/,
        fact: /^metric inmesh\.(?:concurrency\.limit|connections|connection\.opened|io)\{/,
      },
    ],
  },
  {
    what: "sizes of gRPC in `inmesh tap` and the access log",
    library: "of messages",
    proxy: "with the five bytes before each message",
    at: [
      { scenario: /gRPC/, fact: /^tap .*\.(?:sentBytes|receivedBytes)$/ },
      { scenario: /gRPC/, fact: /^access log .*\.inmesh\.(?:request|response)\.size$/ },
    ],
  },
  {
    what: "a reply of gRPC without a status",
    library: "`INTERNAL`, as its client makes it up",
    proxy: "`UNKNOWN`, as gRPC has it; its client is given what came",
    at: [
      {
        scenario: /^gRPC: a reply without a status/,
        fact: /^tap .*\.status$|^access log .*\.rpc\.status_code$/,
      },
    ],
  },
  {
    what: "a connection of gRPC that its server resets",
    library: "counted as ended by the peer: grpc-js does not say more",
    proxy: "counted as an error",
    at: [
      {
        scenario: /^gRPC: (?:a connection that ends|a stream that breaks)/,
        fact: /^metric inmesh\.connection\.closed/,
      },
    ],
  },
  {
    what: "the status of gRPC for a failure of the mesh's own",
    library: "with a sentence; the cause is a MeshError",
    proxy: "with the reason, which stands in `x-mesh-error` too",
    at: [{ scenario: /gRPC/, fact: /^answer\[\d+\]\.(?:error|trailers\.x-mesh-error)$/ }],
  },
  {
    what: "a method of gRPC that a server does not have",
    library: "`UNIMPLEMENTED` by grpc-js, which the mesh does not see",
    proxy: "the same by the application; tap, access log and metrics have it",
    at: [{ scenario: /a method that the application does not have/, fact: /./ }],
  },
  {
    what: "metadata that is too large",
    library: "`RESOURCE_EXHAUSTED`",
    proxy: "431, as of HTTP: a head is not read to its end, and so not known to be gRPC",
    at: [{ scenario: /metadata that is too large/, fact: /./ }],
  },
  {
    what: "`x-mesh-timeout-ms` in a call of gRPC that is served",
    library: "not read; `grpc-timeout` is",
    proxy: "read, like `grpc-timeout`: the shorter one counts",
    at: [{ scenario: /^served gRPC: no time is left/, fact: /./ }],
  },
  {
    what: "attempts and time of gRPC in heads",
    library:
      "`grpc-previous-rpc-attempts` and `grpc-timeout`, the former in the reply for its caller as well",
    proxy: "the same for the server, `x-mesh-attempt` and `x-mesh-timeout-ms` beside them",
    at: [
      {
        scenario: /^gRPC/,
        fact: /^answer\[\d+\]\.headers\.grpc-previous-rpc-attempts$|^seen by .*\.fields\.(?:x-mesh-attempt|x-mesh-timeout-ms)$/,
      },
    ],
  },
  {
    what: "a server that speaks no gRPC",
    library: "the status that stands for its own",
    proxy: "its reply, of which the client makes the same status",
    at: [{ scenario: /^gRPC: a server that speaks no gRPC/, fact: /^answer/ }],
  },

  // ── what a hop more changes ──────────────────────────────────────────────────────────────────
  {
    what: "`x-mesh-hops` of a call that no request was made for",
    library: "absent",
    proxy: "`1`: the proxy is a hop, so that proxies that send to each other notice it",
    at: [{ fact: /^seen by [^[]+\[\d+\]\.fields\.x-mesh-hops$/ }],
  },
  {
    what: "what an application that is called sees of the mesh",
    library: "nothing: the calls that it makes for the request inherit it",
    proxy:
      "`x-mesh-timeout-ms`, `x-mesh-hops` and `x-mesh-priority`, to be passed on with the calls that it makes",
    at: [
      { scenario: /^served/, fact: /^seen by app\[\d+\]\.fields\.x-mesh-(?:timeout-ms|priority)$/ },
    ],
  },
  {
    what: "an application that breaks off before it has answered, or in its reply",
    library: "its connection to the client ends: `abandoned`",
    proxy: "502 with the reason, or a reply that breaks off: `failure`",
    at: [{ scenario: /the application (?:ends the connection|breaks off)/, fact: /./ }],
  },
  {
    what: "an application that is at work when the deadline passes",
    library: "goes on; what it answers is sent",
    proxy: "504, and its request is broken off",
    at: [{ scenario: /the deadline passes while the application works/, fact: /./ }],
  },
  {
    what: "the error of a call that a request is made for",
    library: "what the handler makes of it",
    proxy:
      "a status, a text and, in the postures `local` and `mesh`, `x-mesh-error` with the reason",
    at: [
      {
        scenario: /^heads: (?:a deadline that comes in|what a hop)/,
        fact: /^answer\[\d+\]\.headers\.(?:x-mesh-error|content-length)$/,
      },
    ],
  },
  {
    what: "the reply to a client that owes the rest of its body",
    library: "408 without a text",
    proxy: "408 with its reason, as refusals have it",
    at: [{ scenario: /owes the rest of its body/, fact: /^answer/ }],
  },
  {
    what: "`/livez` and `/readyz`",
    library: "answered by the server, on its own port",
    proxy: "answered on the admin address; on a listener they are the application's",
    at: [{ scenario: /questions about health/, fact: /./ }],
  },

  // ── what the proxy is stricter about ─────────────────────────────────────────────────────────
  {
    what: "dot segments in a target",
    library: "left to the handler",
    proxy: "400 `bad_target`: servers take them for other paths than routes do",
    at: [{ scenario: /targets that two readers/, fact: /./ }],
  },
  {
    what: "a `traceparent` that is none, and a `tracestate` that is too long",
    library: "not inherited by calls; the handler sees them",
    proxy: "taken out",
    at: [
      {
        scenario: /a trace that is none|a trace state that is too long/,
        fact: /\.trace(?:parent|state)$/,
      },
    ],
  },
  {
    what: "`forwarded`, `x-forwarded-*` and `x-real-ip` of a client, in the posture `edge`",
    library: "left to the framework's setting",
    proxy: "taken out; `x-forwarded-for` and `x-forwarded-proto` are written anew",
    at: [
      {
        scenario: /posture edge$|^served: (?:requests|an application that says)/,
        fact: /\.(?:forwarded|x-forwarded-for|x-forwarded-proto|x-real-ip)$/,
      },
    ],
  },
  {
    what: "`user-agent` for a service that is no peer",
    library: "`inmesh/<version>`, where the call has none",
    proxy: "the client's, or none",
    at: [{ scenario: /a service that is no peer/, fact: /\.user-agent$/ }],
  },

  // ── what is shown ────────────────────────────────────────────────────────────────────────────
  {
    what: "heads of calls in `inmesh tap`",
    library: "with `x-mesh-…`, which the mesh has written into them",
    proxy: "with `host`, and without `x-mesh-…`, which is written as an attempt leaves",
    at: [
      {
        fact: /^tap outbound\[\d+\]\.headers\.(?:host|x-mesh-(?:timeout-ms|attempt|hops|priority))$/,
      },
      {
        scenario: /^gRPC/,
        fact: /^tap outbound\[\d+\]\.headers\.(?:accept-encoding|content-type|user-agent|grpc-accept-encoding|grpc-previous-rpc-attempts)$/,
      },
    ],
  },
  {
    what: "heads of requests in `inmesh tap`",
    library:
      "as they came, `host` over HTTP/1 alone, fields of the connection among them; of gRPC the metadata",
    proxy:
      "with `host`, and without fields of the connection and of framing; of a head that is refused what was read",
    at: [
      {
        fact: /^tap inbound\[\d+\]\.headers\.(?:host|te|connection|keep-alive|content-length|transfer-encoding|expect)$/,
      },
      {
        scenario: /fields of the connection/,
        fact: /^tap inbound\[\d+\]\.headers\.(?:x-hop|proxy-)/,
      },
      { scenario: /heads that are too large/, fact: /^tap inbound\[\d+\]\.headers\.x-/ },
      {
        scenario: /^served gRPC/,
        fact: /^tap inbound\[\d+\]\.headers\.(?:accept-encoding|content-type|grpc-accept-encoding|grpc-timeout)$/,
      },
    ],
  },
  {
    what: "bytes of the body of a request that is refused",
    library: "not counted: nothing reads them",
    proxy: "those that came with its head",
    at: [
      {
        scenario: /an expectation that is none/,
        fact: /^tap inbound\[\d+\]\.receivedBytes$|^access log .*\.http\.request\.body\.size$/,
      },
    ],
  },
  {
    what: "connections of HTTP/1 to a server",
    library:
      "undici uses none again behind a HEAD, and none in the turn in which a reply that is not read ends",
    proxy: "they are used again",
    at: [
      {
        scenario: /none has a body|what is taken from a reply/,
        fact: /\.connectionReused$|^metric inmesh\.(?:connect|queue\.duration)/,
        way: /1$/,
      },
    ],
  },
  {
    what: "a server that agrees on HTTP/1.1 where HTTP/2 was offered",
    library: "its connection is used",
    proxy: "its connection ends, and another one is opened: what reads is made with it",
    at: [
      {
        scenario: /^TLS: a server that agrees on HTTP\/1\.1/,
        fact: /^metric inmesh\.(?:connect\.|connection\.|tls\.handshake)/,
      },
    ],
  },
  {
    what: "a connection of HTTP/2 on which nothing was answered in the whole time of an attempt",
    library: "it stays in use, and ends when it does not answer a ping",
    proxy: "the same, and new attempts get another connection at once",
    at: [
      {
        scenario: /^timeouts: |^heads: a deadline that comes in|^gRPC: the deadline of/,
        fact: /\.connectionReused$|^metric inmesh\.(?:connect|queue\.duration)/,
        way: /2$/,
      },
    ],
  },
];

/** Rows of the table on the page. */
export const differenceRows = (): string[] =>
  DIFFERENCES.map(({ what, library, proxy }) => `| ${what} | ${library} | ${proxy} |`);
