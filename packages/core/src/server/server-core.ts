/**
 * What every server is made of, whatever its protocol: its name, its posture, admission, what it has
 * refused, its records, its drain and its pipeline. `MeshServer` and `MeshGrpcServer` hold one each.
 */
import { renderValue } from "../config/mistakes.ts";
import type { OptionKinds } from "../config/options.ts";
import type { Log } from "../log.ts";
import { registryPlace } from "../discovery/registry/place.ts";
import type { Mesh } from "../mesh.ts";
import type { ServerFacts, ServerOfMesh } from "../mesh-servers.ts";
import type { Fill } from "../telemetry/bounds.ts";
import { NodeRuntime } from "../runtime/node-runtime.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { ConnectionRecord } from "../telemetry/connections.ts";
import {
  CONCURRENCY_LIMIT,
  OVERLOAD_LEVEL,
  DEADLINE_EXPIRED,
  GLITCHES,
  REQUESTS_REJECTED,
  SHED,
} from "../telemetry/endpoint-instruments.ts";
import { NO_TELEMETRY } from "../telemetry/guarded.ts";
import { ServedRecords } from "../telemetry/served-records.ts";
import { StandardSeries } from "../telemetry/standard.ts";
import type { Counter } from "../telemetry/telemetry.ts";
import { Admission, MONITORS } from "./admission.ts";
import { Announcing, type AnnouncedServer, type Speaks } from "./announcing.ts";
import { Drain, type LeavingConnections, type ServerState } from "./drain.ts";
import type { SharedLimits } from "./limits.ts";
import { compileServer, type ServerPipeline, type ServerProtocol } from "./pipeline.ts";
import { TRUST, type Trust, type Posture } from "./posture.ts";
import { Readiness } from "./readiness.ts";
import type { ServerPeer } from "../tls/peer.ts";
import { ServerIdentity, type ServerTls } from "../tls/server-identity.ts";
import type { ServedCall } from "./served-call.ts";
import type { ServerLayer } from "./server-layer.ts";
import type { ServerSettings } from "./settings.ts";

/** Options that servers of every protocol have. */
export interface SharedServerOptions {
  /**
   * For people and metrics, and whose section of the configuration it takes (`servers.<name>` of `mesh`). A server
   * that is given one announces itself under it to processes of this machine, where the registry is not off
   * (docs/reference/registry.md). Default `server`.
   */
  readonly name?: string;
  /**
   * Counts its requests there, shares its clock, and takes what its configuration says under `servers`. Default:
   * they are not counted; the process's own clock; no configuration.
   */
  readonly mesh?: Mesh;
  /** Who is trusted, and with what; the same words for every protocol, see docs/reference/headers.md. Default `edge`. */
  readonly posture?: Posture;
  /**
   * The posture of one connection, by the peer that its handshake has proven: called once for each connection
   * whose client has shown a certificate that is accepted. Undefined: `posture`. Where it throws, or gives what
   * is no posture, it is `edge`. Default: every connection has `posture`.
   */
  readonly postureOf?: (peer: ServerPeer) => Posture | undefined;
  /** Gets a line when requests are refused for load or a server layer fails, once a minute at most. Default: the log of `mesh`. */
  readonly log?: Log;
  /** Milliseconds from "not ready" until callers have noticed, when draining. Default 5 000. */
  readonly discoveryWaitMs?: number;
  /**
   * The application's own layers, outermost first: each sees a request that is admitted, before its handler,
   * and may refuse it; see docs/guides/server-layers.md. Throws a TypeError for one that is no function.
   * Default: none.
   */
  readonly serverLayers?: readonly ServerLayer[];
}

export const SHARED_SERVER_OPTIONS: OptionKinds<SharedServerOptions> = {
  name: "text",
  mesh: "object",
  posture: "text",
  postureOf: "function",
  log: "function",
  discoveryWaitMs: "milliseconds",
  serverLayers: "list",
};

/** What snapshots of servers of every protocol have. `Reason`: see ServerCore. */
export interface SharedServerSnapshot<Reason extends string> {
  readonly name: string;
  readonly state: ServerState;
  readonly posture: Posture;
  /** By how many milliseconds the event loop was late at least, over the last half second. 0 while nothing comes. */
  readonly loopDelayMs: number;
  /** What was not given to the handler or was cut short, and connections closed, by reason. */
  readonly refused: Readonly<Partial<Record<Reason, number>>>;
  /**
   * What `servers.<name>` of the configuration says by now and this server does not do: it took it when it was
   * made. Names such as `limits.maxConnectionAgeMs`.
   */
  readonly pending: readonly string[];
  /** Why what the certificate files or the identity source say is not used; the last good ones are. Undefined: they are. */
  readonly problem: string | undefined;
  /**
   * What this server does less well because a private member of Node or of grpc-js is not where it was: one line
   * for each, with what is lost. Empty with the versions that inmesh is tested with.
   */
  readonly degraded: readonly string[];
}

