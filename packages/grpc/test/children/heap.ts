/** A gRPC server that holds on to what its calls make until a message asks it to let go of it. */
import { meshGrpcServer } from "@inmesh/grpc";
import { Orders, type OrdersHandlers } from "../support/orders.ts";

let held: object[] = [];
const server = meshGrpcServer({ limits: { maxLoopDelayMs: Infinity } });
const handlers: Partial<OrdersHandlers> = {
  get: (call, done) => {
    for (let i = 0; i < (call.request.count ?? 0); i++) {
      held.push({ i, text: `entry ${i}`, list: [i, i + 1, i + 2] });
    }
    done(null, {});
  },
};
server.server.addService(Orders.service, handlers as OrdersHandlers);
process.on("message", (message) => {
  if (message === "free") held = [];
  process.send!({ refused: server.snapshot().refused });
});
process.send!({ port: await server.listen("127.0.0.1:0") });
