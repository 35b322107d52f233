/**
 * What a server has to do and grpc-js has no public way for: to stand before interceptors of a server
 * that is made already, to limit its connections, to reset a stream whose client does not read. Each is
 * looked up where grpc-js 1.14 keeps it and may be missing; what happens then is said beside it. Beside
 * this file and ../internals.ts nothing reaches into grpc-js.
 */
import type { ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import type { Server as NetServer } from "node:net";
import type { Server, ServerInterceptingCallInterface, ServerInterceptor } from "@grpc/grpc-js";

/** Node's server below a grpc-js one. */
export type Http2Server = NetServer & {
  updateSettings?(settings: object): void;
};

interface Inside {
  readonly interceptors?: unknown;
  readonly http2Servers?: unknown;
  readonly handlers?: unknown;
  readonly options?: unknown;
}

/** Read by grpc-js for each call. Undefined: interceptors can only be given to the constructor. */
export function interceptorsOf(server: Server): ServerInterceptor[] | undefined {
  const { interceptors } = server as unknown as Inside;
  return Array.isArray(interceptors) ? (interceptors as ServerInterceptor[]) : undefined;
}

/** What it was made with; without effect on the server. Empty if unknown: nothing is reported. */
export function optionsOf(server: Server): Readonly<Record<string, unknown>> {
  const { options } = server as unknown as Inside;
  return typeof options === "object" && options !== null ? { ...options } : {};
}

/** Those that are bound. None if unknown: connections then have the limits of Node only. */
export function http2ServersOf(server: Server): Http2Server[] {
  const { http2Servers } = server as unknown as Inside;
  return http2Servers instanceof Map ? [...(http2Servers as Map<Http2Server, unknown>).keys()] : [];
}

/** Whether it has a method of that service. False if unknown: the health service knows only the whole. */
export function serves(server: Server, service: string): boolean {
  const { handlers } = server as unknown as Inside;
  if (!(handlers instanceof Map)) return false;
  const prefix = `/${service}/`;
  for (const path of handlers.keys()) {
    if (typeof path === "string" && path.startsWith(prefix)) return true;
  }
  return false;
}

/** The stream below a call. Undefined: a client that does not read is kept until it leaves. */
export function streamOf(call: ServerInterceptingCallInterface): ServerHttp2Stream | undefined {
  const { stream } = call as { stream?: Partial<ServerHttp2Stream> };
  return typeof stream?.close === "function" ? (stream as ServerHttp2Stream) : undefined;
}

export type Http2Session = ServerHttp2Session;
export type Http2Stream = ServerHttp2Stream;
