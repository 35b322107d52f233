/**
 * Discovery by EndpointSlices at scale: 5,000 endpoints in a Service, 2,000 Services in a watch, 100 changes a second.
 * The API server is that of the tests, in this process; what watches it is a process of its own. The informer of
 * @kubernetes/client-node stands beside it where `npm run peers:k8s -- --client-node` has installed it.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { FakeApi, type FakeEndpoint } from "../packages/discovery-k8s/test/support/fake-api.ts";
import { clientNode } from "../packages/discovery-k8s/test/support/peers.ts";
import { kubeconfigFor } from "../packages/discovery-k8s/test/support/watched.ts";
import { TestCa } from "../packages/http/test/support/ca.ts";
import type { DiscoveryLoad, DiscoveryRun, SeenChange } from "./child/discovery.ts";
import { FLAGS } from "./fleet.ts";
import { quantile, row, undisturbed, type Options, type Row } from "./report.ts";

export const describe =
  "5,000 endpoints of 2,000 Kubernetes Services: memory, stalls, time until a change is seen";

const CHILD: string = fileURLToPath(new URL("./child/discovery.ts", import.meta.url));
const ENDPOINTS = 5_000;
const PER_SLICE = 100;
const SERVICES = 2_000;
const CHANGES_PER_SECOND = 100;
const SECONDS = 5;
/** Apart by more than the time in which news are gathered, so that each is the first. */
const TOGGLES = 20;
const TOGGLE_EVERY_MS = 250;
const ROUNDS = 5;
const BAR_BYTES = 1_024;
const BAR_STALL_MS = 10;
const BAR_VISIBLE_MS = 50;
const HEARD_WITHIN_MS = 10_000;

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const now = (): number => performance.timeOrigin + performance.now();

function addressOf(net: number, number: number): FakeEndpoint {
  const address = `10.${net + (number >> 16)}.${(number >> 8) & 255}.${number & 255}`;
  return { address, uid: `uid-${net}-${number}`, ready: true, serving: true, terminating: false };
}

function sliceOfBig(number: number): FakeEndpoint[] {
  return Array.from({ length: PER_SLICE }, (_, i) => addressOf(1, number * PER_SLICE + i));
}

