/** The tail benchmark over gRPC: unary calls, and UNAVAILABLE from a server that fails. */
import {
  credentials,
  makeGenericClientConstructor,
  Server,
  ServerCredentials,
  status as Status,
  type Client,
  type sendUnaryData,
  type ServerUnaryCall,
} from "@grpc/grpc-js";
import { createMesh, meshGrpc } from "@inmesh/grpc";
import { BYTES } from "./grpc-service.ts";
import type { Answer, TailClient, TailLoad, TailServer } from "./tail-protocol.ts";

interface BytesClient extends Client {
  echo(message: Buffer, done: (error: Error | null, reply: Buffer) => void): void;
}

const Bytes = makeGenericClientConstructor(BYTES, "Bytes");
const message = Buffer.from("order 1");

export function open(load: TailLoad): TailClient {
  const { client, close } = load.client === "inmesh" ? meshed(load) : bare(load);
  return {
    call: () =>
      new Promise((resolve, reject) => {
        client.echo(message, (error, reply) => {
          if (error !== null) reject(error);
          else if (!message.equals(reply)) reject(new Error("another reply"));
          else resolve();
        });
      }),
    close,
  };
}

interface Opened {
  readonly client: BytesClient;
  close(): Promise<void>;
}

function addresses({ ports }: TailLoad): string[] {
  return ports.map((port) => `127.0.0.1:${port}`);
}

function meshed(load: TailLoad): Opened {
  const echo = { path: { type: "Exact", value: BYTES["echo"]!.path } } as const;
  const mesh = createMesh({
    env: {},
    config: {
      services: {
        bytes: {
          discovery: { static: addresses(load) },
          retry: { attempts: load.attempts },
          // What a GET says by itself.
          routes: [{ name: "echo", matches: [echo], idempotent: true }],
        },
      },
    },
  });
  const client = new Bytes(...meshGrpc("bytes", { mesh })) as unknown as BytesClient;
  return { client, close: () => mesh.close(0) };
}

/** grpc-js's own balancing. */
function bare(load: TailLoad): Opened {
  const client = new Bytes(`ipv4:${addresses(load).join(",")}`, credentials.createInsecure(), {
    "grpc.enable_channelz": 0,
    "grpc.service_config": JSON.stringify({ loadBalancingConfig: [{ [load.client]: {} }] }),
  }) as unknown as BytesClient;
  return { client, close: () => Promise.resolve(client.close()) };
}

export function serve(answer: Answer): Promise<TailServer> {
  const server = new Server({ "grpc.enable_channelz": 0 });
  server.addService(BYTES, {
    echo(call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>): void {
      answer((failed) => {
        if (failed) done({ code: Status.UNAVAILABLE, details: "failed" });
        else done(null, call.request);
      });
    },
    up: (_call: unknown, done: sendUnaryData<Buffer>) => done({ code: Status.UNIMPLEMENTED }),
    down: (call: { end(): void }) => call.end(),
  });
  return new Promise((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
      if (error !== null) return reject(error);
      resolve({ port, close: () => new Promise((closed) => server.tryShutdown(() => closed())) });
    });
  });
}
