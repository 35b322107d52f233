/**
 * Answers of a process as the compiler knows them, with numbers that do not change: what the tables of the command
 * line are compared with. cli-process.test.ts reads the same from a real process.
 */
import {
  latencySince,
  type About,
  type Checks,
  type Config,
  type Endpoints,
  type EndpointView,
  type Explanation,
  type LatencyHistogram,
  type OutcomeCounts,
  type ServerView,
  type Services,
  type ServiceView,
  type Traffic,
} from "@inmesh/core/inspect";
import type { TapEvent } from "@inmesh/core";

const ANSWER = {
  apiVersion: "inmesh.dev/v1",
  instance: "q7Jx0a2m",
  readAtWallMs: Date.UTC(2026, 2, 4, 10, 2, 17, 41),
  uptimeMs: 600_000,
} as const;

const BOUNDS: readonly number[] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

function outcomes(given: Partial<OutcomeCounts>): OutcomeCounts {
  const counts = { success: 0, failure: 0, timeout: 0, overloaded: 0, abandoned: 0, ...given };
  const { success, failure, timeout, overloaded, abandoned } = counts;
  return { ...counts, total: success + failure + timeout + overloaded + abandoned };
}

function latency(counts: readonly number[]): LatencyHistogram {
  const all = Array.from({ length: BOUNDS.length + 1 }, (_, i) => counts[i] ?? 0);
  const given = {
    count: 0,
    sumSeconds: 12.5,
    p50Ms: undefined,
    p95Ms: undefined,
    p99Ms: undefined,
  };
  return latencySince({ ...given, counts: all }, undefined, BOUNDS);
}

function traffic(
  calls: Partial<OutcomeCounts>,
  attempts: Partial<OutcomeCounts>,
  counts: readonly number[],
): Traffic {
  const made = outcomes(calls);
  const tried = outcomes(attempts);
  return {
    calls: made,
    callLatency: latency(counts),
    attempts: tried,
    attemptLatency: latency(counts),
    attemptKinds: { first: made.total, retry: tried.total - made.total, resend: 0, hedge: 0 },
    retryDecisions: {},
    callReasons: {},
    attemptReasons: {},
    callStatuses: {},
  };
}

const ALIKE = {
  mode: "all",
  why: "the zone of this process is not known",
  shares: [],
} as const;
const SPILLS = {
  mode: "spill",
  why: "the zone eu-1a has fewer endpoints than its callers need",
  shares: [
    { zone: "eu-1a", endpoints: 2, share: 0.67 },
    { zone: "eu-1b", endpoints: 4, share: 0.33 },
  ],
} as const;
const CALM = { balance: 10, refused: 0, withdrawn: 0 };

function service(given: Partial<ServiceView> & { name: string }): ServiceView {
  return {
    protocol: "http",
    state: "connected",
    notes: [],
    endpoints: { total: 1, available: 1, open: 0, refusing: 0, halfOpen: 0, draining: 0 },
    connections: { open: 1, problem: undefined },
    scheme: "http",
    callsInFlight: 0,
    maxInFlight: 1024,
    panic: false,
    discovery: { source: "static", state: "current", error: undefined },
    zones: ALIKE,
    retryBudget: CALM,
    traffic: undefined,
    routes: [],
    ...given,
  };
}

function alone(name: string): { backend: string; weight: number; share: number }[] {
  return [{ backend: name, weight: 1, share: 1 }];
}

const SERVERS: readonly ServerView[] = [
  {
    name: "storefront",
    protocol: "http",
    state: "open",
    readiness: "ok",
    posture: "internal",
    requestsInFlight: 7,
    connections: 41,
    refused: {},
    pending: [],
    problem: undefined,
    calls: outcomes({ success: 59_400, failure: 60, overloaded: 540 }),
    latency: latency([0, 21_000, 30_000, 8_000, 900, 100]),
  },
];

/** A name that a hostile discovery or environment might give: it clears the screen and turns the line around. */
export const HOSTILE_NAME = "evil\u001b[2J\u202Egnp\r\nok";

