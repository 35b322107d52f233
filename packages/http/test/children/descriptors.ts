/** C16: a server whose process may have few descriptors; prints its port. */
import { meshServer } from "@inmesh/http";

const server = meshServer((_request, response) => void response.end("ok"));
const { port } = await server.listen(0, "127.0.0.1");
process.stdout.write(`${port}\n`);
