/**
 * The public way into a server that is given: our interceptor goes in with the credentials of each
 * address that is bound, before those of the server itself. grpc-js has no public list of a server's
 * interceptors, so this is how it goes where that list cannot be reached (internals.ts). What is bound
 * already is out of reach, and is refused: its calls would pass by the mesh. What was being bound when the
 * server was given is found when it listens (`redirectEarlier`).
 */
import { tracingChannel } from "node:diagnostics_channel";
import type { Socket } from "node:net";
import {
  experimental,
  ServerCredentials,
  type Server,
  type ServerInterceptor,
} from "@grpc/grpc-js";

import type { Http2Server } from "../internals.ts";
import { isBoundByMesh } from "./bound-servers.ts";

const { createServerCredentialsWithInterceptors: withInterceptors } = experimental;

export function interceptByCredentials(server: Server, interceptor: ServerInterceptor): void {
  if (isBound(server)) {
    throw new TypeError(
      "meshGrpcServer: with this version of @grpc/grpc-js, a server must be given to meshGrpcServer before its address is bound",
    );
  }
  const bindAsync = server.bindAsync.bind(server);
  server.bindAsync = (address, credentials, done) =>
    bindAsync(address, withOurs(credentials, interceptor), done);
  const inject = server.createConnectionInjector?.bind(server);
  if (inject === undefined) return;
  server.createConnectionInjector = (credentials) => inject(withOurs(credentials, interceptor));
}

/**
 * An address that was being bound when the server was given has credentials without our interceptor. Its
 * connections go to another HTTP/2 server of the same gRPC server, which has it. Call it after
 * `interceptByCredentials`; what it returns ends the watch for such addresses.
 */
export function redirectEarlier(server: Server): () => void {
  const channel = tracingChannel<object>("net.server.listen");
  let foundPort: number | undefined;
  const subscribers = {
    asyncEnd(message: object): void {
      const { server: http2 } = message as { readonly server: Partial<Http2Server> };
      if (typeof http2.updateSettings !== "function" || isBoundByMesh()) return;
      const listening = http2 as Http2Server;
      // The further addresses of one name have the port of the first.
      if (foundPort !== undefined) {
        if (portOf(listening) === foundPort) redirect(listening, server);
        return;
      }
      // Node does not say whose it is: it belongs to this server if that is bound by it. grpc-js notes it in
      // its own listener, which is between these two, and there is no connection yet.
      let wasBound = true;
      listening.prependOnceListener("listening", () => {
        wasBound = foundPort !== undefined || isBound(server);
      });
      listening.once("listening", () => {
        if (wasBound || !isBound(server)) return;
        foundPort = portOf(listening);
        redirect(listening, server);
        // The question has started it, and grpc-js throws for the second time.
        server.start = () => void Reflect.deleteProperty(server, "start");
      });
    },
  };
  channel.subscribe(subscribers as never);
  return () => {
    channel.unsubscribe(subscribers as never);
  };
}

/** NaN, which equals no other: a Unix socket. */
function portOf(http2: Http2Server): number {
  const address = http2.address();
  return typeof address === "object" ? (address?.port ?? NaN) : NaN;
}

function redirect(http2: Http2Server, server: Server): void {
  // Decrypted connections of a server with TLS need no credentials any more.
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const event = "setSecureContext" in http2 ? "secureConnection" : "connection";
  http2.removeAllListeners(event);
  http2.on(event, (socket: Socket) => {
    socket.on("error", ignore); // without a listener it would be an uncaught exception of the host
    injector.injectConnection(socket);
  });
}

/**
 * `start` has nothing else to do since grpc-js 1.10, and is the only public method that knows. It would
 * let the application know that it need not call it.
 */
function isBound(server: Server): boolean {
  const { noDeprecation } = process;
  process.noDeprecation = true;
  try {
    server.start();
    return true;
  } catch (error) {
    return !String(error).includes("must be bound");
  } finally {
    process.noDeprecation = noDeprecation!;
  }
}

function withOurs(given: ServerCredentials, interceptor: ServerInterceptor): ServerCredentials {
  // Of a grpc-js of the application's own, or no credentials at all.
  if (!(given instanceof ServerCredentials)) {
    throw new TypeError("creds must be a ServerCredentials object of the mesh's @grpc/grpc-js");
  }
  const ours = withInterceptors(given, [interceptor]);
  // They would keep its connections, and lose its interceptors, which may be what checks callers.
  if (given.constructor === ours.constructor) {
    throw new TypeError(
      "meshGrpcServer: with this version of @grpc/grpc-js, interceptors belong to the options of the server, not to its credentials",
    );
  }
  return ours;
}

function ignore(): void {}
