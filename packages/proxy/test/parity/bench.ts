/**
 * One run of a scenario: its servers, a mesh, and what stands in the mesh's place between caller and servers, which
 * is the library or the proxy. What the run has left behind, in replies, at the servers and in what the mesh says
 * of itself, is its evidence.
 */
import { once } from "node:events";
import { createServer, type AddressInfo, type Server } from "node:net";
import { PassThrough } from "node:stream";
import type { TlsOptions } from "node:tls";
import { accessLog, type LogLine, type MeshOptions, type TapEvent } from "@inmesh/core";
import {
  meshGrpcServer,
  type GrpcServerOptions,
  type MeshGrpcServer,
} from "../../../grpc/src/index.ts";
import {
  createMesh,
  meshClient,
  meshServer,
  type MeshServer,
  type Posture,
  type HttpMesh,
  type ServerLimits,
} from "@inmesh/http";
import { SeededRuntime, until as untilWithin } from "../../../http/test/wire.ts";
import { startProxy, type RunningProxy } from "../../src/index.ts";
import { LibraryCaller, wireCaller, type Answer, type Ask, type Caller } from "./callers.ts";
import { evidenceOf, type Evidence } from "./evidence.ts";
import { GrpcApplication, meshCaller, plainCaller, type ServeCall } from "./grpc.ts";
import { forwarding } from "./forwarding.ts";
import { isInbound, type Kind } from "./kind.ts";
import { Application, Upstream, type Serve, type Version } from "./upstream.ts";

/** By which way a scenario runs, and the versions of HTTP on both sides of it. */
export interface Way {
  readonly side: "library" | "proxy";
  /** Between the caller and the proxy, or the server of the library. */
  readonly down: Version;
  /** Between the mesh and the servers. */
  readonly up: Version;
}

export interface StartOptions {
  readonly services?: Readonly<Record<string, object>>;
  readonly mesh?: Omit<MeshOptions, "config">;
  /** Of the server, or listener, that is called. */
  readonly posture?: Posture;
  readonly limits?: Partial<ServerLimits> & GrpcServerOptions["limits"];
  /** What the configuration says of it. */
  readonly server?: object;
}

const SERVER = "served";
const APP = "app";
const SEED = 4_711;
const SETTLED_MS = 12;

/** Resolves when it holds; rejects after a time that only a mistake takes. */
export const until = (holds: () => boolean): Promise<unknown> => untilWithin(holds, 20_000);

export class Bench {
  readonly kind: Kind;
  readonly way: Way;
  readonly answers: Answer[] = [];
  /** Names of servers in the order in which requests came to them. */
  readonly order: string[] = [];
  /** What a scenario says itself of what it has seen. */
  readonly facts: Record<string, unknown> = {};
  readonly logLines: LogLine[] = [];
  readonly tapped: TapEvent[] = [];
  readonly runtime: SeededRuntime = new SeededRuntime(SEED);
  mesh!: HttpMesh;
  /** Of the server, or listener, that is called. */
  address = "";
  /** What code says of it. */
  config: object = {};
  #proxy: RunningProxy | undefined = undefined;
  #server: MeshServer | MeshGrpcServer | undefined = undefined;
  readonly #applications: (Application | GrpcApplication)[] = [];
  readonly #accessLines: string[] = [];
  readonly #names = new Map<string, string>();
  #listening: Server | undefined = undefined;
  #caller!: Caller;
  #reading: Promise<void> = Promise.resolve();
  #flushed: Promise<unknown> = Promise.resolve();
  #ended: () => void = () => {};

  constructor(kind: Kind, way: Way) {
    this.kind = kind;
    this.way = way;
  }

  /** A server, on a socket, that follows a script. `name` stands for its address in the evidence. */
  async upstream(
    name: string,
    serve: Serve,
    version: Version = this.way.up,
    tls?: TlsOptions,
  ): Promise<Upstream> {
    const one = await new Upstream(name, version, serve, this.order, tls).start();
    this.#applications.push(one);
    this.named(name, one.address);
    return one;
  }

  /** Stands for that address in the evidence. */
  named(name: string, address: string): void {
    this.#names.set(address, name);
  }

  /** Of a service whose endpoints these are. */
  service(upstreams: readonly { readonly address: string }[], more: object = {}): object {
    return {
      http2: this.way.up === 2,
      discovery: { static: upstreams.map(({ address }) => address) },
      balancer: { kind: "round-robin" },
      retry: { attempts: 2, backoff: "1ms", maxBackoff: "2ms" },
      ...more,
    };
  }

