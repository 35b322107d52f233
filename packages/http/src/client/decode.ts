/**
 * Bodies of replies that have a content-encoding, decoded under the limits of `mesh.fetch`. A coding that is not
 * known leaves the body as it was received, as fetch does.
 */
import { pipeline, type Readable, Transform } from "node:stream";
import type * as Zlib from "node:zlib";
import { MeshError } from "@inmesh/core/spi";
import {
  BodyMeter,
  checkCodings,
  checkDecoded,
  MAX_DECODED_BYTES,
  MAX_RATIO,
  RATIO_FROM_BYTES,
  tooMuch,
} from "../doors/decoding.ts";

/** What a client with `decompress` asks for. */
export const ACCEPTED_CODINGS = "gzip, br";

type Coding = "gzip" | "deflate" | "br";

/** In the order in which they are undone; undefined: not all of them are known, or there is none. */
function codingsOf(header: string | string[]): Coding[] | undefined {
  checkCodings(header);
  const codings: Coding[] = [];
  for (const part of (Array.isArray(header) ? header.join() : header).split(",")) {
    const coding = part.trim().toLowerCase();
    if (coding === "gzip" || coding === "x-gzip") codings.unshift("gzip");
    else if (coding === "deflate" || coding === "br") codings.unshift(coding);
    else if (coding !== "identity" && coding !== "") return undefined;
  }
  return codings.length === 0 ? undefined : codings;
}

/** `where`: `orders → 10.0.0.7:8080`. Rejects with a MeshError (`bad_response`). */
export async function decodedBytes(
  body: Buffer,
  header: string | string[],
  where: string,
): Promise<Buffer> {
  const codings = codingsOf(header);
  // Replies to HEAD and without content say how they would be encoded, and have nothing.
  if (codings === undefined || body.length === 0) return body;
  const maxOutputLength = Math.min(
    MAX_DECODED_BYTES,
    Math.max(RATIO_FROM_BYTES, MAX_RATIO * body.length),
  );
  let decoded = body;
  for (const coding of codings) decoded = await decodeOnce(decoded, coding, maxOutputLength, where);
  return decoded;
}

function decodeOnce(
  body: Buffer,
  coding: Coding,
  maxOutputLength: number,
  where: string,
): Promise<Buffer> {
  const zlib = load();
  return new Promise((resolve, reject) => {
    const done = (error: (Error & { code?: string }) | null, result: Buffer): void => {
      if (error === null) resolve(result);
      else if (error.code === "ERR_BUFFER_TOO_LARGE") {
        reject(tooMuch(`more than ${maxOutputLength} bytes once decoded`, where));
      } else reject(invalid(coding, error, where));
    };
    if (coding === "gzip") zlib.gunzip(body, { maxOutputLength }, done);
    else if (coding === "br") zlib.brotliDecompress(body, { maxOutputLength }, done);
    else if (isWrapped(body)) zlib.inflate(body, { maxOutputLength }, done);
    else zlib.inflateRaw(body, { maxOutputLength }, done);
  });
}

/** The same for a stream: it ends with an error at a limit. Destroying it ends the request. */
export function decodedStream(body: Readable, header: string | string[], where: string): Readable {
  const codings = codingsOf(header);
  if (codings === undefined) return body;
  const zlib = load();
  const meter = new BodyMeter();
  const stages: Transform[] = [
    new Transform({
      transform(chunk: Buffer, _encoding, callback) {
        meter.encodedBytes += chunk.length;
        callback(null, chunk);
      },
    }),
  ];
  for (const coding of codings) {
    stages.push(
      coding === "gzip"
        ? zlib.createGunzip()
        : coding === "br"
          ? zlib.createBrotliDecompress()
          : zlib.createInflate(),
    );
  }
  let bytes = 0;
  const last = new Transform({
    transform(chunk: Buffer, _encoding, callback) {
      bytes += chunk.length;
      const fault = checkDecoded(bytes, meter, where);
      callback(fault ?? null, chunk);
    },
    destroy(error, callback) {
      const foreign = error !== null && (error as { code?: unknown }).code !== undefined;
      callback(
        foreign && !(error instanceof MeshError) ? invalid(codings[0]!, error, where) : error,
      );
    },
  });
  const begin = (): void => {
    const first: unknown = body.read();
    // A reply without content says how it would be encoded; a decoder would miss its end.
    if (first === null) return void last.end();
    body.unshift(first);
    // Its errors arrive at the last stage, where the reader is.
    pipeline([body, ...stages, last], () => {});
  };
  body.once("readable", begin);
  body.once("error", (error) => last.destroy(error));
  last.once("close", () => body.destroy());
  return last;
}

/** Some servers send deflate without the wrapper that HTTP asks for (RFC 9110 §8.4.1.2). */
function isWrapped(body: Buffer): boolean {
  return (body[0]! & 0x0f) === 8;
}

function invalid(coding: Coding, cause: Error, where: string): MeshError {
  return new MeshError({
    code: "bad_response",
    reason: "malformed_response",
    message: `${where}: the reply's body is not the ${coding} that its content-encoding says (${cause.message}): correct the server, or a proxy that has cut or changed the body`,
    progress: "maybe-processed",
    cause,
  });
}

function load(): typeof Zlib {
  return process.getBuiltinModule("node:zlib");
}
