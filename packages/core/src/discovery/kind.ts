/**
 * A kind of discovery: what may be written under its key in a configuration, and the source that watches
 * what was written. `static`, `dns`, `srv`, `file` and `registry` are kinds like those of an application
 * (`createMesh({ discoveries })`); `discovery-kinds.ts` lists them.
 */
import type { WrittenKind } from "../config/kind.ts";
import type { Log } from "../log.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Bounds } from "../telemetry/bounds.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import type { Discovery } from "./discovery.ts";

/** What a kind may use of its mesh. */
export interface DiscoveryMesh {
  /** Time, chance and timers. */
  readonly runtime: Runtime;
  readonly log: Log;
  /** For instruments of its own. */
  readonly telemetry: Telemetry;
  /** For caches and tables of its own: how full they are. */
  readonly bounds: Pick<Bounds, "add">;
  /**
   * What `make` gives, made once for this mesh and this function: a resolver, or one watch that serves many
   * services (`SharedDiscovery`).
   */
  readonly shared: <T>(make: (mesh: DiscoveryMesh) => T) => T;
}

/** The client of a service, for kinds that know which endpoints suit it. */
export interface DiscoveryClient {
  /** `http`, `grpc`, or that of a package. */
  readonly protocol: string;
  readonly scheme: "http" | "https";
  /** HTTP/2 is wanted: without TLS by prior knowledge. */
  readonly http2: boolean;
}

/** What a kind may use of its mesh, and for whom. */
export interface DiscoveryOfService extends DiscoveryMesh {
  readonly client: DiscoveryClient;
}

export interface DiscoveryKind<Options extends object = object> extends WrittenKind<Options> {
  /**
   * The source of one service, made when the service is first called and when its options have changed. What
   * it throws is bad news of discovery: counted, logged, and tried again with the next call of `refresh`.
   */
  open(options: Options, mesh: DiscoveryOfService): Discovery;
}
