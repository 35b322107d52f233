/**
 * Limits of what is decoded, by `mesh.fetch` and for `meshClient`, because a few bytes can become gigabytes (faults.md H17):
 * how many codings are stacked, how large the body becomes, and how many times larger.
 */
import { MeshError } from "@inmesh/core/spi";
import type { ReadableStream } from "node:stream/web";

const MAX_CODINGS = 2;
export const MAX_DECODED_BYTES = 67_108_864;
export const MAX_RATIO = 100;
/** Small bodies may be as repetitive as they like. */
export const RATIO_FROM_BYTES = 1_048_576;

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
        const fault = checkDecoded(bytes, meter);
        if (fault !== undefined) throw fault;
        controller.enqueue(chunk);
      },
    }),
  );
}

/** The error of a body that has become too large; undefined: it has not. */
export function checkDecoded(
  bytes: number,
  meter: BodyMeter,
  where?: string,
): MeshError | undefined {
  if (bytes > MAX_DECODED_BYTES) {
    return tooMuch(`more than ${MAX_DECODED_BYTES} bytes once decoded`, where);
  }
  return bytes > RATIO_FROM_BYTES && bytes > MAX_RATIO * meter.encodedBytes
    ? tooMuch(`more than ${MAX_RATIO} times as large once decoded`, where)
    : undefined;
}

/** `where`: `orders → 10.0.0.7:8080`, where it is known. */
export function tooMuch(what: string, where?: string): MeshError {
  const begin = where === undefined ? "" : `${where}: `;
  return new MeshError({
    code: "bad_response",
    reason: "malformed_response",
    message: `${begin}the reply's body is not decoded: ${what}; ask for it without an accept-encoding, and read it as a stream`,
    progress: "maybe-processed",
  });
}
