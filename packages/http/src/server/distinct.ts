/**
 * `headersDistinct` and `trailersDistinct` of a request whose raw fields are no longer those that Node
 * has read: Node would build them from as many raw fields as came.
 */
import type { IncomingMessage } from "node:http";

type Name = "headersDistinct" | "trailersDistinct";
type Distinct = Record<string, string[]>;

/** What was built or set, by the request. */
const BUILT = {
  headersDistinct: Symbol("inmesh.headersDistinct"),
  trailersDistinct: Symbol("inmesh.trailersDistinct"),
} as const;
type Built = IncomingMessage & Record<symbol, unknown>;

/** One pair of functions for all requests: with a pair each, V8 would give each request a shape of its own. */
const PROPERTIES = {
  headersDistinct: property("headersDistinct", (request) => request.rawHeaders),
  trailersDistinct: property("trailersDistinct", (request) => request.rawTrailers),
} as const;

/** It is built from the raw fields when asked for; and can be set, as Node's can. */
export function defineDistinct(request: IncomingMessage, name: Name): void {
  Object.defineProperty(request, name, PROPERTIES[name]);
}

function property(name: Name, rawOf: (request: Built) => readonly string[]): PropertyDescriptor {
  const built = BUILT[name];
  return {
    configurable: true,
    enumerable: false,
    get(this: Built): unknown {
      return (this[built] ??= distinctOf(rawOf(this)));
    },
    set(this: Built, value: unknown): void {
      this[built] = value;
    },
  };
}

function distinctOf(raw: readonly string[]): Distinct {
  const distinct = Object.create(null) as Distinct;
  for (let i = 0; i < raw.length; i += 2) {
    (distinct[raw[i]!.toLowerCase()] ??= []).push(raw[i + 1]!);
  }
  return distinct;
}
