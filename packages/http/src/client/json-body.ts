/** The option `json` of a call: one text, so that it can be sent again for a further attempt. */
import { MeshError } from "@inmesh/core/spi";
import { badInput, shown } from "./call-input.ts";
import type { FetchInit } from "./call-options.ts";

/** Throws a MeshError (`bad_request`) for what JSON cannot hold, and for options that contradict it. */
export function jsonBody(service: string, init: FetchInit): string {
  const { json, body, method } = init;
  if (body !== undefined && body !== null) {
    throw badInput(service, "bad_option", "json and body exclude each other: give one of them");
  }
  if (method === undefined) {
    const what = 'a call with json needs its method, such as method: "POST"';
    throw badInput(service, "bad_option", what);
  }
  let text: string | undefined;
  try {
    // What it gives for a function or a symbol is undefined, whatever its type says.
    text = JSON.stringify(json) as string | undefined;
  } catch (cause) {
    throw new MeshError({
      code: "bad_request",
      reason: "bad_body",
      message: `${service}: json cannot be written: ${cause instanceof Error ? cause.message.split("\n", 1)[0]! : String(cause)}`,
      progress: "not-sent",
      cause,
    });
  }
  if (text !== undefined) return text;
  throw badInput(service, "bad_body", `json must be what JSON can hold, got ${shown(json)}`);
}
