/** A small fleet in virtual time: FIFO servers, Poisson arrivals, faults; the mesh is the real one. */
import type { EndpointSnapshot } from "../snapshot.ts";
import { createHash } from "node:crypto";
import { Call } from "../call.ts";
import type { ServiceInput } from "../config/input.ts";
import { ServedRequest } from "../context.ts";
import { MeshError } from "../errors.ts";
import { createMesh, type Mesh } from "../mesh.ts";
import type { MeshOptions } from "../mesh-options.ts";
import type { Service } from "../protocol.ts";
import { SimRuntime } from "./sim-runtime.ts";
import { StubRequest, stubProtocol, type StubExchange, type StubReply } from "./stub-transport.ts";

export type Mode =
  | { readonly kind: "ok" | "fail-fast" | "silent" | "refuse" }
  | { readonly kind: "slow"; readonly factor: number }
  | { readonly kind: "failing"; readonly share: number }
  | { readonly kind: "forward"; readonly to: Scenario }
  | { readonly kind: "busy"; readonly retryAfterMs: number };

export interface ScenarioOptions {
  readonly seed: number;
  /** Shared by the hops of a chain. */
  readonly runtime?: SimRuntime;
  readonly endpoints: number;
  /** Attempts that one server works on at a time; the others wait in order. Default 8. */
  readonly workers?: number;
  /** Mean of the exponential service time. Default 10. */
  readonly serviceMs?: number;
  /** What every service time has at least, on top of the exponential part. Default 0. */
  readonly floorMs?: number;
  readonly service?: ServiceInput;
  readonly discovery?: MeshOptions["discovery"];
  /** The zone of the caller. */
  readonly zone?: string;
  /** Its servers are called, and time is its time: this is another caller of the same fleet. */
  readonly fleet?: Scenario;
  readonly telemetry?: MeshOptions["telemetry"];
  readonly log?: MeshOptions["log"];
}

export interface CallResult {
  readonly number: number;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly code: number;
  /** Empty if there was a reply. */
  readonly reason: string;
}

export interface Pick {
  readonly at: number;
  readonly address: string;
  readonly call: Call<StubRequest>;
}

const OK: Mode = { kind: "ok" };
const FAIL_FAST_MS = 1;

class Server {
  mode: Mode = OK;
  readonly #runtime: SimRuntime;
  readonly #serviceMs: number;
  readonly #floorMs: number;
  readonly #queue: StubExchange[] = [];
  #idle: number;

  constructor(runtime: SimRuntime, { workers = 8, serviceMs = 10, floorMs = 0 }: ScenarioOptions) {
    this.#runtime = runtime;
    this.#serviceMs = serviceMs;
    this.#floorMs = floorMs;
    this.#idle = workers;
  }

  take(exchange: StubExchange): void {
    const { mode } = this;
    if (mode.kind === "silent") return;
    if (mode.kind === "refuse") return exchange.fail(refused(), "failure", true);
    if (mode.kind === "busy") {
      return exchange.reply("overloaded", 429, { retryAfterMs: mode.retryAfterMs });
    }
    if (mode.kind === "forward") return mode.to.forward(exchange);
    if (mode.kind === "fail-fast") {
      this.#runtime.after(FAIL_FAST_MS, () => exchange.reply("failure", 500), undefined);
      return;
    }
    this.#queue.push(exchange);
    this.#work();
  }

  #work(): void {
    while (this.#idle > 0) {
      const exchange = this.#queue.shift();
      if (exchange === undefined) return;
      if (exchange.attempt.outcome !== undefined) continue;
      this.#idle--;
      const { mode } = this;
      const factor = mode.kind === "slow" ? mode.factor : 1;
      const fails = mode.kind === "failing" && this.#runtime.random() < mode.share;
      const drawn = -Math.log(1 - this.#runtime.random()) * this.#serviceMs;
      const ms = (this.#floorMs + drawn) * factor;
      this.#runtime.after(
        ms,
        () => {
          this.#idle++;
          if (fails) exchange.reply("failure", 500);
          else exchange.reply();
          this.#work();
        },
        undefined,
      );
    }
  }
}

export class Scenario {
  readonly runtime: SimRuntime;
  readonly mesh: Mesh;
  readonly service: Service<StubRequest, StubReply>;
  readonly addresses: readonly string[];
  readonly picks: Pick[] = [];
  readonly results: CallResult[] = [];
  readonly #servers = new Map<string, Server>();
  readonly #options: ScenarioOptions;
  readonly #hash = createHash("sha256");
  #calls = 0;

