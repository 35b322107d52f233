/** One client for each server and setting the conformance suite asks for, on the way under test. */
import { Client, compressionAlgorithms, credentials, type ClientOptions } from "@grpc/grpc-js";
import { createMesh, meshGrpc } from "@inmesh/grpc";
import type { ClientRequest } from "./messages.ts";

type Mesh = ReturnType<typeof createMesh>;

export interface Connections {
  clientFor(request: ClientRequest): Client;
  close(): Promise<void>;
}

const COMPRESSIONS: Readonly<Record<number, number>> = {
  2: compressionAlgorithms.gzip,
  5: compressionAlgorithms.deflate,
};

/** The suite's certificates are for this name. */
const SERVER_NAME = "localhost";

export function connections(way: string): Connections {
  const clients = new Map<string, Client>();
  const meshes: Mesh[] = [];
  const open = way === "bare" ? bare : meshed(meshes);
  return {
    clientFor(request) {
      const { host, port, compression, messageReceiveLimit, clientTlsCreds } = request;
      const key = [host, port, compression, messageReceiveLimit, clientTlsCreds !== null].join(" ");
      let client = clients.get(key);
      if (client === undefined) clients.set(key, (client = open(request, optionsOf(request))));
      return client;
    },
    async close() {
      for (const client of clients.values()) client.close();
      for (const mesh of meshes) await mesh.close(0);
    },
  };
}

function optionsOf({ compression, messageReceiveLimit }: ClientRequest): ClientOptions {
  const options: ClientOptions = {};
  const algorithm = COMPRESSIONS[compression];
  if (algorithm !== undefined) options["grpc.default_compression_algorithm"] = algorithm;
  if (messageReceiveLimit > 0) options["grpc.max_receive_message_length"] = messageReceiveLimit;
  return options;
}

function bare(request: ClientRequest, options: ClientOptions): Client {
  const { host, port, serverTlsCert, clientTlsCreds } = request;
  if (serverTlsCert.length === 0) {
    return new Client(`${host}:${port}`, credentials.createInsecure(), options);
  }
  const secure = credentials.createSsl(serverTlsCert, clientTlsCreds?.key, clientTlsCreds?.cert);
  // grpc-js says an IP address as the server's name, which Node 26 refuses.
  return new Client(`${host}:${port}`, secure, {
    ...options,
    "grpc.ssl_target_name_override": SERVER_NAME,
  });
}

function meshed(meshes: Mesh[]): (request: ClientRequest, options: ClientOptions) => Client {
  return ({ host, port, serverTlsCert, clientTlsCreds }, channelOptions) => {
    const secure = serverTlsCert.length > 0 && {
      scheme: "https" as const,
      tls: {
        ca: serverTlsCert.toString(),
        serverName: SERVER_NAME,
        ...(clientTlsCreds && {
          cert: clientTlsCreds.cert.toString(),
          key: clientTlsCreds.key.toString(),
        }),
      },
    };
    const mesh = createMesh({
      env: {},
      // The suite provokes failures of every kind; a breaker would answer the next case instead.
      config: {
        services: {
          peer: {
            discovery: { static: [`${host}:${port}`] },
            ...secure,
            breaker: { consecutiveFailures: 0, successRatio: 0 },
            // A call that has no deadline must not send one.
            timeouts: { request: "none" },
          },
        },
      },
    });
    meshes.push(mesh);
    return new Client(...meshGrpc("peer", { mesh, channelOptions }));
  };
}
