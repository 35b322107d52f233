/**
 * A kind of discovery: what may be written under its key in a configuration, and the source that watches
 * what was written. `static`, `dns`, `srv`, `file` and `registry` are kinds like those of an application
 * (`createMesh({ discoveries })`); `discovery-kinds.ts` lists them.
 */
import type { WrittenKind } from "../config/kind.ts";
import { isRaw } from "../config/plain.ts";
import type { DiscoveryConfig } from "../config/types.ts";
import type { Log } from "../log.ts";
import type { Place } from "../place.ts";
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
  /** Where this process stands: a kind that knows it says so. */
  readonly place: Pick<Place, "zone" | "found">;
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

/**
 * A kind of discovery, for `createMesh({ discoveries })`: what may be written under `discovery` for it, how that is read, and
 * the source of a service. `name`, `fields` and `open` are needed.
 */
export interface DiscoveryKind<Options extends object = object> extends WrittenKind<Options> {
  /**
   * The source of one service, made when the service is first called and when its options have changed. What
   * it throws is bad news of discovery: counted, logged, and tried again with the next call of `refresh`.
   *
   * `instead`: of a target that was taken over, the source that its own kind opens.
   */
  open(options: Options, mesh: DiscoveryOfService, instead?: Discovery): Discovery;
  /**
   * Options for a target that another kind has read, if this kind knows its endpoints better: `kubernetes` takes
   * `orders.shop.svc` over from `dns`. Undefined: it does not. The configuration stays as it is written. Of several
   * kinds the first that takes a target has it; what it throws counts as undefined. Default: none is taken.
   */
  takeOver?(discovery: DiscoveryConfig): Options | undefined;
  /**
   * What a person would look at first where this kind does not work: asked for by `inmesh check` and the API of the
   * process, never by a call. It may ask what the kind depends on, and has 10 s. Default: nothing.
   */
  check?(mesh: CheckedMesh): Promise<readonly KindCheck[]>;
}

/** A mesh, for the checks of a kind. */
export interface CheckedMesh {
  readonly runtime: Runtime;
  /** Those that this process has called lately. */
  readonly services: readonly {
    readonly name: string;
    /** As it is written, also where another kind has taken it over. */
    readonly discovery: DiscoveryConfig;
    /** The kind that is in use. */
    readonly source: string;
  }[];
  readonly servers: readonly {
    readonly name: string;
    readonly protocol: string;
    /** The path on which it says whether it is ready; undefined: on none. */
    readonly readyPath: string | undefined;
    /** How long a drain goes on serving before it asks callers to leave and closes what is idle. */
    readonly leavesAfterMs: number;
  }[];
}

/** One thing that a kind has looked at. */
export interface KindCheck {
  /** Stable. */
  readonly id: string;
  /** What it is about, such as a service; undefined: the process. */
  readonly subject?: string | undefined;
  /** `warning`: it works, and somebody should look; `failure`: calls or requests fail, or will. */
  readonly status: "ok" | "warning" | "failure";
  /** A sentence for people. */
  readonly message: string;
  /** What to do; undefined when good. */
  readonly hint?: string | undefined;
  /** Where it is explained: a path relative to the repository of inmesh, or a URL. */
  readonly page: string;
}

/** What the maker of a kind is given of a mesh. */
export interface MadeMesh {
  /** Whether names are looked up in Kubernetes: by `kubernetes` of `createMesh`, else by `INMESH_KUBERNETES`. */
  readonly kubernetes: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
}

type Maker = (mesh: MadeMesh) => DiscoveryKind | undefined;
const makers: Maker[] = [];

/**
 * Every mesh that is made from now on has the kind that `make` gives, beside those among its options. Undefined: it
 * has none. A kind of its options with the same name takes its place.
 */
export function discoverForEveryMesh(make: Maker): void {
  makers.push(make);
}

/** Those of the process, for a mesh that is being made. */
export function kindsOfProcess(mesh: MadeMesh, own: readonly unknown[]): DiscoveryKind[] {
  const known = new Set(own.map((kind) => (isRaw(kind) ? kind["name"] : undefined)));
  return makers.flatMap((make) => {
    const kind = make(mesh);
    return kind === undefined || known.has(kind.name) ? [] : [kind];
  });
}
