/** A server that costs as little as one in Node can: 1 KB for everything that ends a head. Ends with its parent. */
import { createServer, type AddressInfo } from "node:net";

const body = "x".repeat(1_024);
const reply = Buffer.from(
  `HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
);
const server = createServer({ noDelay: true }, (socket) => {
  let open = 0;
  socket.on("error", () => {});
  socket.on("data", (chunk) => {
    // Heads come whole, or in two pieces of which the second has the end.
    for (let at = chunk.indexOf("\r\n\r\n"); at >= 0; at = chunk.indexOf("\r\n\r\n", at + 4))
      open++;
    while (open > 0) {
      open--;
      socket.write(reply);
    }
  });
});
server.listen({ port: 0, host: "127.0.0.1", backlog: 2_048 }, () => {
  process.send!({ port: (server.address() as AddressInfo).port });
});
process.on("disconnect", () => process.exit());
