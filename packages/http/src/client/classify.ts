/**
 * The one verdict about a reply: breaker, balancer, retries and metrics all read this word. A 4xx
 * is the endpoint's job done; a refusal for load is about load, not about health.
 */
import type { Outcome } from "@inmesh/core/spi";

export function classify(status: number, hasRetryAfter: boolean): Outcome {
  if (status < 500) return status === 429 ? "overloaded" : "success";
  return status === 503 && hasRetryAfter ? "overloaded" : "failure";
}

export function isCallerFault(status: number): boolean {
  return status >= 400 && status < 500 && status !== 429;
}

/** Doing it twice is the same as doing it once (RFC 9110 §9.2.2, and QUERY). */
export function isIdempotent(method: string): boolean {
  switch (method) {
    case "GET":
    case "HEAD":
    case "OPTIONS":
    case "TRACE":
    case "PUT":
    case "DELETE":
    case "QUERY":
      return true;
    default:
      return false;
  }
}