export const SERVICES: Services = {
  ...ANSWER,
  kind: "Services",
  measured: true,
  latencyBoundsSeconds: BOUNDS,
  services: [
    service({ name: HOSTILE_NAME, state: "asleep" }),
    service({
      name: "orders.shop",
      scheme: "https",
      endpoints: { total: 3, available: 3, open: 0, refusing: 0, halfOpen: 0, draining: 0 },
      connections: { open: 96, problem: undefined },
      callsInFlight: 12,
      traffic: traffic(
        { success: 247_150, failure: 50, abandoned: 12 },
        { success: 247_200, failure: 4_800 },
        [0, 180_000, 50_000, 15_000, 2_000, 200, 12],
      ),
      routes: [
        {
          name: "read",
          backends: [
            { backend: "orders.shop", weight: 70, share: 0.7 },
            { backend: "orders-v2.shop", weight: 30, share: 0.3 },
          ],
          traffic: traffic(
            { success: 228_100, failure: 20 },
            { success: 228_150, failure: 4_500 },
            [0, 175_000, 45_000, 8_000, 100, 20],
          ),
        },
        {
          name: "default",
          backends: alone("orders.shop"),
          traffic: traffic(
            { success: 19_050, failure: 30, abandoned: 12 },
            { success: 19_050, failure: 300 },
            [0, 5_000, 5_000, 7_000, 1_900, 180, 12],
          ),
        },
      ],
    }),
    service({
      name: "pay.shop",
      endpoints: { total: 3, available: 2, open: 1, refusing: 0, halfOpen: 0, draining: 0 },
      connections: { open: 12, problem: undefined },
      notes: ["1 of 3 endpoints has an open breaker", "the retry budget is spent"],
      traffic: traffic(
        { success: 22_430, failure: 600, timeout: 70 },
        { success: 22_430, failure: 4_400, timeout: 428 },
        [0, 0, 4_000, 10_000, 6_000, 2_000, 1_000, 70, 0, 0, 0, 0, 30],
      ),
      routes: [
        {
          name: "default",
          backends: alone("pay.shop"),
          traffic: traffic(
            { success: 22_430, failure: 600, timeout: 70 },
            { success: 22_430, failure: 4_400, timeout: 428 },
            [0, 0, 4_000, 10_000, 6_000, 2_000, 1_000, 70, 0, 0, 0, 0, 30],
          ),
        },
      ],
    }),
    service({
      name: "stock.shop",
      protocol: "grpc",
      state: "unreachable",
      endpoints: { total: 2, available: 0, open: 0, refusing: 2, halfOpen: 0, draining: 0 },
      connections: { open: 0, problem: undefined },
      notes: ["no endpoint accepts a connection"],
      traffic: traffic({ failure: 3 }, { failure: 9 }, [3]),
      routes: [
        {
          name: "default",
          backends: alone("stock.shop"),
          traffic: traffic({ failure: 3 }, { failure: 9 }, [3]),
        },
      ],
    }),
  ],
  servers: SERVERS,
};

/** Ten seconds later: what happened in them is all that `--window` counts. */
export const SERVICES_LATER: Services = {
  ...SERVICES,
  readAtWallMs: SERVICES.readAtWallMs + 10_000,
  uptimeMs: SERVICES.uptimeMs + 10_000,
  services: SERVICES.services.map((one) => {
    if (one.name !== "pay.shop" || one.traffic === undefined) return one;
    const { counts } = one.traffic.callLatency;
    return {
      ...one,
      traffic: traffic(
        { success: 22_430 + 100, failure: 600 + 100, timeout: 70 },
        { success: 22_430 + 100, failure: 4_400 + 200, timeout: 428 },
        counts.map((count, i) => (i === 8 ? count + 200 : count)),
      ),
    };
  }),
};

