/**
 * `@inmesh/core/spi/discovery`: for a package that says where the endpoints of services are, or what their
 * settings are. Not covered by semver before 1.0.
 */

// A discovery is asked to watch a service, and reports to a sink which endpoints there are.
export type { Discovery, EndpointSink, EndpointWatch } from "../discovery/discovery.ts";
export { addressOf, socketPathOf, type EndpointInfo } from "../endpoint-info.ts";
export { staticDiscovery } from "../discovery/static/static.ts";
export type { DiscoveryConfig } from "../config/types.ts";

// A kind of discovery adds its name and its options to what may be written under `discovery`.
export type { FieldType } from "../config/field.ts";
export type { DiscoveryContext, KindField, WrittenDiscovery, WrittenKind } from "../config/kind.ts";
export {
  type CheckedMesh,
  type DiscoveryClient,
  type DiscoveryKind,
  type DiscoveryMesh,
  type DiscoveryOfService,
  discoverForEveryMesh,
  type KindCheck,
  type MadeMesh,
} from "../discovery/kind.ts";
export type { FoundPlace } from "../place.ts";
export { SharedDiscovery, type SharedSink } from "../discovery/shared.ts";
export { BUILT_IN_KINDS, describeDiscovery } from "../discovery-kinds.ts";

// A configuration source says what the settings are, and its rank whom it wins over.
export type {
  ConfigLayer,
  ConfigReport,
  ConfigSink,
  ConfigSource,
  ConfigWatch,
  SourceMesh,
} from "../config/source.ts";
export { RANKS, type Rank, type SourceRank } from "../config/ranks.ts";

// A section of the configuration that a program reads itself.
export type { ConfigSection, SectionContext } from "../config/section.ts";

// Lengths of time as people are shown them.
export { duration } from "../shown-time.ts";

// Values that change, and the time and timers they may use.
export { Cell, type Watch } from "../watch/watch.ts";
export type { Runtime, Timer } from "../runtime/runtime.ts";
export { inTurns, nextTurn } from "../runtime/turns.ts";

// The configuration as `createMesh` reads it, for tools.
export { LIMITS as CONFIG_LIMITS } from "../config/limits.ts";
export { printConfig } from "../config/print.ts";
export { loadConfig, type LoadedConfig, type LoadOptions } from "../config/load.ts";