/** Different reasons that are counted; further ones of the application's are counted as one. */
const MAX_REASONS = 200;
const FURTHER_REASONS = "other";
const DISCOVERY_WAIT_MS = 5_000;

let ownRuntime: Runtime | undefined;

/** For a server without a mesh; one for all of them. */
function processRuntime(): Runtime {
  return (ownRuntime ??= new NodeRuntime());
}

/** What is read of a server of Node's. */
export interface ListeningServer extends AnnouncedServer {
  readonly listening: boolean;
  on(event: "listening" | "close", listener: () => void): unknown;
}

/** What a reason of `refused` stands for in metrics, beside those for load, which all servers have. */
export interface CountedReasons<Reason extends string> {
  /** Requests that were refused because of what they are. */
  readonly rejected: readonly Reason[];
  /** Irregularities that were tolerated. */
  readonly glitches: readonly Reason[];
}

/** A second protocol of a server, whose requests come by the same connections and share its limits. */
export interface SecondProtocol {
  readonly protocol: string;
  /** Requests of it in progress. */
  readonly inFlight: () => number;
}

const SHEDDING: ReadonlySet<string> = new Set(["concurrency", "loop_delay", "heap"]);

/** `Reason`: what is counted in `refused`, beside the reasons of the application's own refusals. */
export class ServerCore<Reason extends string> implements ServerOfMesh {
  readonly name: string;
  readonly protocol: string;
  readonly posture: Posture;
  /** What only the server of a protocol knows, for those who look at the mesh. Default: nothing. */
  facts: () => ServerFacts = () => ({});
  readonly trust: Trust;
  readonly runtime: Runtime;
  readonly log: Log;
  readonly admission: Admission;
  readonly #owner: string;
  #identity: ServerIdentity | undefined = undefined;
  readonly #options: SharedServerOptions;
  readonly #settings: ServerSettings<SharedServerOptions, SharedLimits>;
  readonly #records: ServedRecords | undefined;
  /** Of protocols beside its own. */
  readonly #further: { readonly records: ServedRecords; readonly inFlight: () => number }[] = [];
  /** Where it reports its connections; undefined: it has no mesh, or nothing is measured. */
  readonly connections: ConnectionRecord | undefined;
  readonly #protocol: string;
  readonly #refused = new Map<string, number>();
  readonly #counters = new Map<string, Counter>();
  readonly #counted: CountedReasons<Reason>;
  readonly #announcing: Announcing;
  #gauges: (() => void)[] = [];
  #drain: Drain | undefined = undefined;
  #readiness: Readiness | undefined = undefined;
  #isLeaving = false;
  #leavesAfterMs = 0;
  #leaves: () => void = none;
  /** Takes it out of the servers of its mesh. */
  #remove: () => void = none;

