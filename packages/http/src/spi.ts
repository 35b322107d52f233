/**
 * `@inmesh/http/spi`: for a package that serves and forwards HTTP, such as a gateway. The server is `meshServer`; its
 * handler makes a call of each request, and hands the reply on as it comes. What a package needs that reads and writes
 * HTTP itself is an entry of its own as well, `spi/codec`. Not covered by semver before 1.0.
 */
export * from "./spi/codec.ts";

/**
 * HTTP as a protocol of the mesh: `mesh.service(name, HTTP)` is what a call is made to. `Origins` finds the
 * service behind an origin such as `http://orders`, by the rules of `mesh.fetch`, and says which origins are
 * none of ours.
 */
export { HTTP } from "./client/protocol.ts";
export { Origins } from "./doors/origins.ts";
export type { HttpService, StartingService } from "./client/start.ts";

/**
 * A request, and its call. `startCall` sends it through the pipeline of its service, with the deadline, the
 * priority and the trace of the request being served, and resolves when the head of the reply is here.
 * A `WireWatcher` (`request.watcher`) learns of interim replies and upgrades.
 */
export { HttpRequest, type WireWatcher } from "./client/request.ts";
export { callOf, replyTo, startCall, type RetryWatcher } from "./client/start.ts";
export type { RequestBody } from "./client/body.ts";
export type { CallInit } from "./client/call-options.ts";

/**
 * The reply. `sendTo(sink)` delivers its body as it comes, without a stream in between, and `discard` says
 * that it is not wanted. A `BodySink` that is `paused` holds the peer back until `reply.flow()`.
 */
export { HttpReply, type BodySink, type BodySource } from "./client/reply.ts";
export type { HttpResult } from "./client/lease.ts";

/** Header fields: what is passed on of those received, and which trailers may be. */
export { forwardedFields } from "./client/forwarded.ts";
export { allowedTrailers, HttpHeaders, type RawHeaders } from "./headers.ts";
