/** C16: a gRPC server whose process may have few descriptors; prints its port. `full`: ten of them are left. */
import { meshGrpcServer } from "@inmesh/grpc";
import { takeDescriptors } from "../../../http/test/children/take-descriptors.ts";
import { Orders, type OrdersHandlers } from "../support/orders.ts";

const server = meshGrpcServer({ limits: { maxLoopDelayMs: Infinity } });
const handlers: Partial<OrdersHandlers> = {
  get: (_call, done) => done(null, { count: server.snapshot().refused.connections ?? 0 }),
};
server.server.addService(Orders.service, handlers as OrdersHandlers);
const port = await server.listen("127.0.0.1:0");
if (process.argv[2] === "full") takeDescriptors();
process.stdout.write(`${port}\n`);
