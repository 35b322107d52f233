/** Servers, a mesh and a client for one test, and their end. */
import { Metadata, type CallOptions, type ClientUnaryCall } from "@grpc/grpc-js";
import type { Mesh, ServiceInput } from "@inmesh/core";
import { createMesh, meshGrpc, type GrpcOptions } from "@inmesh/grpc";
import {
  Orders,
  OrdersServer,
  type Order,
  type OrdersClient,
  type OrdersHandlers,
} from "./orders.ts";

export interface Bench {
  readonly mesh: Mesh;
  readonly client: OrdersClient;
  readonly servers: readonly OrdersServer[];
  close(): Promise<void>;
}

/** `handlers` for each server; one server without any. */
export async function open(
  handlers: Partial<OrdersHandlers> | readonly Partial<OrdersHandlers>[] = {},
  service: ServiceInput = {},
  options: GrpcOptions = {},
): Promise<Bench> {
  const each = Array.isArray(handlers) ? (handlers as Partial<OrdersHandlers>[]) : [handlers];
  const servers = await Promise.all(
    each.map((own, i) =>
      new OrdersServer(String.fromCharCode(97 + i), own as Partial<OrdersHandlers>).listen(),
    ),
  );
  const mesh = createMesh({
    env: {},
    config: {
      services: {
        orders: { discovery: { static: servers.map(({ address }) => address) }, ...service },
      },
    },
  });
  const client = new Orders(...meshGrpc("orders", { ...options, mesh }));
  return {
    mesh,
    client,
    servers,
    async close() {
      client.close();
      await mesh.close(0);
      for (const server of servers) server.stop();
    },
  };
}

export function get(
  client: OrdersClient,
  order: Order,
  options: CallOptions = {},
  metadata: Metadata = new Metadata(),
  began: (call: ClientUnaryCall) => void = () => {},
): Promise<Order> {
  return new Promise((resolve, reject) => {
    const call = client.get(order, metadata, options, (error, reply) => {
      if (error === null) resolve(reply!);
      else reject(error);
    });
    began(call);
  });
}

/** What the mesh has counted, by a few labels. */
export function counted(mesh: Mesh, name: string, labels: Record<string, string> = {}): number {
  let sum = 0;
  for (const series of mesh.metrics()) {
    if (series.name !== name || !("value" in series)) continue;
    if (Object.entries(labels).every(([key, value]) => series.labels[key] === value)) {
      sum += series.value;
    }
  }
  return sum;
}
