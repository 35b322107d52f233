/** H12: bodies larger than memory should be, up into a handler that begins late, and down from one that is fast. */
import { Readable } from "node:stream";
import { meshServer } from "@inmesh/http";

const PIECE = Buffer.alloc(65_536, 7);
let produced = 0;
let received = 0;

function* source(pieces: number): Generator<Uint8Array> {
  for (produced = 0; produced < pieces; produced++) yield PIECE;
}

const server = meshServer((request, response) => {
  if (request.method === "GET") {
    Readable.from(source(Number(request.url!.slice(1)))).pipe(response);
    return;
  }
  received = 0;
  setTimeout(() => {
    request.on("data", (chunk: Buffer) => (received += chunk.length));
    request.on("end", () => response.end(String(received)));
  }, 500);
});
process.on("message", () => {
  process.send!({ rss: process.memoryUsage().rss, produced: produced * PIECE.length, received });
});
const { port } = await server.listen(0, "127.0.0.1");
process.send!({ port });
