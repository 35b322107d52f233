/** What `createMesh` takes, and what is wrong with it: every mistake at once, before anything is made. */
import type { Attempt, Call, Reply } from "./call.ts";
import type { MeshInput } from "./config/input.ts";
import { ConfigError, makeMistake, type Mistake } from "./config/mistakes.ts";
import { optionMistakes, type OptionKinds } from "./config/options.ts";
import { isRaw } from "./config/plain.ts";
import { type ConfigSection, sectionMistakes } from "./config/section.ts";
import { type ConfigSource, sourceMistakes } from "./config/source.ts";
import type { ServiceConfig } from "./config/types.ts";
import type { Discovery } from "./discovery/discovery.ts";
import { type DiscoveryKind, kindsOfProcess, type MadeMesh } from "./discovery/kind.ts";
import { registryVariableRule } from "./discovery/registry/place.ts";
import { kindsWith } from "./discovery-kinds.ts";
import { type Exporter, exporterMistakes } from "./exporter.ts";
import type { Layer } from "./handler.ts";
import type { Log } from "./log.ts";
import type { Runtime } from "./runtime/runtime.ts";
import { STANDARD_METRICS, type StandardMetrics } from "./telemetry/standard.ts";
import type { Telemetry } from "./telemetry/telemetry.ts";
import { identityMistakes } from "./tls/identities.ts";
import type { IdentitySource } from "./tls/identity.ts";

export interface MeshOptions {
  /**
   * Configuration from code; wins over file and environment, service by service, field by field.
   * `mesh.update` replaces it. Default: nothing.
   */
  readonly config?: MeshInput;
  /**
   * Path of a mesh.yaml or mesh.json, which is followed while the mesh is open: a valid change is
   * applied, an invalid one refused, and the last good one stays. Default: the environment's
   * `INMESH_CONFIG`, else none.
   */
  readonly configFile?: string;
  /**
   * Configuration sources beside environment, file and code; each has a rank, which says whom it wins over.
   * What one says is applied as a whole or refused, and then its last good layer stays. Stopped when `close`
   * begins. Default: none.
   */
  readonly sources?: readonly ConfigSource[];
  /**
   * Where the last good configuration file is kept for a start at which the file itself is missing
   * or invalid. Written at most once a second, readable by this user only. Default: nowhere. No
   * effect without a configuration file.
   */
  readonly snapshotFile?: string;
  /**
   * Gets a line for what an operator has to know: configurations, breakers, discovery, refusals for load
   * (docs/reference/log.md has every event). Called while calls are made, so it must be quick; what it
   * throws is ignored. Default: none; inmesh never writes to the console.
   */
  readonly log?: Log;
  /** Where `INMESH_…` variables are read from, once, at creation. Default: `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Time, chance and timers. Default: the process's own. */
  readonly runtime?: Runtime;
  /**
   * Receives every measurement. `false`: nothing is measured, and calls do nothing for it; exporters get none
   * either. Default: an in-memory recorder that `mesh.metrics()` reads.
   */
  readonly telemetry?: Telemetry | false;
  /**
   * Whether durations are recorded under the names of OpenTelemetry's semantic conventions too
   * (`http.client.request.duration` and three more, docs/reference/metrics.md). `auto`: all but those that an
   * instrumentation of OpenTelemetry in this process records itself, so that nothing is counted twice; `on`: all;
   * `off`: none. No effect with `telemetry: false`. Default `auto`.
   */
  readonly standardMetrics?: StandardMetrics;
  /**
   * What takes metrics and events out of the process. Each gets what `telemetry`, or the recorder in its
   * place, gets too; the mesh starts them, and closes them at the end of its own `close`. Default: none.
   */
  readonly exporters?: readonly Exporter[];
  /**
   * A source of endpoints of your own; undefined leaves the service to the configured one. Asked
   * again when the service's `discovery` changes. Default: none.
   */
  readonly discovery?: (service: ServiceConfig) => Discovery | undefined;
  /**
   * Kinds of discovery beside the built-in ones: each adds its name to what may be written under
   * `discovery` in a file, the environment and code, with its own options and mistakes. A name that
   * another kind has is a mistake. Default: none.
   */
  readonly discoveries?: readonly DiscoveryKind[];
  /**
   * Sections of the configuration beside `services`, `servers` and `defaults`, for a program that reads settings of
   * its own from the same file: what they say is in `mesh.config.current.sections`. A name that another section has is
   * a mistake. Default: none.
   */
  readonly sections?: readonly ConfigSection[];
  /**
   * Whether names such as `orders.shop.svc` are looked up in the API of Kubernetes, where the process runs in a
   * cluster and `inmesh` is imported (docs/reference/kubernetes.md). `false`: by DNS. No effect on services that write
   * `discovery: { kubernetes }`, and none beside a kind of that name in `discoveries`. Default: `true`, unless the
   * environment says `INMESH_KUBERNETES=off`.
   */
  readonly kubernetes?: boolean;
  /**
   * The registry of this machine, by which processes of one user find each other without a configuration
   * (docs/reference/registry.md): servers of this mesh that have a name announce themselves there, and a client
   * that asks for a name which nothing configures gets the servers of that name. `false`: neither. A text is the
   * directory of another registry, `true` the one of this user. No effect on services that are configured or
   * opened by URL. Default: what the environment says as `INMESH_REGISTRY`, else `true`, but `false` in production,
   * tests, CI and clusters.
   */
  readonly registry?: boolean | string;
  /**
   * Identity sources beside the files of `tls`: what `tls.identity` may name. Started with the mesh, stopped
   * at the end of its `close`. Default: none.
   */
  readonly identities?: readonly IdentitySource[];
  /**
   * The zone in which this process stands, as discovery names those of endpoints: calls stay in it while it has its
   * share of the endpoints (`zones`), and metrics say how much goes to other zones. Default: `INMESH_ZONE`, else what
   * a kind of discovery finds, as `kubernetes` does; else unknown, and all zones are picked from alike.
   */
  readonly zone?: string;
  /** Layers around every call, below its record; see pipeline.ts. Default: none. */
  readonly callLayers?: readonly Layer<Call, Reply>[];
  /** Layers around every attempt. Default: none. */
  readonly attemptLayers?: readonly Layer<Attempt, Reply>[];
}

