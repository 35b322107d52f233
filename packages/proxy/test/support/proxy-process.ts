/** A proxy in a process of its own, in front of one service, `orders`; says its port, and follows orders (`ProxyChild`). */
import { createServer, type AddressInfo } from "node:net";
import { createMesh, type Mesh } from "@inmesh/core";
import { startProxy, type ListenerOptions, type SpokenProtocol } from "../../src/index.ts";

export interface Setup {
  /** Of the configuration. */
  readonly service: object;
  readonly spoken?: SpokenProtocol;
  readonly limits?: ListenerOptions["limits"];
}

export interface Order {
  /** Keeps so many thousand objects more. */
  readonly hold?: number;
  /** Lets go of them. */
  readonly free?: boolean;
  /** Blocks every turn of the event loop for so long, from now on; 0: no longer. */
  readonly busyMs?: number;
}

export interface Look {
  readonly refused: Readonly<Record<string, number>>;
  readonly readiness: string;
  readonly metrics: ReturnType<Mesh["metrics"]>;
  readonly state: string;
  /** By how much the wall clock has jumped at most between two looks of 10 ms. */
  readonly jumpedMs: number;
}

const { service, spoken = "http1", limits } = JSON.parse(process.argv[2]!) as Setup;
const mesh = createMesh({ env: {}, config: { services: { orders: service } } as object });
const proxy = startProxy({
  mesh,
  listeners: [{ name: "out", mode: "outbound", ...(limits && { limits }) }],
});
const listener = proxy.listeners[0]!;
const server = createServer({ allowHalfOpen: true }, (socket) =>
  listener.handle(socket, undefined, spoken),
);

let held: object[] = [];
let busyMs = 0;
const turn = (): void => {
  const endsAt = performance.now() + busyMs;
  while (performance.now() < endsAt);
  if (busyMs > 0) setImmediate(turn);
};
let jumpedMs = 0;
let seenAt = Date.now();
setInterval(() => {
  const now = Date.now();
  jumpedMs = Math.max(jumpedMs, Math.abs(now - seenAt));
  seenAt = now;
}, 10).unref();

process.on("message", (order: Order) => {
  for (let i = 0; i < 1_000 * (order.hold ?? 0); i++) {
    held.push({ i, text: `entry ${i}`, list: [i, i + 1, i + 2] });
  }
  if (order.free === true) held = [];
  if (order.busyMs !== undefined) {
    const begins = busyMs === 0 && order.busyMs > 0;
    busyMs = order.busyMs;
    if (begins) turn();
  }
  const look: Look = {
    refused: { ...listener.snapshot().refused },
    readiness: listener.readiness,
    metrics: mesh.metrics(),
    state: mesh.snapshot().services[0]?.endpoints[0]?.breaker.state ?? "none",
    jumpedMs,
  };
  process.send!(look);
});
process.on("disconnect", () => process.exit());
server.listen(0, "127.0.0.1", () => {
  process.send!({ port: (server.address() as AddressInfo).port });
});
