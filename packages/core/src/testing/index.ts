/** For tests of transports, discovery sources and applications. */
export { SimRuntime } from "./sim-runtime.ts";
export { StubRequest, StubReply, stubProtocol, type StubServer } from "./stub-transport.ts";
export {
  FaultConnection,
  FaultPeer,
  PeerGone,
  resetSocket,
  type FaultPeerOptions,
  type FaultScript,
  type RawRequest,
} from "./fault-peer.ts";
export { sideBySide, type SideBySideOptions } from "./side-by-side.ts";
export { AheadRuntime } from "./ahead-runtime.ts";
export {
  countResources,
  expectBaseline,
  expectNoLeak,
  leakSince,
  type ResourceCount,
} from "./leak-check.ts";
export { transportConformance } from "./transport-conformance.ts";
export {
  PLAY,
  type Behaviour,
  type ConformanceAdapter,
  type ConformanceBench,
  type ConformanceCheck,
} from "./conformance-parts.ts";
export {
  discoveryConformance,
  type DiscoveryAdapter,
  type DiscoveryBench,
} from "./discovery-conformance.ts";
export { sourceConformance, type SourceAdapter, type SourceBench } from "./source-conformance.ts";
