/**
 * Limits of what `mesh.fetch` decodes, because a few bytes can become gigabytes (faults.md H17):
 * how many codings are stacked, how large the body becomes, and how many times larger.
 */
import { MeshError } from "@inmesh/core/spi";
import type { ReadableStream } from "node:stream/web";

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

/** The same body; it ends with an error at a limit. */
export function limited(body: ReadableStream, meter: BodyMeter): ReadableStream<Uint8Array> {
  let bytes = 0;
  return body.pipeThrough(
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
}

function tooMuch(what: string): MeshError {
  return new MeshError({
    code: "bad_response",
    reason: "malformed_response",
    message: `the reply's body is not decoded: ${what}`,
    progress: "maybe-processed",
  });
}