  constructor(options: ScenarioOptions) {
    this.#options = options;
    this.runtime = options.runtime ?? options.fleet?.runtime ?? new SimRuntime(options.seed);
    this.addresses = Array.from({ length: options.endpoints }, (_, i) => `10.0.0.${i + 1}:80`);
    const orders: ServiceInput = {
      url: "http://orders:80",
      // A set of none is for tests that report endpoints themselves.
      discovery: { static: options.endpoints > 0 ? this.addresses : ["10.0.0.1:80"] },
      ...options.service,
    };
    this.mesh = createMesh({
      env: {},
      runtime: this.runtime,
      config: { services: { orders } },
      ...(options.discovery && { discovery: options.discovery }),
      ...(options.zone !== undefined && { zone: options.zone }),
      ...(options.telemetry && { telemetry: options.telemetry }),
      ...(options.log && { log: options.log }),
    });
    const protocol = stubProtocol(
      (exchange, address) => {
        const { call } = exchange.attempt;
        this.picks.push({ at: this.runtime.now(), address, call });
        this.#hash.update(`pick ${this.runtime.now()} ${address}\n`);
        this.server(address).take(exchange);
      },
      (address) => Promise.resolve(this.server(address).mode.kind !== "refuse"),
    );
    this.service = this.mesh.service("orders", protocol);
  }

  server(address: string): Server {
    if (this.#options.fleet !== undefined) return this.#options.fleet.server(address);
    let server = this.#servers.get(address);
    if (server === undefined) {
      this.#servers.set(address, (server = new Server(this.runtime, this.#options)));
    }
    return server;
  }

  set(address: string, mode: Mode): void {
    this.server(address).mode = mode;
  }

  call(method = "GET", change: (call: Call<StubRequest>) => void = () => {}): void {
    const number = ++this.#calls;
    const startedAt = this.runtime.now();
    const call = new Call("orders", new StubRequest("/", method), method === "GET", true);
    change(call);
    const ended = (code: number, reason: string): void => {
      const endedAt = this.runtime.now();
      this.results.push({ number, startedAt, endedAt, code, reason });
      this.#hash.update(`end ${number} ${endedAt} ${code} ${reason}\n`);
    };
    this.service.current(call).then(
      ({ code }) => ended(code, ""),
      (error: unknown) => ended(0, error instanceof MeshError ? error.reason : String(error)),
    );
  }

  /** The next hop of an attempt: its number is passed on; the reply goes back, marked if it retried. */
  forward(exchange: StubExchange): void {
    const { attempt } = exchange;
    const { request, inheritedAttempt, idempotent } = attempt.call;
    const call = new Call("orders", request, idempotent, true);
    call.inheritedAttempt = Math.max(inheritedAttempt, attempt.number);
    const served = new ServedRequest();
    served.adopt(call);
    this.service.current(call).then(
      ({ outcome, code }) => exchange.reply(outcome, code, { final: served.exhausted }),
      () => exchange.reply("failure", 502, { final: served.exhausted }),
    );
  }

  /** Poisson arrivals for `ms`. */
  async load(perSecond: number, ms: number, method = "GET"): Promise<void> {
    this.arrive(perSecond, ms, method);
    await this.runtime.runUntil(this.runtime.now() + ms);
  }

  /** The same, without letting time pass: for several callers of one fleet. */
  arrive(perSecond: number, ms: number, method = "GET"): void {
    const until = this.runtime.now() + ms;
    const next = (): void => {
      const gap = (-Math.log(1 - this.runtime.random()) * 1000) / perSecond;
      if (this.runtime.now() + gap >= until) return;
      this.runtime.after(
        gap,
        () => {
          this.call(method);
          next();
        },
        undefined,
      );
    };
    next();
  }

  /** Share of the picks in [from, to) that went to `address`. */
  share(address: string, from: number, to: number = Infinity): number {
    const all = this.picks.filter(({ at }) => at >= from && at < to);
    return all.filter((pick) => pick.address === address).length / Math.max(1, all.length);
  }

  /** Share of the calls started in [from, to) that did not end with 200. */
  errors(from: number, to: number = Infinity): number {
    const all = this.results.filter(({ startedAt }) => startedAt >= from && startedAt < to);
    return all.filter(({ code }) => code !== 200).length / Math.max(1, all.length);
  }

  p99(from: number, to: number = Infinity): number {
    const all = this.results
      .filter(({ startedAt }) => startedAt >= from && startedAt < to)
      .map(({ startedAt, endedAt }) => endedAt - startedAt)
      .sort((a, b) => a - b);
    return all[Math.floor(all.length * 0.99)] ?? 0;
  }

  endpoint(address: string): EndpointSnapshot | undefined {
    return this.mesh.snapshot().services[0]!.endpoints.find((one) => one.address === address);
  }

  /** Of every pick and every end of a call so far. */
  transcript(): string {
    return this.#hash.copy().digest("hex");
  }
}

function refused(): MeshError {
  return new MeshError({
    code: "connect_failed",
    reason: "connect_refused",
    message: "refused",
    progress: "not-sent",
  });
}
