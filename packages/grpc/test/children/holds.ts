/** A gRPC server whose handler holds the thread for as many milliseconds as `count` says; tells what it did. */
import { meshGrpcServer } from "@inmesh/grpc";
import { Orders, type OrdersHandlers } from "../support/orders.ts";

const log: unknown[] = [];
let busyMs = 0;
const server = meshGrpcServer({
  name: "orders",
  limits: { maxLoopDelayMs: Number(process.argv[2]) },
  log: (line) => void log.push(line),
});
const handlers: Partial<OrdersHandlers> = {
  get: (call, done) => {
    const begunAt = performance.now();
    while (performance.now() < begunAt + (call.request.count ?? 0));
    busyMs += performance.now() - begunAt;
    done(null, {});
  },
};
server.server.addService(Orders.service, handlers as OrdersHandlers);
process.on("message", () => process.send!({ log, busyMs, snapshot: server.snapshot() }));
process.on("disconnect", () => process.exit());
process.send!({ port: await server.listen("127.0.0.1:0") });
