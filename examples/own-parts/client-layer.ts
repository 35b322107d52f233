/**
 * A client layer that gives each attempt of a call a header field of its own: which try it is, and when it
 * was sent. Run with `node --conditions=inmesh-source examples/own-parts/client-layer.ts`.
 */
import { createMesh, meshClient, meshServer, type MeshOptions } from "inmesh";

/** Below retry: it is called once for each attempt, and sees the attempt's end as well. */
function stampAttempts(write: (line: string) => void): NonNullable<MeshOptions["attemptLayers"]> {
  return [
    (inner) => async (attempt) => {
      const { number, kind, call } = attempt;
      // A field of this attempt alone. Over gRPC it is metadata.
      attempt.setHeader("x-attempt", `${number}; kind=${kind}; call=${call.service}`);
      try {
        return await inner(attempt);
      } finally {
        // The head of the reply is here, or there is none; balance has chosen an endpoint meanwhile.
        write(`attempt ${number} went to ${attempt.endpoint?.address}`);
      }
    },
  ];
}

let requests = 0;
const server = meshServer((request, response) => {
  response.statusCode = requests++ === 0 ? 503 : 200;
  response.end(request.headers["x-attempt"]);
});
const { port } = await server.listen(0, "127.0.0.1");

const mesh = createMesh({
  config: { services: { orders: { discovery: { static: [`127.0.0.1:${port}`] } } } },
  attemptLayers: stampAttempts((line) => process.stdout.write(`${line}\n`)),
});
const reply = await meshClient("orders", { mesh }).fetch("/v1/orders/42");
process.stdout.write(`the server got ${await reply.text()}\n`);
await mesh.close();
await server.close();
