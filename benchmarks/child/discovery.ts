/**
 * Watches a Service in an API server of the parent: with our kind of discovery, in a mesh, or with the informer of
 * @kubernetes/client-node. What it has measured it sends back when the parent says stop. argv: JSON.
 */
import { createMesh, type Mesh } from "@inmesh/core";
import type { DiscoveryMesh, DiscoveryOfService, EndpointSink } from "@inmesh/core/spi/discovery";
import { Call, NodeRuntime } from "@inmesh/core/spi";
import { StubRequest, stubProtocol } from "@inmesh/core/testing";
import { kubernetes } from "@inmesh/discovery-k8s";
import type { ClientNode } from "../../packages/discovery-k8s/test/support/peers.ts";
import { settledHeap, threadMs } from "../child.ts";

export interface DiscoveryLoad {
  readonly mode: "memory" | "changes" | "informer";
  readonly kubeconfig: string;
  /** Of the Service `big`, and of the namespace. */
  readonly endpoints: number;
  readonly slices: number;
  /** Of @kubernetes/client-node, as an URL. */
  readonly client: string | undefined;
}

/** The number of endpoints that may be picked has changed, by the clock that both processes have. */
export interface SeenChange {
  readonly changedAt: number;
}

export interface DiscoveryRun {
  /** From the begin of the watch until all endpoints are known. */
  readonly firstListMs: number;
  readonly heapBytes: number;
  readonly rssBytes: number;
  /** What the event loop was held for at most, from the begin of the watch until all endpoints could be picked. */
  readonly listStallMs: number;
  /** And while things changed. */
  readonly stallMs: number;
  /** What the thread has computed while things changed, without the looks of the benchmark. */
  readonly computedMs: number;
  /** Names of slices that it has heard of, in this order. */
  readonly heard: readonly string[];
}

const load = JSON.parse(process.argv[2]!) as DiscoveryLoad;
const SERVICE = { namespace: "shop", service: "big", port: "http" };
const kept: unknown[] = [];
const heard: string[] = [];
let listStallMs = 0;
let stallMs = 0;
let computedMs = 0;
let isListing = false;
let isMeasuring = false;

const now = (): number => performance.timeOrigin + performance.now();

/**
 * What this thread computes between two looks, which come each millisecond unless something holds the event loop. Other
 * processes of a busy machine take nothing from it.
 */
function measureTurns(look: () => void): void {
  let before = threadMs();
  let wasListing = false;
  const turn = (): void => {
    const spent = threadMs() - before;
    if (isMeasuring) {
      stallMs = Math.max(stallMs, spent);
      computedMs += spent;
    } else if (wasListing) listStallMs = Math.max(listStallMs, spent);
    look();
    // Not the turn in which the mesh was made.
    wasListing = isListing;
    before = threadMs();
    setTimeout(turn, 1);
  };
  turn();
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** Our source alone; what it reports is counted and not kept, because that is the cluster's part. */
async function watchAlone(): Promise<() => boolean> {
  const made = new Map<unknown, unknown>();
  const mesh = {
    runtime: new NodeRuntime(),
    log: () => {},
    shared(make: (mesh: DiscoveryMesh) => unknown) {
      if (!made.has(make)) made.set(make, make(mesh as unknown as DiscoveryMesh));
      return made.get(make);
    },
  } as unknown as DiscoveryOfService;
  let size = 0;
  const sink: EndpointSink = {
    replace: (infos) => void (size = infos.length),
    change: (upserted, removed) => void (size += upserted.length - removed.length),
    failed: (error) => process.stderr.write(`${error.message}\n`),
  };
  // Loads the code first, which is not what an endpoint costs.
  const small = { ...SERVICE, service: "other-0" };
  const first = kubernetes({ kubeconfig: load.kubeconfig }).open(small, mesh).watch(sink);
  await until(() => size > 0);
  first.stop();
  size = 0;
  const discovery = kubernetes({ kubeconfig: load.kubeconfig }).open(SERVICE, mesh);
  return () => {
    if (kept.length === 0) kept.push(discovery.watch(sink));
    return size === load.endpoints;
  };
}

function meshOf(name: string): Mesh {
  const mesh = createMesh({
    env: {},
    discoveries: [kubernetes({ kubeconfig: load.kubeconfig })],
    config: {
      services: {
        [name]: {
          discovery: { kubernetes: `shop/${name}:http` },
          limits: { maxEndpoints: 2 * load.endpoints },
        },
      },
    },
  });
  const service = mesh.service(
    name,
    stubProtocol((exchange) => exchange.reply()),
  );
  // It wakes the service: discovery begins with the first call.
  service.current(new Call(name, new StubRequest("/"), true, true)).catch(() => {});
  return mesh;
}

/** A mesh with a service: what a call may pick. */
async function watchInMesh(): Promise<() => boolean> {
  // Loads the code first, which a process does once, with the first of its services.
  const first = meshOf("other-0");
  await until(() => first.running.backends[0]!.cluster.endpoints.size > 0);
  await first.close(0);
  let mesh: Mesh | undefined;
  let size = -1;
  measureTurns(() => {
    const here = mesh?.running.backends[0]!.cluster.endpoints.size ?? 0;
    if (here === size) return;
    size = here;
    if (!isMeasuring) return;
    const seen: SeenChange = { changedAt: now() };
    process.send!(seen);
  });
  return () => {
    if (mesh === undefined) kept.push((mesh = meshOf("big")));
    return size === load.endpoints;
  };
}

async function inform(): Promise<() => boolean> {
  const { KubeConfig, DiscoveryV1Api, makeInformer } = (await import(load.client!)) as ClientNode;
  const config = new KubeConfig();
  config.loadFromFile(load.kubeconfig);
  const slices = config.makeApiClient(DiscoveryV1Api);
  const path = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices";
  const list = (): Promise<unknown> => slices.listNamespacedEndpointSlice({ namespace: "shop" });
  const informer = makeInformer(config, path, list);
  let count = 0;
  const hear = ({ metadata }: { metadata?: { name?: string } }): void => {
    count++;
    if (isMeasuring) heard.push(metadata?.name ?? "");
  };
  informer.on("add", hear);
  informer.on("update", hear);
  informer.on("error", () => {});
  kept.push(informer);
  return () => {
    if (kept.length === 1) kept.push(informer.start());
    return count >= load.slices;
  };
}

const hasAll =
  load.mode === "memory"
    ? await watchAlone()
    : load.mode === "informer"
      ? await inform()
      : await watchInMesh();
const heapBefore = settledHeap();
const rssBefore = process.memoryUsage().rss;
const startedAt = performance.now();
hasAll();
isListing = true;
await until(hasAll);
isListing = false;
const firstListMs = performance.now() - startedAt;
await new Promise((resolve) => setTimeout(resolve, 300));
const rssBytes = process.memoryUsage().rss - rssBefore;
const heapBytes = settledHeap() - heapBefore;
process.on("message", (message) => {
  if (message === "measure") {
    isMeasuring = true;
    process.send!("measuring");
    return;
  }
  const stalls = { listStallMs, stallMs, computedMs };
  const run: DiscoveryRun = { firstListMs, heapBytes, rssBytes, ...stalls, heard };
  process.send!(run, () => process.exit(0));
});
process.once("disconnect", () => process.exit(0));
process.send!("ready");
