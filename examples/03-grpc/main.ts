/**
 * Three order servers, and a client that reaches them through the mesh. One of them leaves
 * while calls run, and no call fails: `node --conditions=inmesh-source examples/03-grpc/main.ts`.
 */
import { once } from "node:events";
import { callInfo, createMesh, meshGrpc, meshGrpcServer } from "@inmesh/grpc";
import { Orders, type Order, type OrdersHandlers } from "./orders.ts";

const STATES = ["paid", "packed", "delivered"];

async function serve(by: string) {
  const handlers: OrdersHandlers = {
    get: ({ request: { id } }, done) => done(null, { id, state: "paid", by }),
    watch: (call) => {
      for (const state of STATES) call.write({ id: call.request.id, state, by });
      call.end();
    },
  };
  const orders = meshGrpcServer({ name: by, posture: "mesh", discoveryWaitMs: 0 });
  orders.server.addService(Orders.service, handlers);
  const port = await orders.listen("127.0.0.1:0");
  return { orders, address: `127.0.0.1:${port}` };
}

const servers = await Promise.all(["one", "two", "three"].map(serve));
const mesh = createMesh({
  config: {
    services: { orders: { discovery: { static: servers.map(({ address }) => address) } } },
  },
});

// The one line: where an address and credentials stood, the mesh stands.
const client = new Orders(...meshGrpc("orders", { mesh }));

const get = (id: string): Promise<Order> =>
  new Promise((resolve, reject) => {
    client.get({ id }, (error, order) => (error === null ? resolve(order!) : reject(error)));
  });

const CALLS = 300;
const answered = new Set<string>();
let left: Promise<void> | undefined;
for (let call = 0; call < CALLS; call++) {
  answered.add((await get(String(call))).by);
  if (call === 100) left = servers[0]!.orders.drain().then(() => {});
}
await left;
process.stdout.write(`${CALLS} calls, none failed; answered by ${[...answered].join(", ")}\n`);

const watching = client.watch({ id: "7" });
const ended = once(watching, "status") as Promise<[object]>;
const states: string[] = [];
for await (const order of watching) states.push((order as Order).state);
process.stdout.write(`order 7: ${states.join(", ")} (${callInfo((await ended)[0])!.why})\n`);

await mesh.close();
await Promise.all(servers.map(({ orders }) => orders.close()));
