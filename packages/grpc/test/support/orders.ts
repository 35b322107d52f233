/** The service of these tests, without generated code: what proto-loader makes of orders.proto. */
import { join } from "node:path";
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

export interface Order {
  readonly id?: string;
  readonly count?: number;
  readonly blob?: Buffer;
}

type Callback = (error: grpc.ServiceError | null, order?: Order) => void;

export interface OrdersClient extends grpc.Client {
  get(order: Order, callback: Callback): grpc.ClientUnaryCall;
  get(order: Order, metadata: grpc.Metadata, callback: Callback): grpc.ClientUnaryCall;
  get(
    order: Order,
    metadata: grpc.Metadata,
    options: grpc.CallOptions,
    callback: Callback,
  ): grpc.ClientUnaryCall;
  add(callback: Callback): grpc.ClientWritableStream<Order>;
  add(
    metadata: grpc.Metadata,
    options: grpc.CallOptions,
    callback: Callback,
  ): grpc.ClientWritableStream<Order>;
  list(
    order: Order,
    metadata?: grpc.Metadata,
    options?: grpc.CallOptions,
  ): grpc.ClientReadableStream<Order>;
  chat(metadata?: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientDuplexStream<Order, Order>;
}

export interface OrdersHandlers extends grpc.UntypedServiceImplementation {
  get: grpc.handleUnaryCall<Order, Order>;
  add: grpc.handleClientStreamingCall<Order, Order>;
  list: grpc.handleServerStreamingCall<Order, Order>;
  chat: grpc.handleBidiStreamingCall<Order, Order>;
}

const loaded = grpc.loadPackageDefinition(loadSync(join(import.meta.dirname, "orders.proto"))) as {
  shop: { Orders: grpc.ServiceClientConstructor };
};

export const Orders = loaded.shop.Orders as unknown as {
  new (
    address: string,
    credentials: grpc.ChannelCredentials,
    options?: grpc.ClientOptions,
  ): OrdersClient;
  service: grpc.ServiceDefinition;
};

/** A server that says which one it is. */
export class OrdersServer {
  readonly server: grpc.Server;
  readonly name: string;
  calls = 0;
  /** Calls whose client went away. */
  cancelled = 0;
  lastMetadata: grpc.Metadata | undefined = undefined;
  /** Milliseconds the last call had left when it came; Infinity without a deadline. */
  lastTimeoutMs = Infinity;
  port = 0;

  constructor(
    name: string,
    handlers: Partial<OrdersHandlers> = {},
    server: grpc.Server = new grpc.Server(),
  ) {
    this.name = name;
    this.server = server;
    const every = { ...this.#handlers(), ...handlers } as OrdersHandlers;
    const counted = Object.fromEntries(
      Object.entries(every).map(([method, handler]) => [method, this.#counted(handler as never)]),
    );
    this.server.addService(Orders.service, counted as unknown as OrdersHandlers);
  }

  async listen(
    port = 0,
    credentials: grpc.ServerCredentials = grpc.ServerCredentials.createInsecure(),
  ): Promise<this> {
    this.port = await new Promise<number>((resolve, reject) => {
      this.server.bindAsync(`127.0.0.1:${port}`, credentials, (error, bound) => {
        if (error === null) resolve(bound);
        else reject(error);
      });
    });
    return this;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Resolves when the last stream has ended. */
  drain(): Promise<void> {
    return new Promise((resolve) => {
      this.server.tryShutdown(() => resolve());
    });
  }

  stop(): void {
    this.server.forceShutdown();
  }

  #counted(handler: (call: never, callback: never) => void) {
    return (call: grpc.ServerUnaryCall<Order, Order>, callback: never): void => {
      this.calls++;
      this.lastMetadata = call.metadata;
      this.lastTimeoutMs = Number(call.getDeadline()) - Date.now();
      const cancelled = (): void => void this.cancelled++;
      // A client that leaves at once may be gone before the handler runs.
      if (call.cancelled) cancelled();
      else call.on("cancelled", cancelled);
      handler(call as never, callback);
    };
  }

  #handlers(): OrdersHandlers {
    const { name } = this;
    return {
      get: (call, callback) => callback(null, { id: name, count: (call.request.count ?? 0) + 1 }),
      add: (call, callback) => {
        let count = 0;
        call.on("data", () => count++);
        call.on("end", () => callback(null, { id: name, count }));
      },
      list: (call) => {
        for (let count = 0; count < (call.request.count ?? 0); count++) {
          call.write({ id: name, count });
        }
        call.end();
      },
      chat: (call) => {
        call.on("data", (order: Order) => call.write(order));
        call.on("end", () => call.end());
      },
    };
  }
}