  /** `owner`: the function that got the options. Throws a TypeError for a posture that there is not. */
  constructor(
    owner: string,
    protocol: string,
    settings: ServerSettings<SharedServerOptions, SharedLimits>,
    counted: CountedReasons<Reason>,
  ) {
    const { name, options, limits, log } = settings;
    const { posture = "edge", mesh } = options;
    const trust = TRUST[posture];
    if (trust === undefined) {
      const known = Object.keys(TRUST).join(", ");
      throw new TypeError(`${owner}: no posture ${renderValue(posture)}; known: ${known}`);
    }
    this.#owner = owner;
    this.name = name;
    this.protocol = protocol;
    this.posture = posture;
    this.trust = trust;
    this.runtime = mesh?.runtime ?? processRuntime();
    this.log = log;
    this.admission = new Admission(limits, this.runtime, name, log);
    this.#options = options;
    this.#settings = settings;
    settings.follow(() => this.admission.configure());
    this.#protocol = protocol;
    this.#counted = counted;
    const measuring = mesh?.telemetry === NO_TELEMETRY ? undefined : mesh;
    this.#records =
      measuring &&
      new ServedRecords(measuring.telemetry, name, protocol, () =>
        this.#further.reduce((left, { inFlight }) => left - inFlight(), this.admission.inFlight),
      );
    this.connections = measuring?.connections.of("inbound", name, protocol);
    this.#announcing = new Announcing({
      name: options.name,
      protocol,
      runtime: this.runtime,
      log,
      place: () => mesh?.registry ?? registryPlace(undefined, process.env),
    });
    this.#addGauges();
  }

  #addGauges(): void {
    const { mesh } = this.#options;
    if (mesh === undefined) return;
    const { limits } = this.#settings;
    const labels = { service: this.name, protocol: this.#protocol, direction: "inbound" };
    this.#gauges = [
      mesh.telemetry.gauge(CONCURRENCY_LIMIT, labels, () => limits.maxInFlight),
      ...MONITORS.map((monitor) =>
        mesh.telemetry.gauge(
          OVERLOAD_LEVEL,
          { service: this.name, protocol: this.#protocol, monitor },
          () => this.admission.level(monitor),
        ),
      ),
      mesh.bounds.add("requests", () => ({
        size: this.admission.inFlight,
        limit: limits.maxInFlight,
      })),
      mesh.bounds.add("refusal_reasons", () => ({ size: this.#refused.size, limit: MAX_REASONS })),
    ];
  }

  /** A server of Node's that listens for it: counted among those of the mesh and announced, while it does. */
  listensBy(server: ListeningServer, speaks: Speaks): void {
    const connections = this.#options.mesh?.connections;
    let listens = false;
    const changed = (now: boolean): void => {
      if (now !== listens && connections !== undefined) connections.servers += now ? 1 : -1;
      listens = now;
      if (now) this.#announcing.listens(server, speaks);
      else this.#announcing.closed(server);
    };
    changed(server.listening);
    server.on("listening", () => changed(true));
    server.on("close", () => changed(false));
  }

  /** How full something that this server holds is, until it has closed. */
  bound(structure: string, read: () => Fill): void {
    const { mesh } = this.#options;
    if (mesh !== undefined) this.#gauges.push(mesh.bounds.add(structure, read));
  }

  /** What is believed of the peer of a connection. Asked once for each. */
  trustOf(peer: () => ServerPeer): Trust {
    const { postureOf } = this.#options;
    if (postureOf === undefined) return this.trust;
    const known = peer();
    if (known.certificate === undefined) return this.trust;
    try {
      const posture = postureOf(known) ?? this.posture;
      if (Object.hasOwn(TRUST, posture)) return TRUST[posture];
    } catch {
      // A function that cannot decide must not make any peer trusted.
    }
    return TRUST.edge;
  }

  /**
   * What happens to its requests, or to those of `second`, which are counted under that protocol. Throws a TypeError for
   * a server layer that is none.
   */
  pipeline<R extends ServedCall>(
    protocol: ServerProtocol<R>,
    second?: SecondProtocol,
  ): ServerPipeline<R> {
    const { name, admission, runtime, log } = this;
    const { mesh } = this.#options;
    return compileServer<R>({
      name,
      protocol,
      admission,
      records: second === undefined ? this.#records : this.#recordsOf(second),
      standard: mesh && StandardSeries.of(mesh.telemetry, mesh.standardMetrics, protocol.standard),
      observers: mesh?.observers,
      layers: this.#options.serverLayers ?? [],
      runtime,
      log,
      count: (reason) => this.count(reason as Reason, second?.protocol),
    });
  }

  /**
   * It shows the certificates of `tls`. `refused`: a client was turned away. Throws a TypeError that names every
   * mistake in `tls`.
   */
  shows(tls: ServerTls, refused: () => void): ServerIdentity {
    const { name, runtime, log } = this;
    const { mesh } = this.#options;
    const parts = { owner: this.#owner, name, runtime, identities: mesh?.identities, log, refused };
    return (this.#identity = new ServerIdentity(tls, parts));
  }

  /** Why what its certificate files or its identity source say is not used; undefined: it is, or there are none. */
  get problem(): string | undefined {
    return this.#identity?.problem;
  }

  #recordsOf({ protocol, inFlight }: SecondProtocol): ServedRecords | undefined {
    if (this.#records === undefined) return undefined;
    const records = new ServedRecords(this.#options.mesh!.telemetry, this.name, protocol, inFlight);
    this.#further.push({ records, inFlight });
    return records;
  }

  /** How it leaves. Called once. */
  leavesBy(connections: LeavingConnections, idleWaitMs: number, stopListening: () => void): void {
    const { runtime } = this;
    const problem = (): string | undefined =>
      this.#identity?.expired === true ? "certificate expired" : undefined;
    const { discoveryWaitMs = DISCOVERY_WAIT_MS } = this.#options;
    const stop = (): void => {
      this.#announcing.end();
      stopListening();
    };
    const parts = { connections, runtime, discoveryWaitMs, idleWaitMs, stopListening: stop };
    this.#leavesAfterMs = discoveryWaitMs + idleWaitMs;
    this.#leaves = (): void => {
      this.#drain = new Drain(parts);
      this.#readiness = new Readiness(this.admission, this.#drain, problem);
    };
    this.#leaves();
    this.#add();
  }

  #add(): void {
    const { mesh } = this.#options;
    if (mesh !== undefined) this.#remove = mesh.servers.add(this);
  }

  /** It listens once more. False: it had not closed. */
  reopen(): boolean {
    if (this.state !== "closed") return false;
    this.#leaves();
    this.#isLeaving = false;
    this.#add();
    this.#records?.open();
    for (const { records } of this.#further) records.open();
    this.#addGauges();
    this.#settings.follow();
    return true;
  }

  /** Idempotent; see Drain. */
  leave(graceMs: number, noticed: boolean): Promise<void> {
    // Before anything else: those who read the registry are to know it first.
    if (noticed || graceMs === 0) this.#announcing.end();
    else if (!this.#isLeaving) this.#announcing.drain();
    const left = this.#drain!.start(graceMs, noticed); // always the same promise
    if (!this.#isLeaving) {
      void left.then(() => {
        this.#remove();
        this.#records?.close();
        for (const { records } of this.#further) records.close();
        for (const remove of this.#gauges.splice(0)) remove();
        this.admission.close();
        this.#settings.close();
      });
    }
    this.#isLeaving = true;
    return left;
  }

  get state(): ServerState {
    return this.#drain?.state ?? "open";
  }

  /** `ok`, or why requests should not come here. */
  get readiness(): string {
    return this.#readiness!.state;
  }

  get leavesAfterMs(): number {
    return this.#leavesAfterMs;
  }

  get requestsInFlight(): number {
    return this.admission.inFlight;
  }

  get refused(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#refused);
  }

  get pending(): readonly string[] {
    return this.#settings.pending;
  }

  /** Gives the reason under which it was counted. `protocol`: of a second one that it has. */
  count(reason: Reason, protocol: string = this.#protocol): string {
    this.#measure(reason, protocol);
    const before = this.#refused.get(reason);
    if (before === undefined && this.#refused.size >= MAX_REASONS) {
      this.#refused.set(FURTHER_REASONS, (this.#refused.get(FURTHER_REASONS) ?? 0) + 1);
      return FURTHER_REASONS;
    }
    this.#refused.set(reason, (before ?? 0) + 1);
    return reason;
  }

  /** Once for a refusal, or something tolerated; a request that is served pays nothing. */
  #measure(reason: Reason, protocol: string): void {
    if (this.#options.mesh === undefined) return;
    const key = `${protocol} ${reason}`;
    let counter = this.#counters.get(key);
    if (counter === undefined) {
      counter = this.#counterOf(reason, protocol);
      if (counter !== undefined) this.#counters.set(key, counter);
    }
    counter?.add(1);
  }

  #counterOf(reason: Reason, protocol: string): Counter | undefined {
    const { telemetry } = this.#options.mesh!;
    const labels = { direction: "inbound", service: this.name, protocol };
    if (reason === "expired_on_arrival") return telemetry.counter(DEADLINE_EXPIRED, labels);
    if (SHEDDING.has(reason)) return telemetry.counter(SHED, { ...labels, reason });
    const { rejected, glitches } = this.#counted;
    if (rejected.includes(reason)) {
      return telemetry.counter(REQUESTS_REJECTED, { reason });
    }
    if (!glitches.includes(reason)) return undefined;
    return telemetry.counter(GLITCHES, { direction: "inbound", kind: reason });
  }

  snapshot(degraded: readonly string[]): SharedServerSnapshot<Reason> {
    const { name, state, posture, problem } = this;
    return {
      name,
      state,
      posture,
      loopDelayMs: this.admission.loopDelayMs,
      refused: this.refused as Partial<Record<Reason, number>>,
      pending: this.pending,
      problem,
      degraded,
    };
  }
}

function none(): undefined {}
