/**
 * The client's half of gRPC's interoperability cases: names, sizes and what must hold are those of
 * grpc/doc/interop-test-descriptions.md.
 *
 * Not here: cases that need credentials of a cloud; `cacheable_unary`, because grpc-js never sends
 * GET; `server_compressed_*`, because the Go server does not compress (Connect's suite covers it).
 */
import type { Cases } from "./common.ts";
import { COMPRESSED_CASES } from "./compressed.ts";
import { ORCA_CASES } from "./orca.ts";
import { STREAM_CASES } from "./stream.ts";
import { UNARY_CASES } from "./unary.ts";

export const CASES: Cases = {
  ...UNARY_CASES,
  ...STREAM_CASES,
  ...COMPRESSED_CASES,
  ...ORCA_CASES,
};

/** A report of load belongs to one server; the two calls of this case must meet at it. */
export const ONE_SERVER: ReadonlySet<string> = new Set(["orca_oob"]);
