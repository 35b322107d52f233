/**
 * What the parts of a cluster share: the endpoints, the lists that pickers draw from, and the settings in
 * force. `members.ts` writes who is there, `outcomes.ts` what is learned of them, `guard.ts` whose breaker
 * is open, `panic.ts` whether that is enforced.
 */
import type { Reply } from "../call.ts";
import type { BreakerConfig } from "../breaker/options.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Connection, Transport } from "../transport.ts";
import type { Endpoint } from "./endpoint.ts";
import type { LatencyOptions } from "./latency.ts";
import { EndpointLists } from "./lists.ts";

export interface ClusterOptions {
  readonly balancer: LatencyOptions & { readonly slowStartMs: number };
  readonly breaker: BreakerConfig;
  readonly maxEndpoints: number;
  readonly drainGraceMs: number;
}

/** What the cluster reports to telemetry, the log and observers. Called when the change has been made. */
export interface ClusterRecorder {
  /** The breaker of the endpoint has changed its state. */
  transition(endpoint: Endpoint): void;
  /** An endpoint of discovery came, went, got another weight, or began or ended to drain. */
  changed(endpoint: Endpoint, kind: "added" | "removed" | "weight" | "draining"): void;
  suppressed(): void;
  panic(on: boolean): void;
  updated(added: number, removed: number): void;
  /** Endpoints of the last answer of discovery that `maxEndpoints` had no room for; 0: it had. */
  excess(count: number, maxEndpoints: number): void;
  /** Discovery has answered. */
  answered(): void;
  /** Discovery has reported a failure. */
  failed(error: Error): void;
  /** An endpoint's counters are given up. */
  forgotten(endpoint: Endpoint): void;
  /** An attempt had to wait so long for an endpoint, a connection or a stream. */
  waited(ms: number): void;
  /** An attempt had a connection. `reused`: which had carried another before. */
  connected(reused: boolean): void;
  /** A call was handed to its first connection so long after it had begun; of a sample. */
  handedOver(ms: number): void;
}

export class ClusterState<Req, R extends Reply> {
  readonly lists: EndpointLists<Req, R> = new EndpointLists<Req, R>();
  /** Those that discovery names, by key. Writer: members. */
  readonly endpoints: Map<string, Endpoint<Req, R>> = new Map();
  /** Removed lately: their counters and connections are kept for a while. Writer: members. */
  readonly departed: Map<string, Endpoint<Req, R>> = new Map();
  /** Asks discovery to look again; set by the service that watches. */
  onSuspicion: (() => void) | undefined = undefined;
  options: ClusterOptions;
  transport: Transport<Req, R>;
  readonly recorder: ClusterRecorder;
  readonly runtime: Runtime;
  /** For good: nothing is added, dialled or tried any more. */
  closed = false;

  constructor(
    options: ClusterOptions,
    transport: Transport<Req, R>,
    recorder: ClusterRecorder,
    runtime: Runtime,
  ) {
    this.options = options;
    this.transport = transport;
    this.recorder = recorder;
    this.runtime = runtime;
  }

  /** The endpoints, and those that were removed a short time ago. */
  every(): Endpoint<Req, R>[] {
    return [...this.endpoints.values(), ...this.departed.values()];
  }

  /** Its connection, made if it has none. */
  connectionOf(endpoint: Endpoint<Req, R>): Connection<Req, R> {
    return (endpoint.connection ??= this.transport.connect(endpoint.info));
  }

  /** New attempts get a new connection; the old one ends with its attempts, within the grace. */
  disconnect(endpoint: Endpoint<Req, R>): void {
    void endpoint.connection?.close(this.options.drainGraceMs);
    endpoint.connection = undefined;
  }
}
