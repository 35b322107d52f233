/** The ways under test: grpc-js alone, or in the mesh; on the client's side and on the server's. */
import { credentials, type ClientOptions, type Server } from "@grpc/grpc-js";
import { createMesh, meshGrpc, meshGrpcServer } from "@inmesh/grpc";
import type { ClientArguments } from "./testing.ts";

export interface Opened {
  /** For one client; a client that is closed takes its channel along. */
  args(): ClientArguments;
  close(): Promise<void>;
}

export interface Way {
  readonly name: string;
  /** How many servers it wants. */
  readonly servers: number;
  open(ports: readonly number[], options?: ClientOptions): Opened;
}

const BARE: Way = {
  name: "bare",
  servers: 1,
  open: ([port], options = {}) => ({
    args: () => [`127.0.0.1:${port}`, credentials.createInsecure(), options],
    close: async () => {},
  }),
};

/** The service `peer` of a mesh of its own, with every retry the mesh has. */
function meshed(ports: readonly number[], channelOptions: ClientOptions = {}): Opened {
  const mesh = createMesh({
    env: {},
    config: {
      services: {
        peer: {
          discovery: { static: ports.map((port) => `127.0.0.1:${port}`) },
          routes: [{ name: "all", idempotent: true }],
          retryBudget: { minPerSecond: 100 },
        },
      },
    },
  });
  return { args: () => meshGrpc("peer", { mesh, channelOptions }), close: () => mesh.close(0) };
}

export const CLIENT_WAYS: readonly Way[] = [
  BARE,
  { name: "mesh", servers: 1, open: meshed },
  { name: "mesh × 3", servers: 3, open: meshed },
];

export interface ServerWay {
  readonly name: string;
  /** May wrap the server before it listens. */
  readonly wrap: (server: Server) => void;
}

export const SERVER_WAYS: readonly ServerWay[] = [
  { name: "bare", wrap: () => {} },
  { name: "mesh", wrap: (server) => void meshGrpcServer(server) },
];

export function serverWay(name: string): ServerWay {
  const way = SERVER_WAYS.find((one) => one.name === name);
  if (way === undefined) throw new Error(`no way ${name}`);
  return way;
}
