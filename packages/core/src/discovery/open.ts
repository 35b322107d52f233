/** Opens the sources that a configuration names, by the kinds that its mesh knows. */
import { kindAndOptions } from "../config/kind.ts";
import { SOURCE_NAME } from "../config/source.ts";
import type { DiscoveryConfig } from "../config/types.ts";
import type { Discovery } from "./discovery.ts";
import type { DiscoveryClient, DiscoveryKind, DiscoveryMesh, DiscoveryOfService } from "./kind.ts";

export class Discoveries {
  readonly #kinds: readonly DiscoveryKind[];
  readonly #mesh: DiscoveryMesh;

  constructor(
    kinds: readonly DiscoveryKind[],
    { runtime, log, telemetry, bounds, place }: Omit<DiscoveryMesh, "shared">,
  ) {
    this.#kinds = kinds;
    const made = new Map<(mesh: DiscoveryMesh) => unknown, unknown>();
    const mesh: DiscoveryMesh = {
      runtime,
      log,
      telemetry,
      bounds,
      place,
      shared<T>(make: (mesh: DiscoveryMesh) => T): T {
        if (!made.has(make)) made.set(make, make(mesh));
        return made.get(make) as T;
      },
    };
    this.#mesh = mesh;
  }

  /** Never throws: what a kind throws here, it throws again when it is watched, where it is counted. */
  open(config: DiscoveryConfig, client: DiscoveryClient): Discovery {
    const { kind, options } = kindAndOptions(config, this.#kinds);
    const own = this.#opened(kind!, options, client);
    for (const other of this.#kinds) {
      const taken = takenBy(other, config);
      if (taken !== undefined) return this.#opened(other, taken, client, own);
    }
    return own;
  }

  #opened(
    kind: DiscoveryKind,
    options: object,
    client: DiscoveryClient,
    instead?: Discovery,
  ): Discovery {
    const { name } = kind;
    const opened = (): Discovery => openWith(kind, options, { ...this.#mesh, client }, instead);
    try {
      const discovery = opened();
      if (SOURCE_NAME.test(discovery.source)) return discovery;
      return { source: name, watch: (sink) => discovery.watch(sink) };
    } catch {
      return { source: name, watch: (sink) => opened().watch(sink) };
    }
  }
}

function takenBy(kind: DiscoveryKind, config: DiscoveryConfig): object | undefined {
  if (kind.takeOver === undefined) return undefined;
  try {
    return kind.takeOver(config);
  } catch {
    return undefined;
  }
}

function openWith(
  kind: DiscoveryKind,
  options: object,
  mesh: DiscoveryOfService,
  instead: Discovery | undefined,
): Discovery {
  const discovery: Partial<Discovery> | undefined = kind.open(options, mesh, instead);
  if (typeof discovery?.watch === "function") return discovery as Discovery;
  throw new TypeError(`open of the kind ${kind.name} has not given a discovery`);
}
