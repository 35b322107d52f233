/** A server that is announced under the name of its argument, where INMESH_REGISTRY says; it says when it listens. */
import { meshServer } from "@inmesh/http";

const server = meshServer((_request, response) => response.end(String(process.pid)), {
  name: process.argv[2]!,
});
await server.listen(0, "127.0.0.1");
process.send!(Date.now());
// Until it is killed.
process.on("disconnect", () => process.exit());