function endpoint(given: Partial<EndpointView> & { host: string; port: number }): EndpointView {
  const { host, port } = given;
  return {
    service: "orders.shop",
    protocol: "http",
    address: port === 0 ? host : host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`,
    zone: undefined,
    weight: 1,
    state: "available",
    why: undefined,
    breaker: {
      state: "closed",
      trigger: undefined,
      changedAgoMs: undefined,
      nextProbeInMs: 0,
      consecutiveFailures: 0,
    },
    cost: 4.1,
    inFlight: 2,
    picks: 1000,
    share: 1 / 3,
    latencyMs: 4.1,
    penaltyMs: 0,
    busyForMs: 0,
    rampRatio: 1,
    ageMs: 512_000,
    connections: 12,
    ...given,
  };
}

export const ENDPOINTS: Endpoints = {
  ...ANSWER,
  kind: "Endpoints",
  endpoints: [
    endpoint({ host: "10.0.0.7", port: 8080, zone: "eu-1a", share: 0.512, picks: 126_000 }),
    endpoint({
      host: "10.0.0.8",
      port: 8080,
      zone: "eu-1b",
      state: "open",
      why: "open since 4s: 7 failures in a row; next probe in 3s",
      breaker: {
        state: "open",
        trigger: "streak",
        changedAgoMs: 4_000,
        nextProbeInMs: 3_000,
        consecutiveFailures: 7,
      },
      cost: 2_412.7,
      inFlight: 0,
      latencyMs: 9.8,
      penaltyMs: 2_400,
      share: 0.001,
      picks: 260,
      connections: 4,
    }),
    endpoint({
      host: "fd00:0:0:1::25",
      port: 8080,
      zone: "eu-1a",
      rampRatio: 0.4,
      ageMs: 8_100,
      share: 0.487,
    }),
    endpoint({
      service: "pay.shop",
      host: "pay-7f8c9d6b54-x2x1q.pay.shop.svc.cluster.local",
      port: 9443,
      state: "busy",
      why: "asked to be spared for 20s",
      busyForMs: 20_000,
      inFlight: 31,
      cost: 651,
      latencyMs: 21,
      share: 0.5,
    }),
    endpoint({
      service: "pay.shop",
      host: "pay-7f8c9d6b54-k9w7z.pay.shop.svc.cluster.local",
      port: 9443,
      cost: 21,
      latencyMs: 21,
      share: 0.5,
      inFlight: 1,
      connections: undefined,
    }),
    endpoint({
      service: "stock.shop",
      protocol: "grpc",
      host: "unix:/run/stock/grpc.sock",
      port: 0,
      state: "refusing",
      why: "refusing since 1m12s: it accepts no connection",
      inFlight: 0,
      share: 1,
      picks: 9,
      connections: 0,
    }),
  ],
};

export const CONFIG: Config = {
  ...ANSWER,
  kind: "Config",
  version: 412,
  state: "refused",
  file: "/etc/shop/mesh.yaml",
  sources: [
    {
      name: "file",
      rank: "file",
      state: "refused",
      version: undefined,
      mistakes: [
        {
          path: "services.pay.shop.retry.attempts",
          rule: "must be at least 1",
          value: "0",
          origin: "file:/etc/shop/mesh.yaml",
          line: 31,
        },
      ],
    },
  ],
  values: [
    {
      path: "services.orders.shop.discovery",
      value: { dns: "orders.shop.svc", port: 8080 },
      rank: "file",
      origin: "file:/etc/shop/mesh.yaml",
      line: 3,
    },
    {
      path: "services.orders.shop.retry.attempts",
      value: 3,
      rank: "override",
      origin: "ov-7f3a",
      line: undefined,
    },
    {
      path: "services.orders.shop.timeouts.request",
      value: "500ms",
      rank: "code",
      origin: "code",
      line: undefined,
    },
    {
      path: "services.orders.shop.tls.key",
      value: "(not shown)",
      rank: "file",
      origin: "file:/etc/shop/mesh.yaml",
      line: 9,
    },
    {
      path: "services.pay.shop.url",
      value: "http://pay.shop:9443",
      rank: "environment",
      origin: "env:INMESH_SERVICE_PAY",
      line: undefined,
    },
    {
      path: "services.pay.shop.timeouts.request",
      value: "15s",
      rank: "default",
      origin: "default",
      line: undefined,
    },
  ],
};

export const EXPLANATION: Explanation = {
  ...ANSWER,
  kind: "Explanation",
  service: "orders.shop",
  protocol: "http",
  method: "GET",
  path: "/v1/orders/42",
  refused: undefined,
  route: {
    name: "read",
    requestMs: 500,
    backendRequestMs: 200,
    idempotent: true,
    streaming: false,
    attempts: 3,
    wroteBy: [
      {
        path: "services.orders.shop.routes",
        rank: "file",
        origin: "file:/etc/shop/mesh.yaml",
        line: 12,
      },
      {
        path: "services.orders.shop.timeouts.request",
        rank: "override",
        origin: "ov-7f3a",
        line: undefined,
      },
    ],
  },
  matches: [
    {
      route: "gold-only",
      match: 0,
      matched: false,
      taken: false,
      why: 'header x-tier is not "platinum"',
    },
    { route: "read", match: 0, matched: true, taken: true, why: undefined },
    { route: "rest", match: 0, matched: true, taken: false, why: undefined },
  ],
  split: [
    { backend: "orders.shop", weight: 70, share: 0.7, shareNow: 1, why: undefined, zones: SPILLS },
    {
      backend: "orders-v2.shop",
      weight: 30,
      share: 0.3,
      shareNow: 0,
      zones: ALIKE,
      why: "no endpoint: discovery has named none",
    },
  ],
  candidates: [
    {
      backend: "orders.shop",
      endpoint: "10.0.0.7:8080",
      zone: "eu-1a",
      state: "available",
      cost: 4.1,
      inFlight: 2,
      chance: 0.66,
      why: "the lower cost of two drawn",
    },
    {
      backend: "orders.shop",
      endpoint: "[fd00:0:0:1::25]:8080",
      zone: "eu-1a",
      state: "available",
      cost: 9.8,
      inFlight: 2,
      chance: 0.34,
      why: "the higher cost of two drawn; slow start lets it have 40 % of its share",
    },
    {
      backend: "orders.shop",
      endpoint: "10.0.0.8:8080",
      zone: "eu-1b",
      state: "open",
      cost: 2_412.7,
      inFlight: 0,
      chance: 0,
      why: "open since 4s: 7 failures in a row",
    },
  ],
};

export const CHECKS: Checks = {
  ...ANSWER,
  kind: "Checks",
  status: "failure",
  failures: 1,
  warnings: 2,
  checks: [
    {
      id: "runtime-supported",
      group: "runtime",
      subject: undefined,
      status: "ok",
      message: "Node v24.21.0 gets security releases.",
      hint: undefined,
      page: "docs/reference/checks.md#runtime-supported",
    },
    {
      id: "configuration-current",
      group: "configuration",
      subject: "file",
      status: "failure",
      message:
        "What file:/etc/shop/mesh.yaml says now is refused: 1 mistake. What it said before stays in force.",
      hint: "Correct the file; npx inmesh check /etc/shop/mesh.yaml lists the mistakes.",
      page: "docs/reference/checks.md#configuration-current",
    },
    {
      id: "endpoints-available",
      group: "services",
      subject: "orders.shop",
      status: "ok",
      message: "3 of 3 endpoints may be picked.",
      hint: undefined,
      page: "docs/reference/checks.md#endpoints-available",
    },
    {
      id: "endpoints-available",
      group: "services",
      subject: "pay.shop",
      status: "warning",
      message: "2 of 3 endpoints may be picked.",
      hint: "inmesh endpoints pay.shop says why the third may not.",
      page: "docs/reference/checks.md#endpoints-available",
    },
    {
      id: "kubernetes-api",
      group: "kubernetes",
      subject: undefined,
      status: "ok",
      message: "the API server v1.34.4 answers",
      hint: undefined,
      page: "docs/reference/checks.md#kubernetes-api",
    },
    {
      id: "kubernetes-access",
      group: "kubernetes",
      subject: "shop",
      status: "warning",
      message:
        "the API server does not let this process list and watch EndpointSlices in the namespace shop (403): endpointslices.discovery.k8s.io is forbidden.",
      hint: "run kubectl create role inmesh-endpoints -n shop --verb=list,watch --resource=endpointslices.discovery.k8s.io && kubectl create rolebinding inmesh-endpoints-web-front -n shop --role=inmesh-endpoints --serviceaccount=web:front, or set kubernetes: false where DNS is to be used",
      page: "docs/reference/checks.md#kubernetes-access",
    },
    {
      id: "kubernetes-slices",
      group: "kubernetes",
      subject: "shop/orders",
      status: "ok",
      message: "it has EndpointSlices",
      hint: undefined,
      page: "docs/reference/checks.md#kubernetes-slices",
    },
    {
      id: "kubernetes-readiness",
      group: "kubernetes",
      subject: "front (http)",
      status: "ok",
      message: "the readiness probe asks /readyz",
      hint: undefined,
      page: "docs/reference/checks.md#kubernetes-readiness",
    },
    {
      id: "kubernetes-grace",
      group: "kubernetes",
      subject: undefined,
      status: "ok",
      message: "terminationGracePeriodSeconds is 45, of which a drain waits 6s for its callers",
      hint: undefined,
      page: "docs/reference/checks.md#kubernetes-grace",
    },
  ],
};

export const ABOUT: About = {
  ...ANSWER,
  kind: "About",
  scope: "process",
  versions: { inmesh: "0.1.0", runtime: "v24.21.0" },
  process: {
    pid: 4711,
    host: "web-6d9f-x2x1",
    platform: "linux x64",
    uptimeMs: 601_200,
    rssBytes: 98_000_000,
    heapUsedBytes: 31_000_000,
  },
  state: "open",
  ready: { ready: true, reasons: [] },
  configVersion: 412,
  runtimeProblem: undefined,
  degraded: [],
  resources: [],
  may: ["read", "tap"],
};

const AT = ANSWER.readAtWallMs;

export const TAPPED: readonly TapEvent[] = [
  {
    version: 1,
    event: "call",
    id: 1,
    at: AT,
    direction: "outbound",
    service: "orders.shop",
    route: "read",
    protocol: "http",
    method: "GET",
    path: "/v1/orders/42",
    outcome: "success",
    status: 200,
    durationMs: 3.62,
    deadlineMs: 500,
    decisions: [{ what: "route", result: "read", why: 'the path begins with "/v1/"' }],
    attempts: [
      {
        number: 1,
        kind: "first",
        backend: "orders.shop",
        endpoint: "10.0.0.7:8080",
        pickedBy: "cost",
        why: "the lower cost of two drawn",
        startedMs: 0.04,
        queuedMs: 0.02,
        headMs: 3.1,
        durationMs: 3.5,
        outcome: "success",
        status: 200,
        progress: "replied",
        sentBytes: 0,
        receivedBytes: 812,
      },
    ],
    sentBytes: 0,
    receivedBytes: 812,
  },
  { version: 1, event: "lost", at: AT + 20, count: 17, because: "rate" },
  {
    version: 1,
    event: "call",
    id: 2,
    at: AT + 23.4,
    direction: "outbound",
    service: "pay.shop",
    route: "default",
    protocol: "http",
    method: "POST",
    path: "/v1/payments/7d1b0c9e-5a43-4f0e-9b1e-0a3a4a5f6c7d/capture",
    traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
    outcome: "overloaded",
    status: 503,
    durationMs: 118.2,
    decisions: [
      { what: "route", result: "default", why: "no match of a route" },
      { what: "retry", result: "retry", why: "the reply said that nothing was done", attempt: 2 },
      { what: "retry", result: "budget", why: "recent traffic has paid for no further retry" },
    ],
    attempts: [
      {
        number: 1,
        kind: "first",
        backend: "pay.shop",
        endpoint: "pay-7f8c9d6b54-x2x1q.pay.shop.svc.cluster.local:9443",
        pickedBy: "cost",
        why: "the lower cost of two drawn",
        startedMs: 0.05,
        headMs: 52.4,
        durationMs: 52.9,
        outcome: "overloaded",
        status: 503,
        progress: "replied",
        sentBytes: 80,
        receivedBytes: 0,
      },
      {
        number: 2,
        kind: "retry",
        retryReason: "status",
        backend: "pay.shop",
        endpoint: "pay-7f8c9d6b54-k9w7z.pay.shop.svc.cluster.local:9443",
        pickedBy: "cost",
        why: "not the one that has just failed",
        startedMs: 60.2,
        headMs: 57.1,
        durationMs: 57.9,
        outcome: "overloaded",
        status: 503,
        progress: "replied",
        sentBytes: 80,
        receivedBytes: 0,
      },
    ],
    sentBytes: 160,
    receivedBytes: 0,
  },
  {
    version: 1,
    event: "call",
    id: 1,
    at: AT + 40.9,
    direction: "inbound",
    service: "storefront",
    route: "default",
    protocol: "http",
    method: "GET",
    path: "/\\u001b[31mred\u202E",
    outcome: "overloaded",
    status: 503,
    reason: "too many requests in progress",
    durationMs: 0.2,
    decisions: [{ what: "refuse", result: "in_flight", why: "too many requests in progress" }],
    peer: { address: "10.0.3.7", port: 51_234, tls: true, id: "spiffe://shop/ns/web/sa/web" },
    attempt: 1,
    priority: "normal",
    sentBytes: 0,
    receivedBytes: 0,
  },
  {
    version: 1,
    event: "call",
    id: 3,
    at: AT + 51,
    direction: "outbound",
    service: "stock.shop",
    route: "default",
    protocol: "grpc",
    method: "POST",
    path: "/shop.Stock/Reserve",
    outcome: "failure",
    reason: "connect_refused",
    error: {
      code: "connect_failed",
      reason: "connect_refused",
      message: "unix:/run/stock/grpc.sock accepts no connection",
    },
    durationMs: 1_240,
    decisions: [{ what: "route", result: "default", why: "no match of a route" }],
    attempts: [],
    sentBytes: 0,
    receivedBytes: 0,
  },
];
