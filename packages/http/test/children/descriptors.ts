/** C16: a server whose process may have few descriptors; prints its port. `full`: ten of them are left. */
import { meshServer } from "@inmesh/http";
import { takeDescriptors } from "./take-descriptors.ts";

const server = meshServer((_request, response) => {
  response.end(JSON.stringify(server.snapshot().refused));
});
const { port } = await server.listen(0, "127.0.0.1");
if (process.argv[2] === "full") takeDescriptors();
process.stdout.write(`${port}\n`);
