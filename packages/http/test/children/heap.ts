/** A server that holds on to what `/hold` makes until a message asks it to let go of it. */
import { meshServer } from "@inmesh/http";

let held: object[] = [];
const server = meshServer(
  (request, response) => {
    if (request.url === "/hold") {
      for (let i = 0; i < 1_000; i++) held.push({ i, text: `entry ${i}`, list: [i, i + 1, i + 2] });
    }
    response.end("ok");
  },
  { limits: { maxLoopDelayMs: Infinity } },
);
process.on("message", (message) => {
  if (message === "free") held = [];
  process.send!({ refused: server.snapshot().refused });
});
const { port } = await server.listen(0, "127.0.0.1");
process.send!({ port });
