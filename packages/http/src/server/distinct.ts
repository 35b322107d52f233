/**
 * `headersDistinct` and `trailersDistinct` of a request whose raw fields are no longer those that Node
 * has read: Node would build them from as many raw fields as came.
 */
import type { IncomingMessage } from "node:http";

type Distinct = Record<string, string[]>;

/** They are built from `raw`, names and values in turn, when asked for; and can be set, as Node's can. */
export function defineDistinct(
  request: IncomingMessage,
  name: "headersDistinct" | "trailersDistinct",
  raw: readonly string[],
): void {
  let built: unknown;
  Object.defineProperty(request, name, {
    configurable: true,
    enumerable: false,
    get: () => (built ??= distinctOf(raw)),
    set: (value: unknown) => (built = value),
  });
}

function distinctOf(raw: readonly string[]): Distinct {
  const distinct = Object.create(null) as Distinct;
  for (let i = 0; i < raw.length; i += 2) {
    (distinct[raw[i]!.toLowerCase()] ??= []).push(raw[i + 1]!);
  }
  return distinct;
}
