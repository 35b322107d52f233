/**
 * `@inmesh/core/spi/transport`: for a package that brings a protocol, or a way in, to the client half of a
 * mesh. Not covered by semver before 1.0.
 */

// The mesh, the one that clients without one share, and what a protocol registers with it.
export { createMesh, Mesh } from "../mesh.ts";
export type { MeshOptions } from "../mesh-options.ts";
export type { Protocol, Service } from "../protocol.ts";
export { defaultMesh, makeDefaultMeshBy, useAsDefaultMesh } from "../default-mesh.ts";
export type { Reachability } from "../running-service.ts";

// The seam: a transport makes connections, which send attempts of calls and settle them.
export type { Connection, ConnectionFacts, Transport } from "../transport.ts";
export type { Handler, Layer } from "../handler.ts";
export {
  Attempt,
  Call,
  type AttemptCanceller,
  type AttemptKind,
  type AttemptListener,
  type AttemptObserved,
  type CallObserved,
  type CallRecorder,
  type EndpointRef,
  type Outcome,
  type PickRule,
  type Reply,
  type Served,
} from "../call.ts";
export type { HeaderChanges } from "../header-changes.ts";
export type { HeadField, RoutedRequest } from "../route/facts.ts";
export { PICKED_BECAUSE } from "../balance/why.ts";
export { NOT_RETRIED_BECAUSE } from "../retry/why.ts";

// Errors, and why a connection did not come about.
export {
  MeshError,
  ERROR_CODES,
  ERROR_REASONS,
  placed,
  stackOf,
  stacklessError,
  type ErrorCode,
  type ErrorReason,
  type NoRetry,
  type Progress,
} from "../errors.ts";
export {
  connectError,
  exhausted,
  isConnectStrike,
  isExhaustion,
  isPeerAlert,
  protocolMismatch,
  textOfWhere,
  timeoutError,
  type Where,
} from "../connect-error.ts";
export { Exhaustion } from "../exhaustion.ts";

// What is sent, kept within bounds so that a further attempt can send it again.
export {
  DEFAULT_REPLAY_BYTES,
  ReplayBuffer,
  ReplayReader,
  type ReplayConsumer,
  type ReplayOwner,
} from "../replay/buffer.ts";
export { BodyReader, ReplayedBody, type ReplayedBodyOptions } from "../replay/body.ts";
export { ReplayMemory } from "../replay/memory.ts";

// What a call inherits of the request being served.
export { context, inheritedDeadlineAt, inheritFrom } from "../context.ts";
export { withoutCaller } from "../no-caller.ts";

// Where the connections of a service are reported.
export type {
  CloseTrigger,
  ConnectionRecord,
  Mutual,
  Nearness,
  ResetTrigger,
  Spoken,
} from "../telemetry/connections.ts";

// Time, chance, and how long connections live.
export type { Runtime, Timer } from "../runtime/runtime.ts";
export { NodeRuntime } from "../runtime/node-runtime.ts";
export { assertSupported } from "../runtime/supported.ts";
export { endOfAge } from "../runtime/age.ts";
export { Redial } from "../redial.ts";
export { StreamEnds } from "../stream-ends.ts";
export { endStreamsFirst, watchOpen } from "../streams-first.ts";

// Settings of a service, and options of a client.
export type { MeshConfig, ServiceConfig, ServicePolicies } from "../config/types.ts";
export { DEFAULT_POLICIES } from "../config/defaults.ts";
export { schemeConflict } from "../config/target.ts";
export {
  assertClientOptions,
  assertOptions,
  graceMistake,
  optionMistakes,
  type OptionKinds,
} from "../config/options.ts";
export { makeMistake, type Mistake } from "../config/mistakes.ts";
export { readAddress, readSocket } from "../config/address.ts";
export { unknownKeyRule } from "../config/did-you-mean.ts";
export { addressOf, socketPathOf, type EndpointInfo } from "../endpoint-info.ts";
export { CONNECTION_FIELDS, TOKEN } from "../field-names.ts";
export { isClaim } from "../claim-names.ts";

// Certificates, read and followed.
export type { TlsContext } from "../tls/context.ts";
export { ServiceTls, transportWithTls } from "../tls/service-tls.ts";
export type { Identities } from "../tls/identities.ts";
export { PeerRefused } from "../tls/identity.ts";
export type { TlsPem } from "../tls/pem.ts";

// How much time is left, as gRPC writes it, and its statuses.
export { formatGrpcTimeout } from "../grpc-timeout.ts";
export { grpcCodeOfError, httpCodeOfGrpc } from "../grpc-status.ts";

// Private members of Node and of libraries.
export { Degraded, type PrivateMember } from "../degraded.ts";
