/** A cluster as it looks in the middle of a working day: estimates set, attempts in flight. */
import {
  stubProtocol,
  type StubReply,
  type StubRequest,
  StubRequest as Request,
} from "@inmesh/core/testing";
import {
  Attempt,
  Call,
  DEFAULT_POLICIES,
  NodeRuntime,
  Observers,
  Recorder,
} from "@inmesh/core/spi";
import type { Discovery, EndpointInfo, EndpointSink, ServiceConfig } from "@inmesh/core/spi";
import { EndpointSeriesCount } from "../../packages/core/src/backend-series.ts";
import { RunningBackend } from "../../packages/core/src/running-backend.ts";
import { Place } from "../../packages/core/src/place.ts";
import { Bounds } from "../../packages/core/src/telemetry/bounds.ts";

export interface Busy {
  readonly backend: RunningBackend<StubRequest, StubReply>;
  readonly sink: EndpointSink;
  readonly infos: EndpointInfo[];
  readonly runtime: NodeRuntime;
}

export function infoOf(i: number): EndpointInfo {
  return { host: `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`, port: 8080 };
}

export function attemptOf(): Attempt<StubRequest> {
  return new Attempt(new Call("orders", new Request("/"), true, true), 1, "first");
}

/** `size` endpoints; each has answered three times, every other one holds an attempt. */
export function busyCluster(size: number, traffic = true): Busy {
  const runtime = new NodeRuntime();
  let sink: EndpointSink | undefined;
  const infos = Array.from({ length: size }, (_, i) => infoOf(i));
  const discovery: Discovery = {
    source: "bench",
    watch(given) {
      sink = given;
      given.replace(infos);
      return { refresh() {}, stop() {} };
    },
  };
  const config = {
    ...DEFAULT_POLICIES,
    name: "orders",
    scheme: "http",
    authority: "orders",
    discovery: { kind: "static", endpoints: [] },
    routes: [],
  } as unknown as ServiceConfig;
  const transport = stubProtocol(() => {}).transport(config, runtime);
  const telemetry = new Recorder(runtime);
  const observers = new Observers(runtime, telemetry, () => {});
  const backend = new RunningBackend(config, "stub", discovery, transport, {
    telemetry,
    runtime,
    log: () => {},
    observers,
    place: new Place(),
    endpointSeries: new EndpointSeriesCount(),
    bounds: new Bounds(telemetry),
  });
  backend.wake({});
  if (traffic) work(backend.cluster, runtime);
  return { backend, sink: sink!, infos, runtime };
}

function work(cluster: Busy["backend"]["cluster"], runtime: NodeRuntime): void {
  // In an order of its own: memory laid out by traffic does not follow the order of the list.
  const endpoints = shuffled([...cluster.endpoints.values()]);
  for (let turn = 0; turn < 3; turn++) {
    for (const endpoint of endpoints) {
      const attempt = attemptOf();
      cluster.begin(attempt, endpoint, runtime.now() - 5 - 40 * Math.random());
      attempt.settle("success");
    }
  }
  for (const [i, endpoint] of endpoints.entries()) {
    if (i % 2 === 0) cluster.begin(attemptOf(), endpoint, runtime.now());
  }
}

function shuffled<T>(list: T[]): T[] {
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [list[i], list[j]] = [list[j]!, list[i]!];
  }
  return list;
}
