/** Replies of a gRPC server in frames, for byte-exact peers. */
import { data, head, type H2Connection } from "../../../http/test/support/h2-peer.ts";
import { framed } from "./scripted-server.ts";

export const REPLY_HEAD = { ":status": "200", "content-type": "application/grpc" } as const;
/** `{ id: "x" }`, with its prefix. */
export const X_ORDER: Buffer = framed(Buffer.from([10, 1, 120]));

/** A whole reply to a unary call. */
export function ok(id: number): Buffer {
  return Buffer.concat([
    head(id, REPLY_HEAD),
    data(id, X_ORDER),
    head(id, { "grpc-status": "0" }, true),
  ]);
}

export async function answerAll(connection: H2Connection): Promise<void> {
  for (;;) await connection.write(ok(await connection.request()));
}
