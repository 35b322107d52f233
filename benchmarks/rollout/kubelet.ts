/**
 * Plays the kubelet of one node: binds the pods of a namespace to it, runs their processes, says in their status what
 * their readiness probe says, and ends them with SIGTERM and within their grace period, as Kubernetes does.
 */
import { request } from "node:https";
import type { ControlPlane } from "../../packages/discovery-k8s/test/support/control-plane.ts";
import { Pod, type Record } from "./pod.ts";

const NODE = "node-1";
const MERGE = "application/merge-patch+json";
const WATCH_AGAIN_MS = 50;

interface ContainerPort {
  readonly name: string;
  readonly containerPort: number;
}

/** As much of it as is needed here. */
interface PodObject {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly deletionTimestamp?: string;
  };
  readonly spec: {
    readonly nodeName?: string;
    readonly terminationGracePeriodSeconds: number;
    readonly containers: readonly {
      readonly name: string;
      readonly ports: readonly ContainerPort[];
      readonly readinessProbe: {
        readonly httpGet: { readonly path: string };
        readonly periodSeconds: number;
        readonly failureThreshold: number;
      };
    }[];
  };
}

interface PodEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly object: PodObject;
}

export class Kubelet {
  readonly #cluster: ControlPlane;
  readonly #path: string;
  readonly #record: Record;
  readonly #pods = new Map<string, Pod>();
  /** Writes for a pod follow each other. */
  readonly #writes = new Map<string, Promise<unknown>>();
  readonly #bound = new Set<string>();
  #made = 0;
  #stopped = false;
  #endWatch = (): void => {};

  constructor(cluster: ControlPlane, namespace: string, record: Record) {
    this.#cluster = cluster;
    this.#path = `/api/v1/namespaces/${namespace}/pods`;
    this.#record = record;
  }

  async start(): Promise<void> {
    const metadata = { name: NODE };
    await this.#write("POST", "/api/v1/nodes", { kind: "Node", apiVersion: "v1", metadata });
    void this.#watch();
  }

  stop(): void {
    this.#stopped = true;
    this.#endWatch();
    for (const pod of this.#pods.values()) pod.stop();
  }

  get running(): number {
    return this.#pods.size;
  }

  async #watch(): Promise<void> {
    while (!this.#stopped) {
      // Without a version it begins with all pods as added.
      await this.#watchOnce().catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, WATCH_AGAIN_MS));
    }
  }

  #watchOnce(): Promise<void> {
    return new Promise((resolve, reject) => {
      const sent = request(this.#cluster.requestTo("GET", `${this.#path}?watch=true`), (reply) => {
        let rest = "";
        reply.setEncoding("utf8");
        reply.on("data", (chunk: string) => {
          const lines = (rest + chunk).split("\n");
          rest = lines.pop()!;
          for (const line of lines) this.#event(JSON.parse(line) as PodEvent);
        });
        reply.on("end", resolve);
        reply.on("error", reject);
      });
      sent.on("error", reject);
      sent.end();
      this.#endWatch = () => sent.destroy();
    });
  }

  #event({ type, object }: PodEvent): void {
    if (this.#stopped) return;
    const { name, uid, deletionTimestamp } = object.metadata;
    const known = this.#pods.get(uid);
    if (type === "DELETED") return void this.#pods.delete(uid);
    if (deletionTimestamp !== undefined) {
      if (known !== undefined && !known.isTerminating) void this.#end(known);
      return;
    }
    if (object.spec.nodeName === undefined) {
      if (this.#bound.has(uid)) return;
      this.#bound.add(uid);
      const target = { apiVersion: "v1", kind: "Node", name: NODE };
      const binding = { apiVersion: "v1", kind: "Binding", metadata: { name }, target };
      this.#next(name, () => this.#write("POST", `${this.#path}/${name}/binding`, binding));
    } else if (known === undefined) this.#run(object);
  }

  #run({ metadata: { name, uid }, spec }: PodObject): void {
    const [{ ports, readinessProbe }] = spec.containers as [PodObject["spec"]["containers"][0]];
    const portOf = (wanted: string): number =>
      ports.find((port) => port.name === wanted)!.containerPort;
    const number = ++this.#made;
    const address = `10.244.${1 + (number >> 7)}.${1 + (number & 127)}`;
    const { httpGet, periodSeconds, failureThreshold } = readinessProbe;
    const pod = new Pod(
      {
        name,
        uid,
        address,
        ports: { http: portOf("http"), grpc: portOf("grpc") },
        probe: { path: httpGet.path, periodMs: periodSeconds * 1_000, failureThreshold },
        graceMs: spec.terminationGracePeriodSeconds * 1_000,
      },
      this.#record,
      () => this.#say(pod),
    );
    this.#pods.set(uid, pod);
    pod.start();
    this.#say(pod);
  }

  #say({ options: { name, address }, isReady }: Pod): void {
    if (this.#stopped) return;
    const condition = (type: string, isTrue: boolean): object => ({
      type,
      status: isTrue ? "True" : "False",
      lastTransitionTime: new Date().toISOString().replace(/\.\d+/, ""),
    });
    const status = {
      phase: "Running",
      hostIP: "10.244.0.1",
      podIP: address,
      podIPs: [{ ip: address }],
      conditions: [
        condition("PodScheduled", true),
        condition("Initialized", true),
        condition("ContainersReady", isReady),
        condition("Ready", isReady),
      ],
    };
    this.#next(name, () => this.#write("PATCH", `${this.#path}/${name}/status`, { status }, MERGE));
  }

  async #end(pod: Pod): Promise<void> {
    await pod.terminate();
    const { name, uid } = pod.options;
    const options = { gracePeriodSeconds: 0, preconditions: { uid } };
    this.#next(name, () => this.#write("DELETE", `${this.#path}/${name}`, options));
  }

  #next(name: string, write: () => Promise<unknown>): void {
    const before = this.#writes.get(name) ?? Promise.resolve();
    this.#writes.set(name, before.then(write));
  }

  /** What is gone needs nothing any more. */
  async #write(method: string, path: string, body: object, type?: string): Promise<void> {
    const { status, text } = await this.#cluster.ask(method, path, body, type);
    if (status >= 300 && status !== 404 && status !== 409 && !this.#stopped) {
      throw new Error(`${method} ${path}: ${status} ${text}`);
    }
  }
}
