/** C16: a server whose process may have few descriptors; prints its port. `full`: ten of them are left. */
import { closeSync, openSync } from "node:fs";
import { meshServer } from "@inmesh/http";

const server = meshServer((_request, response) => {
  response.end(JSON.stringify(server.snapshot().refused));
});
const { port } = await server.listen(0, "127.0.0.1");
if (process.argv[2] === "full") {
  const taken: number[] = [];
  try {
    for (;;) taken.push(openSync("/dev/null", "r"));
  } catch {
    for (const one of taken.splice(-10)) closeSync(one);
  }
}
process.stdout.write(`${port}\n`);
