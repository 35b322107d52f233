/** A server with our half around it, and grpc-js's own client of it: what others see of us. */
import {
  credentials,
  InterceptingCall,
  Metadata,
  type CallOptions,
  type ClientOptions,
  type ClientUnaryCall,
  type ServiceError,
} from "@grpc/grpc-js";
import { meshGrpcServer, type GrpcServerOptions, type MeshGrpcServer } from "@inmesh/grpc";
import { onTestFinished } from "vitest";
import {
  Orders,
  OrdersServer,
  type Order,
  type OrdersClient,
  type OrdersHandlers,
} from "./orders.ts";

export interface Served {
  readonly orders: OrdersServer;
  readonly server: MeshGrpcServer;
  readonly client: OrdersClient;
  close(): Promise<void>;
}

/** Since grpc-js 1.14; without it `callInfo(call)` knows nothing, only that of a status or an error does. */
export const HAS_AUTH_CONTEXT: boolean =
  typeof (InterceptingCall.prototype as Partial<InterceptingCall>).getAuthContext === "function";

export async function serve(
  handlers: Partial<OrdersHandlers> = {},
  options: GrpcServerOptions = {},
  clientOptions: ClientOptions = {},
): Promise<Served> {
  // Tests run on machines that are busy with other things: only who asks for it is shed for delays.
  const limits = { maxLoopDelayMs: Infinity, ...options.limits };
  const orders = new OrdersServer("a", handlers);
  const server = meshGrpcServer(orders.server, { ...options, limits });
  await orders.listen();
  const client = bareClient(orders.address, clientOptions);
  return {
    orders,
    server,
    client,
    async close() {
      client.close();
      await server.close(0);
    },
  };
}

/** The same, until the end of the test. */
export async function served(...given: Parameters<typeof serve>): Promise<Served> {
  const one = await serve(...given);
  onTestFinished(() => one.close());
  return one;
}

/** With nothing that tries again by itself. */
export function bareClient(address: string, options: ClientOptions = {}): OrdersClient {
  return new Orders(address, credentials.createInsecure(), {
    "grpc.enable_retries": 0,
    "grpc.use_local_subchannel_pool": 1,
    ...options,
  });
}

export interface Answer {
  readonly order: Order | undefined;
  readonly error: ServiceError | null;
}

/** One unary call, with what it was answered. */
export function ask(
  client: OrdersClient,
  said: Record<string, string> = {},
  options: CallOptions = {},
  order: Order = {},
  began: (call: ClientUnaryCall) => void = () => {},
): Promise<Answer> {
  return new Promise((resolve) => {
    began(
      client.get(order, metadataOf(said), options, (error, reply) =>
        resolve({ error, order: reply }),
      ),
    );
  });
}

export function metadataOf(said: Record<string, string>): Metadata {
  const metadata = new Metadata();
  for (const [key, value] of Object.entries(said)) metadata.set(key, value);
  return metadata;
}