  /** The mesh, and what calls it or is called. `serve`: what the application does that is called (`inbound`). */
  async start(options: StartOptions, serve?: Serve): Promise<void> {
    let app: Upstream | Application | undefined;
    if (serve !== undefined) {
      if (this.way.side === "proxy") app = await this.upstream(APP, serve);
      else this.#applications.push((app = new Application(APP, serve, this.order)));
    }
    await this.#start(options, app instanceof Upstream ? app.address : undefined, (settings) => {
      const listener = app === undefined ? forwarding(this.mesh) : app.listener;
      return this.#startServer(listener as never, settings);
    });
  }

  /** The same of an application of gRPC. */
  async startGrpc(options: StartOptions, serve: ServeCall): Promise<void> {
    const app = new GrpcApplication(APP, serve, this.order);
    this.#applications.push(app);
    const isBehind = this.way.side === "proxy";
    const address = isBehind ? await app.listen() : undefined;
    if (address !== undefined) this.named(APP, address);
    await this.#start(options, address, async (settings) => {
      const server = meshGrpcServer(app.server, settings as GrpcServerOptions);
      this.#server = server;
      return server.listen("127.0.0.1:0");
    });
  }

  /** `behind`: where the application listens that a listener of the proxy stands before. */
  async #start(
    options: StartOptions,
    behind: string | undefined,
    startServer: (settings: object) => Promise<number>,
  ): Promise<void> {
    const { kind, way } = this;
    const { services = {}, server = {}, mesh: meshOptions } = options;
    const stream = new PassThrough();
    stream.setEncoding("utf8").on("data", (text: string) => {
      this.#accessLines.push(...text.split("\n").filter((line) => line !== ""));
    });
    this.#flushed = once(stream, "end");
    const exporters = [accessLog({ stream, outbound: true, query: true })];
    const app = behind !== undefined && {
      [APP]: this.service([{ address: behind }], { retry: { attempts: 1 } }),
    };
    this.config = {
      services: { ...services, ...app },
      servers: { [SERVER]: server },
    };
    this.mesh = createMesh({
      env: {},
      runtime: this.runtime,
      exporters,
      log: (line) => this.logLines.push(line),
      ...meshOptions,
      config: this.config as never,
    });
    this.#reading = this.#readTap();
    this.#ended = (): void => void stream.end();
    if (kind === "grpc" && way.side === "library") {
      this.runtime.reseed(SEED);
      this.#caller = meshCaller(this.mesh);
      return;
    }
    if (kind === "outbound" && way.side === "library") {
      this.runtime.reseed(SEED);
      const clients = new Map<string, ReturnType<typeof meshClient>>();
      this.#caller = new LibraryCaller(this.mesh, (name) => {
        let client = clients.get(name);
        if (client === undefined)
          clients.set(name, (client = meshClient(name, { mesh: this.mesh })));
        return client;
      });
      return;
    }
    const { posture, limits } = options;
    const settings = {
      mesh: this.mesh,
      name: SERVER,
      ...(posture !== undefined && { posture }),
      ...(limits !== undefined && { limits }),
    };
    const port =
      way.side === "proxy" ? await this.#startProxy(options) : await startServer(settings);
    this.address = `127.0.0.1:${port}`;
    if (kind === "grpc" || kind === "grpc-inbound") this.#caller = plainCaller(port);
    else this.#caller = wireCaller(way.down, { port, readsErrors: kind === "outbound" });
    if (kind === "hop" || isInbound(kind)) return;
    // Its connection to the proxy is there, which has drawn its age: what is drawn from now on is for calls.
    if (kind === "outbound") await this.#caller.ask({ to: "no-such-service" });
    else await this.#connected();
    this.runtime.reseed(SEED);
  }

  async #startProxy({ posture, limits }: StartOptions): Promise<number> {
    const isBefore = isInbound(this.kind);
    const proxy = startProxy({
      mesh: this.mesh,
      listeners: [
        {
          name: SERVER,
          mode: isBefore ? "inbound" : "outbound",
          ...(isBefore && { service: APP }),
          ...(posture !== undefined && { posture }),
          ...(limits !== undefined && { limits }),
        },
      ],
    });
    this.#proxy = proxy;
    const spoken = this.way.down === 1 ? "http1" : "http2";
    const server = createServer({ allowHalfOpen: true }, (socket) =>
      proxy.listeners[0]!.handle(socket, undefined, spoken),
    );
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    this.#listening = server;
    return (server.address() as AddressInfo).port;
  }

  async #startServer(listener: never, settings: object): Promise<number> {
    const server = meshServer(listener, {
      ...settings,
      ...(this.way.down === 2 && { http2: true }),
    }) as MeshServer;
    this.#server = server;
    const { port } = await server.listen(0, "127.0.0.1");
    return port;
  }

  /** A client of gRPC has nothing that it could ask in vain: its connection is waited for. */
  async #connected(): Promise<void> {
    this.#caller.warm?.();
    await until(() => this.#proxy!.listeners[0]!.connections === 1);
  }

  get #isCalled(): boolean {
    return isInbound(this.kind) || this.kind === "hop";
  }

  // ── what a scenario does ─────────────────────────────────────────────────────────────────────

  /** One call; its answer is part of the evidence, in the order in which calls are made. */
  async ask(ask: Ask = {}): Promise<Answer> {
    const at = this.answers.length;
    this.answers.push({});
    // Behind the end of the call before: its connection is free.
    await new Promise((resolve) => setImmediate(resolve));
    const answer = await this.#caller.ask(ask);
    this.answers[at] = answer;
    return answer;
  }

  async askTimes(times: number, ask: Ask = {}): Promise<void> {
    for (let i = 0; i < times; i++) await this.ask(ask);
  }

  note(name: string, value: unknown): void {
    this.facts[name] = value;
  }

  /** Leaves as on SIGTERM. */
  drain(graceMs: number): Promise<void> {
    return (this.#proxy ?? this.#server!).drain(graceMs);
  }

  /** Of the server, or listener, that is called. */
  get #served(): { readonly state: string; readonly refused: object } {
    return (this.#proxy?.listeners[0] ?? this.#server!).snapshot();
  }

  get state(): string {
    return this.#served.state;
  }

  /** By that server, or listener, by reason. */
  get refused(): Readonly<Record<string, number>> {
    return this.#served.refused as Record<string, number>;
  }

  /** Attempts that wait for a connection. */
  get queued(): number {
    return this.#gauge("inmesh.queue.depth");
  }

  #gauge(name: string): number {
    return this.mesh
      .metrics()
      .reduce((sum, one) => (one.name === name && "value" in one ? sum + one.value : sum), 0);
  }

  // ── its end ──────────────────────────────────────────────────────────────────────────────────

  /** Waits until nothing is in progress, ends everything, and gives what was left behind. */
  async finish(): Promise<Evidence> {
    const { mesh } = this;
    await until(() => mesh.snapshot().services.every(({ callsInFlight }) => callsInFlight === 0));
    await until(() => this.#gauge("inmesh.call.active") === 0);
    await this.#settled();
    const metrics = mesh.metrics();
    const snapshot = mesh.snapshot();
    const served = !this.#isCalled ? undefined : { ...this.#served.refused };
    await this.close();
    return evidenceOf({
      kind: this.kind,
      answers: this.answers,
      order: this.order,
      facts: this.facts,
      applications: this.#applications,
      refused: served,
      metrics,
      snapshot,
      tapped: this.tapped,
      accessLines: this.#accessLines,
      logLines: this.logLines,
      names: this.#names,
    });
  }

  /** Until the ends of connections, too, have been counted. */
  async #settled(): Promise<void> {
    let before = "";
    for (;;) {
      const counts = this.mesh
        .metrics()
        .filter(({ name, kind }) => kind === "counter" || name === "inmesh.connections");
      const now = JSON.stringify(counts.map((one) => ("value" in one ? one.value : 0)));
      if (now === before) return;
      before = now;
      await new Promise((resolve) => setTimeout(resolve, SETTLED_MS));
    }
  }

  async close(): Promise<void> {
    this.#caller?.close();
    this.#listening?.close();
    await this.#proxy?.close(0);
    await this.#server?.close(0);
    await this.mesh?.close(0);
    await this.#reading;
    this.#ended();
    await this.#flushed;
    for (const one of this.#applications) {
      if (one instanceof Upstream) await one.stop();
      else if (one instanceof GrpcApplication) one.server.forceShutdown();
    }
  }

  async #readTap(): Promise<void> {
    const tap = this.mesh.tap({ headers: true, query: true, maxPerSecond: 1_000 });
    for await (const event of tap) this.tapped.push(event);
  }
}
