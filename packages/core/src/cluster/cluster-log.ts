/**
 * The lines of the log about a cluster: endpoints that go and come back, and discovery that fails and recovers.
 * One line for each change at most; a call that changes nothing never gets here.
 */
import type { BreakerTrigger } from "../breaker/breaker.ts";
import type { Reply } from "../call.ts";
import { LimitedLog } from "../limited-log.ts";
import { duration } from "../shown-time.ts";
import type { Log } from "../log.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Cluster } from "./cluster.ts";
import type { Endpoint } from "./endpoint.ts";

export class ClusterLog<Req, R extends Reply> {
  readonly #cluster: Cluster<Req, R>;
  readonly #runtime: Runtime;
  readonly #breakers: LimitedLog;
  /** Apart: rare, and not to be lost among many breakers. */
  readonly #panic: LimitedLog;
  readonly #discovery: LimitedLog;
  /** What is wrong with discovery, as it was last written, and since when. */
  #problem: "failed" | "empty" | undefined = undefined;
  #problemText: string | undefined = undefined;
  #problemAt = 0;
  #excess = 0;

  constructor(log: Log, cluster: Cluster<Req, R>, runtime: Runtime) {
    this.#cluster = cluster;
    this.#runtime = runtime;
    this.#breakers = new LimitedLog(log, runtime, cluster.name, () => this.#inUse());
    this.#panic = new LimitedLog(log, runtime, cluster.name, () => this.#inUse());
    this.#discovery = new LimitedLog(log, runtime, cluster.name, () => this.#known());
  }

  close(): void {
    this.#breakers.close();
    this.#panic.close();
    this.#discovery.close();
  }

  // ── breakers ─────────────────────────────────────────────────────────────────────────────────

  /** The breaker of `endpoint` has changed its state, and the lists know. */
  breaker(endpoint: Endpoint): void {
    const { breaker, address } = endpoint;
    if (breaker.state === "open") {
      this.#breakers.write("breaker.ejected", () => this.#ejected(endpoint), address);
    } else if (breaker.state === "half-open") {
      const message = `${address} gets one call, which decides whether it gets more`;
      this.#breakers.write("breaker.probing", () => message, address);
    } else {
      const outMs = this.#runtime.now() - breaker.outSince;
      const message = (): string =>
        `${address} gets calls again, after ${duration(outMs)}; ${this.#inUse()}`;
      this.#breakers.write("breaker.recovered", message, address);
    }
  }

  panic(on: boolean): void {
    if (on) {
      const message = (): string =>
        `more endpoints fail than breaker.maxEjectedRatio allows to eject: those that fail get calls too; ${this.#inUse()}`;
      this.#panic.write("balancer.panic", message);
    } else {
      const message = (): string => `endpoints that fail get no calls again; ${this.#inUse()}`;
      this.#panic.write("balancer.panic_over", message);
    }
  }

  #ejected(endpoint: Endpoint): string {
    const { address, breaker } = endpoint;
    const why = because(endpoint, breaker.trigger);
    if (!breaker.hard && this.#cluster.lists.panic) {
      return `${address} fails (${why}), and gets calls all the same, because too many endpoints fail; ${this.#inUse()}`;
    }
    const pauseMs = breaker.openUntil - breaker.changedAt;
    const until = breaker.hard ? "until a connection comes about" : `for ${duration(pauseMs)}`;
    return `${address} gets no calls ${until} (${why}); ${this.#inUse()}`;
  }

  #inUse(): string {
    const { lists, endpoints } = this.#cluster;
    const { available, spare, draining, ejected, panic } = lists;
    const others = available.length + spare.length + (panic ? ejected.length : 0);
    const used = others > 0 ? others : draining.length;
    return `${used} of ${endpoints.size} endpoints get calls`;
  }

  // ── discovery ────────────────────────────────────────────────────────────────────────────────

  /** The source has failed. It may report so again and again: the same text is written once. */
  failed(error: Error, source: string): void {
    if (this.#problem === "failed" && this.#problemText === error.message) return;
    this.#begins("failed", error.message);
    const message = (): string => `discovery (${source}) fails: ${error.message}. ${this.#kept()}`;
    this.#discovery.write("discovery.failed", message);
  }

  /** The source has answered, and the cluster has its endpoints. */
  answered(source: string): void {
    const { size } = this.#cluster.endpoints;
    if (size === 0) {
      if (this.#problem === "empty") return;
      const why = this.#cluster.emptyBecause;
      this.#begins("empty", why);
      const how = why === undefined ? "" : ` (${why})`;
      const message = `discovery (${source}) says that there are no endpoints${how}: calls fail until there are`;
      return this.#discovery.write("discovery.empty", () => message);
    }
    if (this.#problem === undefined) return;
    this.#problem = undefined;
    const forMs = this.#runtime.now() - this.#problemAt;
    const message = `discovery (${source}) names ${counted(size)}, after ${duration(forMs)} of trouble`;
    this.#discovery.write("discovery.recovered", () => message);
  }

  /** So many endpoints of the last answer were left out. */
  excess(count: number, maxEndpoints: number): void {
    const before = this.#excess;
    this.#excess = count;
    if (count === 0 || count === before) return;
    const message = `${counted(count)} left out: limits.maxEndpoints is ${maxEndpoints}. Raise it, or have discovery name fewer`;
    this.#discovery.write("discovery.excess", () => message);
  }

  /** A source breaks its contract; nothing depends on it. */
  late(source: string): void {
    const message = `discovery (${source}) reports after it was stopped, which is ignored: its stop() has to end what it has begun`;
    this.#discovery.write("discovery.late", () => message);
  }

  #begins(problem: "failed" | "empty", text: string | undefined): void {
    if (this.#problem === undefined) this.#problemAt = this.#runtime.now();
    this.#problem = problem;
    this.#problemText = text;
  }

  #kept(): string {
    const { known, endpoints } = this.#cluster;
    if (!known) return "No endpoint is known yet, and calls fail until it answers";
    if (endpoints.size === 0) return "Before that it named none, and calls fail";
    return `Calls go to the ${counted(endpoints.size)} that it named last`;
  }

  #known(): string {
    const { stale, endpoints } = this.#cluster;
    const how = stale === undefined ? "answers" : `fails (${stale.message})`;
    return `discovery ${how}, and ${counted(endpoints.size)} known`;
  }
}

function because({ breaker }: Endpoint, trigger: BreakerTrigger | undefined): string {
  switch (trigger) {
    case "streak":
      return `${breaker.streak} failures in a row`;
    case "ratio":
      return `${breaker.window.total - breaker.window.success} of its last ${breaker.window.total} answers were failures`;
    case "connect":
      return "no connection comes about";
    case "probe":
    case undefined:
      return "the call that tried it failed";
  }
}

function counted(endpoints: number): string {
  return endpoints === 1 ? "1 endpoint" : `${endpoints} endpoints`;
}
