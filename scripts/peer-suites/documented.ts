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
];
