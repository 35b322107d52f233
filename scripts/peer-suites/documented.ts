/**
 * Tests of others that fail through a door on purpose, by name, each with the reason and where it is documented.
 * The table of `npm run peers:suites` counts them apart; what fails and does not stand here is a defect.
 */
import type { Door } from "./suites.ts";

export interface Documented {
  readonly suite: string;
  readonly door: Door;
  readonly why: string;
  /** `file > name of the test`, whole. */
  readonly tests: readonly string[];
}

const under = (prefix: string, names: readonly string[]): string[] =>
  names.map((name) => `${prefix} > ${name}`);

const NO_HOST =
  "a request without a host is refused with 400: docs/reference/headers.md (Refusals)";
const TRACE = "TRACE is refused with 405: docs/reference/headers.md (Refusals)";
const FORWARD_PROXY =
  "its proxy reads an absolute target, which reaches a handler as a path: docs/reference/headers.md (Removed before the handler)";
const RETRIED =
  "it counts requests, and a GET that fails is made again: docs/reference/config.md (retry)";
const OTHER_HOST =
  "another `Host` than the service's is refused: docs/guides/undici-and-fetch.md (node:http, axios and got)";
const PROXY = `${OTHER_HOST}; a proxy is no service: docs/guides/migrating.md (\`proxy: false\`)`;
const OWN_LOOKUP =
  "endpoints come from discovery, a request's own `lookup` has no effect: docs/reference/limits.md (At mesh.agent())";
const OWN_CERTIFICATES =
  "certificates and TLS versions are the service's, not the request's: docs/reference/limits.md (At mesh.agent())";
const OWN_ERRORS =
  "the error is the mesh's, with undici's as its cause: docs/guides/undici-and-fetch.md (undici, and SDKs that take a dispatcher)";

const OUT_OF_THE_MESH =
  "a redirect never leads from a service to an origin that the mesh does not know: docs/guides/undici-and-fetch.md (fetch)";
const FOREIGN_CLASSES =
  "a Headers or Request of another copy of undici is read by its public members, which give names in small letters and no dispatcher, and the reply is a Response of the process: docs/guides/undici-and-fetch.md (fetch)";
/** Servers of a test that failed before it closes them. */
const STAYS_OPEN = "the file ends by itself";

const AXIOS_HTTP = "test/unit/adapters/http.js > supports http with nodejs";
const AXIOS_PROXIES = under(AXIOS_HTTP, [
  "should support HTTP proxies",
  "should support HTTPS proxies",
  "should support proxy set via env var",
  "should support HTTPS proxy set via env var",
  "should re-evaluate proxy on redirect when proxy set via env var",
  "should use proxy for domains not in no_proxy",
  "should support HTTP proxy auth",
  "should support proxy auth from env",
  "should support proxy auth with header",
]);

