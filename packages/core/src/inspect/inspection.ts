/**
 * A mesh as the API of its process shows it: each method gives one answer of `api.ts`. It reads what is there, at the
 * moment of asking; nothing is kept for it, and no call pays for it. Lists may be iterables, so that who writes them
 * can do so in pieces.
 */
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { degradedInProcess } from "../degraded.ts";
import type { Mesh } from "../mesh.ts";
import { inSlices } from "../metrics/slices.ts";
import { runtimeProblem } from "../runtime/supported.ts";
import { headOf, type Lazily } from "./answer.ts";
import type {
  About,
  Changed,
  Checks,
  Config,
  Connections,
  DiscoveryAnswer,
  Dump,
  Endpoints,
  Explanation,
  ExplainRequest,
  LogLevelAnswer,
  LogLevelRequest,
  Readiness,
  Services,
} from "./api.ts";
import { duration } from "../shown-time.ts";
import { checks } from "./checks.ts";
import { configValues, sourceViews } from "./config.ts";
import { endpointViews, outboundConnections } from "./endpoints.ts";
import { explain } from "./explain.ts";
import { LogLevelControl } from "./log-level.ts";
import { discoveryView, inboundConnections, serverView, serviceView } from "./services.ts";
import { LATENCY_BOUNDS, TrafficTable } from "./traffic.ts";

/** What may be asked of most answers. */
export interface Selection {
  /** Of this service alone. */
  readonly service?: string | undefined;
}

/** What the reader may do, and which version of inmesh it talks to: known to who serves the API. */
export interface AboutContext {
  readonly version: string;
  readonly resources: readonly string[];
  readonly may: readonly string[];
}

type LazyDump = { readonly [Name in keyof Dump]: Lazily<Dump[Name]> };

export class Inspection {
  readonly instance: string = randomUUID();
  readonly logLevel: LogLevelControl;
  readonly #mesh: Mesh;

  constructor(mesh: Mesh) {
    this.#mesh = mesh;
    this.logLevel = new LogLevelControl(mesh);
  }

  get ready(): Readiness {
    const { servers, running } = this.#mesh;
    const reasons = [
      ...(running.state === "open" ? [] : [{ server: undefined, reason: running.state }]),
      ...servers.notReady,
    ];
    return { ready: reasons.length === 0, reasons };
  }

  about({ version, resources, may }: AboutContext): About {
    const { running } = this.#mesh;
    const { rss, heapUsed } = process.memoryUsage();
    return {
      ...this.#head("About"),
      scope: "process",
      versions: { inmesh: version, runtime: process.version },
      process: {
        pid: process.pid,
        host: hostname(),
        platform: `${process.platform} ${process.arch}`,
        uptimeMs: process.uptime() * 1_000,
        rssBytes: rss,
        heapUsedBytes: heapUsed,
      },
      state: running.state,
      ready: this.ready,
      configVersion: running.config.version,
      runtimeProblem: runtimeProblem(process.version),
      degraded: degradedInProcess(),
      resources,
      may,
    };
  }

  async services({ service }: Selection = {}): Promise<Lazily<Services>> {
    const { runtime, running, servers } = this.#mesh;
    const { measured } = running;
    const traffic = measured ? new TrafficTable() : undefined;
    // There may be many thousands of them.
    if (traffic !== undefined) {
      await inSlices(this.#mesh.metrics(), runtime, (one) => traffic.add(one));
    }
    const chosen = running.services.filter(({ name }) => service === undefined || name === service);
    const ordered = chosen.toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
    return {
      ...this.#head("Services"),
      measured,
      latencyBoundsSeconds: LATENCY_BOUNDS,
      services: each(ordered, (one) => [serviceView(one, traffic, runtime.now())]),
      servers: service === undefined ? servers.list.map((one) => serverView(one, traffic)) : [],
    };
  }

  endpoints(selection: Selection = {}): Lazily<Endpoints> {
    const { runtime } = this.#mesh;
    return {
      ...this.#head("Endpoints"),
      endpoints: each(this.#backends(selection), (one) => endpointViews(one, runtime.now())),
    };
  }

  connections(selection: Selection = {}): Lazily<Connections> {
    const { servers } = this.#mesh;
    return {
      ...this.#head("Connections"),
      outbound: each(this.#backends(selection), outboundConnections),
      inbound: selection.service === undefined ? servers.list.map(inboundConnections) : [],
    };
  }

  discovery(selection: Selection = {}): Lazily<DiscoveryAnswer> {
    const mesh = this.#mesh;
    return {
      ...this.#head("Discovery"),
      services: each(this.#backends(selection), (one) => [discoveryView(mesh, one)]),
    };
  }

  /** `all`: also values that no source has written. */
  config({ service, all = false }: Selection & { readonly all?: boolean } = {}): Lazily<Config> {
    const { version, state, file } = this.#mesh.running.config;
    return {
      ...this.#head("Config"),
      version,
      state,
      file,
      sources: sourceViews(this.#mesh),
      values: configValues(this.#mesh, service, all),
    };
  }

  /** Throws an InspectionError for a service that is not known here, and for a path that is none. */
  explain(request: ExplainRequest): Explanation {
    return { ...this.#head("Explanation"), ...explain(this.#mesh, request) };
  }

  async checks(): Promise<Checks> {
    return { ...this.#head("Checks"), ...(await checks(this.#mesh)) };
  }

  async dump(context: AboutContext): Promise<LazyDump> {
    return {
      ...this.#head("Dump"),
      about: this.about(context),
      checks: await this.checks(),
      services: await this.services(),
      endpoints: this.endpoints(),
      connections: this.connections(),
      discovery: this.discovery(),
      config: this.config({ all: true }),
    };
  }

  currentLogLevel(): LogLevelAnswer {
    return { ...this.#head("LogLevel"), ...this.logLevel.answer };
  }

  /** Undefined: back to the standard. `by`: who asks for it, for the audit line. */
  changeLogLevel(request: LogLevelRequest | undefined, by: string): Changed {
    const { logLevel } = this;
    const before = logLevel.state;
    const { undo } = logLevel;
    if (request === undefined) logLevel.clear();
    else logLevel.set(request);
    const after = logLevel.state;
    const until = request === undefined ? "" : ` for ${duration(request.forMs)}`;
    this.#mesh.log({
      level: "info",
      event: "admin.changed",
      message: `admin: the log level is ${after.level}${until}, before ${before.level}; asked by ${by}; undo: ${undo.method} ${undo.path}`,
    });
    return { ...this.#head("Changed"), what: "log-level", before, after, undo };
  }

  #backends({ service }: Selection): ReturnType<() => Mesh["running"]["backends"]> {
    const { backends } = this.#mesh.running;
    return backends.filter(({ name }) => service === undefined || name === service);
  }

  #head<Kind extends string>(kind: Kind): ReturnType<typeof headOf<Kind>> {
    return headOf(this.#mesh, this.instance, kind);
  }
}

function* each<From, To>(all: Iterable<From>, view: (one: From) => Iterable<To>): Iterable<To> {
  for (const one of all) yield* view(one);
}
