/** grpc-js's own types that its index does not name directly. Types only: nothing is loaded for them. */
import type {
  ChannelInterface,
  experimental,
  ServerInterceptingCallInterface,
} from "@grpc/grpc-js";

/** A call as a channel hands it out: metadata and serialised messages, no objects of the application. */
export type WireCall = experimental.CallStream;
export type WireListener = Parameters<WireCall["start"]>[1];
export type WireStatus = Parameters<WireListener["onReceiveStatus"]>[0];
export type WriteContext = Parameters<WireCall["sendMessageWithContext"]>[0];
export type CallCredentials = Parameters<WireCall["setCredentials"]>[0];
export type AuthContext = NonNullable<ReturnType<WireCall["getAuthContext"]>>;
export type ServedCall = Parameters<ChannelInterface["createCall"]>[3];
export type Deadline = Parameters<ChannelInterface["createCall"]>[1];
/** The same at a server: what a handler's half listens to, and what it ends a call with. */
export type ServedListener = Parameters<ServerInterceptingCallInterface["start"]>[0];
export type ServedStatus = Parameters<ServerInterceptingCallInterface["sendStatus"]>[0];