class Cluster {
  readonly #ca = new TestCa();
  /** By TLS, as everywhere: other clients do not ask one without. */
  readonly api: FakeApi = new FakeApi(this.#ca.issue({ names: ["127.0.0.1"] }));
  readonly services: number;
  kubeconfig = "";
  #turn = 0;

  constructor(services: number) {
    this.services = services;
  }

  async start(): Promise<void> {
    this.kubeconfig = kubeconfigFor(await this.api.listen(), "token", this.#ca.cert);
    for (let i = 0; i < ENDPOINTS / PER_SLICE; i++) {
      this.api.put({ name: `big-${i}`, service: "big", endpoints: sliceOfBig(i) });
    }
    for (let i = 0; i < this.services; i++) this.#putOther(i, 0);
  }

  get slices(): number {
    return ENDPOINTS / PER_SLICE + this.services;
  }

  /** So many pods of any Service become ready, or are not so any more. */
  changes(count: number): void {
    for (let i = 0; i < count; i++) this.#putOther(this.#turn++ % this.services, this.#turn);
  }

  /** One endpoint more, or without it. */
  toggle(isMore: boolean): void {
    const endpoints = sliceOfBig(0);
    if (isMore) endpoints.push(addressOf(9, 1));
    this.api.put({ name: "big-0", service: "big", endpoints });
  }

  #putOther(number: number, turn: number): void {
    const endpoints = [0, 1, 2].map((i) => addressOf(100, number * 3 + i));
    endpoints[turn % 3]!.ready = turn % 2 === 0;
    this.api.put({ name: `other-${number}`, service: `other-${number}`, endpoints });
  }
}

/** Runs a child, with `act` between its first list and its end. */
async function watched(
  cluster: Cluster,
  mode: DiscoveryLoad["mode"],
  act: (next: <T>() => Promise<T>) => Promise<void>,
): Promise<DiscoveryRun> {
  const load: DiscoveryLoad = {
    mode,
    kubeconfig: cluster.kubeconfig,
    endpoints: ENDPOINTS,
    slices: cluster.slices,
    client: clientNode?.href,
  };
  const child = fork(CHILD, [JSON.stringify(load)], { execArgv: [...FLAGS, "--expose-gc"] });
  try {
    const died = once(child, "exit").then(() => {
      throw new Error("a process of the benchmark died");
    });
    died.catch(() => {});
    const next = async <T>(): Promise<T> =>
      ((await Promise.race([once(child, "message"), died])) as [T])[0];
    await next();
    const measuring = next();
    child.send("measure");
    await measuring;
    await act(next);
    const ended = next<DiscoveryRun>();
    child.send("stop");
    return await ended;
  } finally {
    child.kill("SIGKILL");
  }
}

/** Milliseconds from each change of the big Service until it could be picked from. */
async function toggles(cluster: Cluster, next: <T>() => Promise<T>): Promise<number[]> {
  const tookMs: number[] = [];
  for (let i = 0; i < TOGGLES; i++) {
    await sleep(TOGGLE_EVERY_MS);
    const putAt = now();
    const seen = next<SeenChange>();
    cluster.toggle(i % 2 === 0);
    tookMs.push((await seen).changedAt - putAt);
  }
  return tookMs;
}

export async function run({ quick, progress }: Options): Promise<Row[]> {
  const rounds = quick ? 1 : ROUNDS;
  const cluster = new Cluster(quick ? SERVICES / 10 : SERVICES);
  await cluster.start();
  const memory: DiscoveryRun[] = [];
  const changes: DiscoveryRun[] = [];
  const visible: number[] = [];
  let informer: DiscoveryRun | undefined;
  const seconds = quick ? 1 : SECONDS;
  try {
    for (let round = 0; round < rounds; round++) {
      progress(`discovery: round ${round + 1} of ${rounds}, memory`);
      memory.push(await watched(cluster, "memory", async () => {}));
      progress(`discovery: round ${round + 1} of ${rounds}, ${seconds} s of changes`);
      const seen = await watched(cluster, "changes", async (next) => {
        for (let i = 0; i < seconds * 10; i++) {
          cluster.changes(CHANGES_PER_SECOND / 10);
          await sleep(100);
        }
        visible.push(quantile(await toggles(cluster, next), 0.9));
      });
      changes.push(seen);
    }
    if (clientNode !== undefined) {
      progress("discovery: the informer of @kubernetes/client-node, whose connection is reset");
      informer = await watched(cluster, "informer", async () => {
        cluster.api.reset();
        await sleep(1_000);
        cluster.api.put({ name: "after-reset", service: "big" });
        await sleep(quick ? 2_000 : HEARD_WITHIN_MS);
        cluster.api.delete("after-reset");
      });
    }
  } finally {
    await cluster.api.close();
  }
  const each = (all: readonly DiscoveryRun[], of: (one: DiscoveryRun) => number): number[] =>
    all.map(of);
  const known = ENDPOINTS + 3 * cluster.services;
  const heard = CHANGES_PER_SECOND * seconds + TOGGLES;
  const rows = [
    row(
      "discovery.bytes_per_endpoint",
      "B",
      each(memory, ({ heapBytes }) => heapBytes / known),
      BAR_BYTES,
    ),
    undisturbed(
      "discovery.list_stall_ms",
      "ms",
      each(changes, ({ listStallMs }) => listStallMs),
      BAR_STALL_MS,
    ),
    undisturbed(
      "discovery.update_stall_ms",
      "ms",
      each(changes, ({ stallMs }) => stallMs),
      BAR_STALL_MS,
    ),
    undisturbed("discovery.visible_ms", "ms", visible, BAR_VISIBLE_MS),
    row(
      "discovery.computed_ms_per_change",
      "ms",
      each(changes, ({ computedMs }) => computedMs / heard),
    ),
    row(
      "discovery.first_list_ms",
      "ms",
      each(memory, ({ firstListMs }) => firstListMs),
    ),
    row(
      "discovery.rss_mb",
      "MB",
      each(memory, ({ rssBytes }) => rssBytes / 1e6),
    ),
  ];
  if (informer === undefined) {
    progress(
      "discovery: @kubernetes/client-node is not there: npm run peers:k8s -- --client-node installs it",
    );
    return rows;
  }
  const { heapBytes, firstListMs, rssBytes } = informer;
  const survived = informer.heard.includes("after-reset") ? 1 : 0;
  return [
    ...rows,
    row("discovery.bytes_per_endpoint.client_node", "B", [heapBytes / known]),
    row("discovery.first_list_ms.client_node", "ms", [firstListMs]),
    row("discovery.rss_mb.client_node", "MB", [rssBytes / 1e6]),
    row("discovery.resets_survived.client_node", "{reset}", [survived]),
  ];
}
