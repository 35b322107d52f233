/**
 * The public way into a server that is given: our interceptor goes in with the credentials of each
 * address that is bound, before those of the server itself. grpc-js has no public list of a server's
 * interceptors, so this is how it goes where that list cannot be reached (internals.ts). What is bound
 * already is out of reach, and is refused: its calls would pass by the mesh.
 */
import {
  experimental,
  ServerCredentials,
  type Server,
  type ServerInterceptor,
} from "@grpc/grpc-js";

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
 * `start` has nothing else to do since grpc-js 1.10, and is the only public method that knows. It would
 * tell the application that it need not call it.
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
