/** The service of orders.proto, as a client and a server use it. With generated code this file is not needed. */
import { join } from "node:path";
import {
  loadPackageDefinition,
  type ChannelCredentials,
  type Client,
  type ClientOptions,
  type ClientReadableStream,
  type ClientUnaryCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type ServiceDefinition,
  type ServiceError,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

export interface OrderId {
  readonly id: string;
}

export interface Order {
  readonly id: string;
  readonly state: string;
  readonly by: string;
}

export interface OrdersClient extends Client {
  get(id: OrderId, done: (error: ServiceError | null, order?: Order) => void): ClientUnaryCall;
  watch(id: OrderId): ClientReadableStream<Order>;
}

export interface OrdersHandlers extends UntypedServiceImplementation {
  get: handleUnaryCall<OrderId, Order>;
  watch: handleServerStreamingCall<OrderId, Order>;
}

const { shop } = loadPackageDefinition(
  loadSync(join(import.meta.dirname, "orders.proto")),
) as unknown as {
  shop: {
    Orders: {
      new (address: string, credentials: ChannelCredentials, options?: ClientOptions): OrdersClient;
      service: ServiceDefinition<OrdersHandlers>;
    };
  };
};

export const Orders: typeof shop.Orders = shop.Orders;
