/**
 * Tests of others that fail through a door on purpose, each with the reason and where it is documented.
 * The table of `npm run peers:suites` counts them apart; what fails and does not stand here is a defect.
 */
import type { Door } from "./suites.ts";

export interface Documented {
  readonly suite: string;
  readonly door: Door;
  /** Matches `file > name of the test`. */
  readonly test: RegExp;
  readonly why: string;
}

const OTHER_HOST =
  "another `Host` than the service's is refused: docs/guides/undici-and-fetch.md (node:http, axios and got)";
const OWN_LOOKUP =
  "endpoints come from discovery, a request's own `lookup` has no effect: docs/reference/limits.md (at mesh.agent())";

export const DOCUMENTED: readonly Documented[] = [
  {
    suite: "fastify",
    door: "server",
    test: /Host header is empty/,
    why: "a request without a host is refused with 400: docs/reference/headers.md",
  },
  {
    suite: "fastify",
    door: "server",
    test: /route-shorthand/,
    why: "it tries TRACE, which is refused with 405: docs/reference/headers.md",
  },
  {
    suite: "express",
    door: "server",
    test: /TRACE/,
    why: "TRACE is refused with 405: docs/reference/headers.md",
  },
  {
    suite: "express",
    door: "server",
    test: /res\.redirect\.js .*(escape the url|evil javascript|encode the url)/,
    why: "its requests have a URL as their Host, which is refused with 400: docs/reference/headers.md",
  },
  {
    suite: "fastify",
    door: "server",
    test: /Host header is missing and http.requireHostHeader = false/,
    why: "a request without a host is refused with 400: docs/reference/headers.md",
  },
  {
    suite: "fastify",
    door: "fetch",
    test: /hooks-async|request-error|route-hooks|url-rewriting/,
    why: "its tests count requests, and a reply of 500 to a GET is tried again: docs/reference/config.md (retry)",
  },
  {
    suite: "node-fetch",
    door: "agent",
    test: /should accept custom (host|HoSt) header/,
    why: OTHER_HOST,
  },
  {
    suite: "axios",
    door: "agent",
    test: /prox(y|ies)/i,
    why: `${OTHER_HOST}; a proxy is no service: docs/guides/migrating.md (\`proxy: false\`)`,
  },
  {
    suite: "axios",
    door: "server",
    test: /prox(y|ies)|no_proxy/i,
    why: "its proxies read an absolute target, which reaches a handler as a path: docs/reference/headers.md",
  },
  { suite: "axios", door: "agent", test: /custom DNS lookup function/, why: OWN_LOOKUP },
  {
    suite: "got",
    door: "agent",
    test: /redirect|copyPipedHeaders does not forward host/,
    why: `${OTHER_HOST}; certificates are those of the service`,
  },
  {
    suite: "got",
    door: "agent",
    test: /lookup timeout|ClientRequest can throw before|DNS IPv6/,
    why: OWN_LOOKUP,
  },
  {
    suite: "got",
    door: "agent",
    test: /https\.ts/,
    why: "certificates and TLS versions are those of the service, not of the request: docs/reference/limits.md (at mesh.agent())",
  },
];