const OPTIONS: OptionKinds<MeshOptions> = {
  config: "object",
  configFile: "text",
  sources: "list",
  snapshotFile: "text",
  log: "function",
  env: "object",
  runtime: "object",
  telemetry: "any",
  standardMetrics: "any",
  exporters: "list",
  discovery: "function",
  discoveries: "list",
  sections: "list",
  kubernetes: "boolean",
  registry: "any",
  identities: "list",
  zone: "text",
  callLayers: "list",
  attemptLayers: "list",
};
const INSIDE_CONFIG = "belongs into config: createMesh({ config: { … } })";
const OPTION_HINTS = {
  services: INSIDE_CONFIG,
  defaults: INSIDE_CONFIG,
  config: "the path of a file is given as configFile",
  log: "it gets an object with level, event and message",
  file: 'did you mean "configFile"?',
  path: 'did you mean "configFile"?',
};

/** The kinds of discovery that there are with these options. Throws ConfigError with every mistake in them. */
export function checkedKinds(options: MeshOptions): readonly DiscoveryKind[] {
  const mistakes = optionMistakes("createMesh", options, OPTIONS, OPTION_HINTS);
  if (isRaw(options)) mistakes.push(...listMistakes(options));
  const kinds = kindsOf(isRaw(options) ? options : {}, mistakes);
  if (mistakes.length > 0) throw new ConfigError(mistakes);
  return kinds;
}

/** What the lists among the options hold. A layer that is no function would fail the first call. */
function listMistakes(options: MeshOptions): Mistake[] {
  const { configFile, exporters, identities, sections, sources, callLayers, attemptLayers } =
    options;
  const mistakes = Array.isArray(exporters) ? exporterMistakes(exporters) : [];
  mistakes.push(...telemetryMistakes(options), ...registryMistakes(options));
  if (Array.isArray(sections)) mistakes.push(...sectionMistakes(sections));
  if (Array.isArray(identities)) mistakes.push(...identityMistakes(identities));
  if (Array.isArray(sources)) mistakes.push(...sourceMistakes(sources, configFile));
  for (const [name, layers] of Object.entries({ callLayers, attemptLayers })) {
    if (!Array.isArray(layers)) continue;
    for (const [i, layer] of layers.entries()) {
      if (typeof layer === "function") continue;
      mistakes.push(makeMistake([name, i], "must be a function", layer, "createMesh"));
    }
  }
  return mistakes;
}

function registryMistakes({ registry, env = process.env }: MeshOptions): Mistake[] {
  if (registry !== undefined && typeof registry !== "boolean") {
    if (typeof registry === "string" && registry !== "") return [];
    const rule = "must be true, false or a directory";
    return [makeMistake(["registry"], rule, registry, "createMesh")];
  }
  const said = isRaw(env) ? env["INMESH_REGISTRY"]?.trim() : undefined;
  if (registry !== undefined || said === undefined || said === "") return [];
  const rule = registryVariableRule(said);
  const name = "INMESH_REGISTRY";
  return rule === undefined ? [] : [makeMistake([name], rule, said, `env:${name}`)];
}

function telemetryMistakes({ telemetry, standardMetrics }: MeshOptions): Mistake[] {
  const mistakes: Mistake[] = [];
  if (telemetry !== undefined && telemetry !== false && !isRaw(telemetry)) {
    mistakes.push(
      makeMistake(["telemetry"], "must be an object, or false", telemetry, "createMesh"),
    );
  }
  if (standardMetrics !== undefined && !STANDARD_METRICS.includes(standardMetrics)) {
    const rule = `must be one of ${STANDARD_METRICS.join(", ")}`;
    mistakes.push(makeMistake(["standardMetrics"], rule, standardMetrics, "createMesh"));
  }
  return mistakes;
}

/** What is wrong with those of the application is added to `mistakes`. */
function kindsOf(
  { discoveries, kubernetes, env = process.env }: MeshOptions,
  mistakes: Mistake[],
): readonly DiscoveryKind[] {
  const own: readonly DiscoveryKind[] = Array.isArray(discoveries) ? discoveries : [];
  if (!isRaw(env)) return kindsWith<DiscoveryKind>(own, mistakes, true);
  const said = env["INMESH_KUBERNETES"] ?? "";
  if (!["", "on", "off"].includes(said)) {
    mistakes.push(makeMistake([], "must be on or off", said, "env:INMESH_KUBERNETES"));
  }
  const made = { kubernetes: kubernetes ?? said !== "off", env } as MadeMesh;
  return kindsWith<DiscoveryKind>([...own, ...kindsOfProcess(made, own)], mistakes, true);
}
