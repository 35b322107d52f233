/**
 * Limits of what `mesh.fetch` decodes, because a few bytes can become gigabytes (faults.md H17):
 * how many codings are stacked, how large the body becomes, and how many times larger.
 */
import { MeshError } from "@inmesh/core/spi";
import type { Response } from "undici";

const MAX_CODINGS = 2;
export const MAX_DECODED_BYTES = 67_108_864;
const MAX_RATIO = 100;
/** Small bodies may be as repetitive as they like. */
const RATIO_FROM_BYTES = 1_048_576;

/** Bytes of the reply's body before they are decoded. */
export class BodyMeter {
  encodedBytes = 0;
}

/** Throws a MeshError if there are too many. */
export function checkCodings(header: string | string[] | undefined): void {
  if (header === undefined) return;
  const codings = (Array.isArray(header) ? header.join() : header).split(",");
  if (codings.length > MAX_CODINGS) {
    throw tooMuch(`${codings.length} codings over each other, at most ${MAX_CODINGS} are decoded`);
  }
}

/** The same reply; its body ends with an error at a limit. */
export function limited(reply: Response, meter: BodyMeter): Response {
  let bytes = 0;
  const body = reply.body!.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        bytes += chunk.length;
        if (bytes > MAX_DECODED_BYTES) {
          throw tooMuch(`more than ${MAX_DECODED_BYTES} bytes once decoded`);
        }
        if (bytes > RATIO_FROM_BYTES && bytes > MAX_RATIO * meter.encodedBytes) {
          throw tooMuch(`more than ${MAX_RATIO} times as large once decoded`);
        }
        controller.enqueue(chunk);
      },
    }),
  );
  const Reply = reply.constructor as typeof Response;
  const { status, statusText, headers } = reply;
  // A constructor takes fewer statuses than a server may send.
  const accepted = status >= 200 && status <= 599 ? status : 200;
  return described(new Reply(body, { status: accepted, statusText, headers }), reply);
}

/** What only fetch can give to a Response, and `clone` does not take along. */
function described(copy: Response, { status, ok, url, redirected, type }: Response): Response {
  const plainClone = copy.clone.bind(copy);
  const clone = (): Response => described(plainClone(), copy);
  return Object.defineProperties(copy, {
    status: { value: status },
    ok: { value: ok },
    url: { value: url },
    redirected: { value: redirected },
    type: { value: type },
    clone: { value: clone },
  });
}

function tooMuch(what: string): MeshError {
  return new MeshError({
    code: "bad_response",
    reason: "malformed_response",
    message: `the reply's body is not decoded: ${what}`,
    progress: "maybe-processed",
  });
}