export const DOCUMENTED: readonly Documented[] = [
  {
    suite: "express",
    door: "server",
    why: TRACE,
    tests: [
      "test/app.router.js > app.router > methods > should include TRACE",
      'test/res.send.js > res > "etag" setting > when enabled > should send ETag in response to TRACE request',
    ],
  },
  {
    suite: "express",
    door: "server",
    why: "it sends a URL as Host, which is refused with 400: docs/reference/headers.md (Refusals)",
    tests: under("test/res.redirect.js > res", [
      "when accepting html > should escape the url",
      "when accepting html > should not render evil javascript links in anchor href (prevent XSS)",
      "when accepting text > should encode the url",
    ]),
  },
  {
    suite: "fastify",
    door: "server",
    why: NO_HOST,
    tests: under("test/request-header-host.test.js", [
      "Return 200 when Host header is empty",
      "Return 200 when Host header is empty with trust proxy",
      "Return 200 when Host header is missing and http.requireHostHeader = false",
      "Return 200 when Host header is missing and http.requireHostHeader = false with trust proxy",
    ]),
  },
  {
    suite: "fastify",
    door: "server",
    why: TRACE,
    tests: under("test/route-shorthand.test.js > route-shorthand", [
      "route-shorthand - trace",
      "route-shorthand - all",
    ]),
  },
  {
    suite: "fastify",
    door: "fetch",
    why: RETRIED,
    tests: [
      "test/hooks-async.test.js > async hooks",
      "test/request-error.test.js > customErrorHandler should throw for json err and stream response",
      "test/route-hooks.test.js > onTimeout on route",
      "test/url-rewriting.test.js > Should throw an error",
    ],
  },
  {
    suite: "node-fetch",
    door: "agent",
    why: OTHER_HOST,
    tests: under("test/main.js > node-fetch", [
      "should accept custom host header",
      "should accept custom HoSt header",
    ]),
  },
  { suite: "axios", door: "server", why: FORWARD_PROXY, tests: AXIOS_PROXIES },
  {
    suite: "axios",
    door: "agent",
    why: PROXY,
    tests: [
      ...AXIOS_PROXIES,
      `${AXIOS_HTTP} > should support beforeRedirect and proxy with redirect`,
      "test/unit/regression/SNYK-JS-AXIOS-1038255.js > Server-Side Request Forgery (SSRF) > obeys proxy settings when following redirects",
    ],
  },
  {
    suite: "axios",
    door: "agent",
    why: OWN_LOOKUP,
    tests: under(`${AXIOS_HTTP} > DNS`, [
      "should support a custom DNS lookup function",
      "should support a custom DNS lookup function with address entry passing",
      "should support a custom DNS lookup function (async)",
      "should support a custom DNS lookup function with address entry (async)",
      "should support a custom DNS lookup function that returns only IP address (async)",
    ]),
  },
  {
    suite: "got",
    door: "agent",
    why: OTHER_HOST,
    tests: [
      "test/redirects.ts > clears the host header when redirecting to a different hostname",
      "test/stream.ts > copyPipedHeaders does not forward host",
    ],
  },
  {
    suite: "got",
    door: "agent",
    why: OWN_LOOKUP,
    tests: [
      "test/http.ts > ClientRequest can throw before promise resolves",
      "test/redirects.ts > follows redirect to ordinary http://unix host",
      "test/timeout.ts > lookup timeout",
    ],
  },
  {
    suite: "got",
    door: "agent",
    why: OWN_CERTIFICATES,
    tests: [
      ...under("test/https.ts", [
        "client certificate",
        "http2",
        "http2 connection reuse with custom agent",
        "http2 connection reuse with default agent",
        "https request with `checkServerIdentity` NOT OK",
        "https request with `checkServerIdentity` OK",
        "https request with `ciphers` option",
        "https request with `honorCipherOrder` option",
        "https request with `minVersion` option",
        "https request with `serverName` option",
        "https request with ca",
        "https request with ca and afterResponse hook",
        "https request with wrong host",
        "https request without ca",
        "invalid client certificate (other CA)",
        "invalid client certificate (self-signed)",
        "invalid key passphrase",
        "key passphrase",
        "non-deprecated `rejectUnauthorized` option",
      ]),
      "test/redirects.ts > clears credentials and sensitive headers when redirecting to a different protocol on the same hostname",
      "test/redirects.ts > does not forward body when redirecting to a different protocol on the same hostname",
      "test/redirects.ts > redirects from http to https work",
      "test/redirects.ts > redirects from https to http work",
      "test/timeout.ts > no memory leak when using http2 with socket timeout and connection reuse",
    ],
  },
  {
    suite: "undici",
    door: "dispatcher",
    why: OWN_ERRORS,
    tests: [
      "test/parser-issues.js > fetch rejects truncated chunked responses terminated by EOF",
      "test/request-crlf.js > should validate blob body content-type CRLF Injection",
    ],
  },
  {
    suite: "undici",
    door: "server",
    why: NO_HOST,
    tests: ["test/client-request.js > headers > host > empty host header"],
  },
  {
    suite: "undici",
    door: "server",
    why: FORWARD_PROXY,
    tests: [
      "test/env-http-proxy-agent.js > defaults to non-tunneled HTTP proxying for HTTP endpoints - #5093",
      ...under("test/client.js", ["an absolute url as path", STAYS_OPEN]),
      ...under("test/proxy.js", [
        "connect through proxy",
        "connect through proxy with auth",
        "connect through proxy (with pool)",
        STAYS_OPEN,
      ]),
      ...under("test/proxy-agent.js", [
        "use proxy agent to connect through proxy using Pool",
        "use proxy-agent to connect through proxy using path with params",
        "use proxy-agent to connect through proxy with basic auth in URL",
        "use proxy-agent to connect through proxy with username-only auth in URL",
        "use proxy-agent to connect through proxy with username-only auth in URL without colon",
        "use proxy-agent with auth",
        "use proxy-agent with token",
        "use proxy-agent with custom headers",
        "use proxy-agent with setGlobalDispatcher",
        "ProxyAgent correctly sends headers when using fetch - #1355, #1623",
        "Proxy via HTTPS to HTTP endpoint forwards without tunneling by default",
        "Proxy via HTTP to HTTP endpoint with tunneling disabled",
        "ProxyAgent handles multiple concurrent HTTP requests via HTTP proxy",
        STAYS_OPEN,
      ]),
    ],
  },
  {
    suite: "undici",
    door: "fetch",
    why: OUT_OF_THE_MESH,
    tests: [
      "test/fetch/issue-4647.js > fetch with mode: no-cors does not hang",
      "test/fetch/redirect-cross-origin-header.js > Cross-origin redirects clear forbidden headers",
    ],
  },
  {
    suite: "undici",
    door: "fetch",
    why: FOREIGN_CLASSES,
    tests: [
      "test/fetch/headers-case.js > Headers retain keys case-sensitive",
      "test/fetch/issue-2828.js > issue #2828, dispatcher is allowed in RequestInit options",
      "test/node-fetch/main.js > node-fetch > should resolve into response",
    ],
  },
  {
    suite: "undici",
    door: "fetch",
    why: "two codings over each other are decoded at most: docs/guides/undici-and-fetch.md (fetch)",
    tests: [
      "test/node-fetch/main.js > node-fetch > should skip decompression if unsupported codings",
    ],
  },
  {
    suite: "undici",
    door: "fetch",
    why: "it reads the files of undici in the stack, which begins at the caller here: docs/decisions/0025-the-place-of-an-error.md",
    tests: [
      "test/fetch/client-error-stack-trace.js > FETCH: request errors and prints trimmed stack trace",
    ],
  },
  {
    suite: "undici",
    door: "fetch",
    why: "a reply that is not read holds its connection until it is collected, and a service has 128 of them: docs/guides/reading-replies.md",
    tests: under("test/fetch/fire-and-forget.js", [
      "does not need the body to be consumed to continue",
      STAYS_OPEN,
    ]),
  },
];
