/** Rows D4 to D19 of the fault matrix, against an API server on real sockets that breaks as they say. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SimRuntime } from "@inmesh/core/testing";
import { MAX_LINE_BYTES } from "../src/lines.ts";
import { FakeApi, refuse, type FakeEndpoint } from "./support/fake-api.ts";
import { benchFor, Heard, kubeconfigFor, type Bench } from "./support/watched.ts";

let api: FakeApi;
let port: number;
let bench: Bench;
let heard: Heard;

const at = (...hosts: number[]): FakeEndpoint[] =>
  hosts.map((host) => ({ address: `10.0.0.${host}`, uid: `uid-${host}` }));
const shop = (...hosts: number[]): string => hosts.map((host) => `10.0.0.${host}:80`).join(" ");

async function becomes(addresses: string, listener: Heard = heard): Promise<void> {
  await expect.poll(() => listener.addresses).toBe(addresses);
}

beforeEach(async () => {
  api = new FakeApi();
  port = await api.listen();
  api.put({ name: "orders-a", service: "orders", endpoints: at(1, 2) });
  bench = benchFor(kubeconfigFor(port, "secret-token"));
  heard = new Heard();
});

afterEach(async () => {
  bench.stop();
  await api.close();
});

/** Lets virtual time pass while the sockets, which are real, do their work. */
async function pass(runtime: SimRuntime, ms: number): Promise<void> {
  for (let i = 0; i < 40; i++) {
    await runtime.advance(ms / 40);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** A watch that is open, and the set of the first slice. */
async function watched(): Promise<void> {
  bench.watch("shop/orders:http", heard);
  await becomes(shop(1, 2));
  await expect.poll(() => api.watching).toBe(1);
}

describe.each([true, false])("with streaming lists offered: %s", (streams) => {
  beforeEach(() => {
    api.streams = streams;
  });

  it("D4 CO: a watch that ends goes on from the last version, without a list and without an error", async () => {
    await watched();
    const lists = api.lists();
    api.put({ name: "orders-b", service: "orders", endpoints: at(3) });
    await becomes(shop(1, 2, 3));
    const version = String(api.version);
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    api.endWatches();
    await expect.poll(() => api.watches().at(-1)!.get("resourceVersion")).toBe(version);
    await expect.poll(() => api.watching).toBe(1);
    api.delete("orders-a");
    await becomes(shop(3));
    expect(api.lists()).toBe(lists);
    expect(heard.errors).toEqual([]);
  });

  it("D4 CO: a reset watch is resumed, and what happened meanwhile is not missed", async () => {
    await watched();
    api.put({ name: "orders-b", service: "orders", endpoints: at(3) });
    await becomes(shop(1, 2, 3));
    api.reset();
    api.delete("orders-a");
    await becomes(shop(3));
    expect(heard.errors).toEqual([]);
    const seconds = api.watches().map((query) => Number(query.get("timeoutSeconds")));
    for (const one of seconds) expect(one).toSatisfy((s: number) => s >= 240 && s <= 300);
    for (const query of api.watches()) expect(query.get("allowWatchBookmarks")).toBe("true");
  });

  it("D5 CO: a version that is gone is listed anew and taken as one difference", async () => {
    await watched();
    heard.sizes.length = 0;
    api.oldest = Infinity;
    const reset = api.version;
    api.put({ name: "orders-b", service: "orders", endpoints: at(3) }, { silent: true });
    api.delete("orders-a", { silent: true });
    api.put({ name: "orders-c", service: "orders", endpoints: at(2, 4) }, { silent: true });
    api.requests.length = 0;
    api.reset();
    await expect
      .poll(() => api.watches().some((query) => query.get("resourceVersion") === `${reset}`))
      .toBe(true);
    api.oldest = 0;
    await becomes(shop(2, 3, 4));
    expect(heard.sizes.every((size) => size === 3)).toBe(true);
  });
});

it("D4 CO: a watch on which nothing comes for longer than it may last is given up", async () => {
  const runtime = new SimRuntime(1);
  const virtual = benchFor(kubeconfigFor(port, "secret-token"), undefined, runtime);
  virtual.watch("shop/orders:http", heard);
  await becomes(shop(1, 2));
  await expect.poll(() => api.watching).toBe(1);
  // No event arrives, and no end either: the server holds the stream open for ever.
  api.put({ name: "orders-b", service: "orders", endpoints: at(3) }, { silent: true });
  await pass(runtime, 250_000);
  expect(api.watches()).toHaveLength(1);
  await pass(runtime, 90_000);
  await expect.poll(() => api.watches().length).toBe(2);
  expect(heard.errors).toEqual([]);
  virtual.stop();
});

it("D7 CO: everything is listed again after ten minutes, give or take a tenth", async () => {
  const runtime = new SimRuntime(1);
  const virtual = benchFor(kubeconfigFor(port, "secret-token"), undefined, runtime);
  virtual.watch("shop/orders:http", heard);
  await becomes(shop(1, 2));
  api.put({ name: "orders-b", service: "orders", endpoints: at(3) }, { silent: true });
  api.delete("orders-a", { silent: true });
  const beat = setInterval(() => api.bookmark(), 5);
  await pass(runtime, 530_000);
  expect(heard.addresses).toBe(shop(1, 2));
  await pass(runtime, 140_000);
  clearInterval(beat);
  await becomes(shop(3));
  virtual.stop();
});

it("D5 CO: a list comes in pages, and an expired continue token begins it anew", async () => {
  api.streams = false;
  api.pageSize = 1;
  for (let i = 3; i <= 5; i++) {
    api.put({ name: `orders-${i}`, service: "orders", endpoints: at(i) });
  }
  let refused = 0;
  api.intercept = (url, _, response) => {
    if (!url.searchParams.has("continue") || refused++ > 0) return false;
    refuse(response, 410, "Expired", "The provided continue parameter is too old");
    return true;
  };
  bench.watch("shop/orders:http", heard);
  await becomes(shop(1, 2, 3, 4, 5));
  expect(refused).toBeGreaterThan(3);
  expect(heard.news.filter((one) => one === "replace")).toHaveLength(1);
});

it("D6 CO: an older API server is not believed, and a deleted endpoint stays deleted", async () => {
  const back = api.save();
  api.put({ name: "orders-b", service: "orders", endpoints: at(3) });
  bench.watch("shop/orders:http", heard);
  await becomes(shop(1, 2, 3));
  api.delete("orders-a");
  await becomes(shop(3));
  back();
  api.oldest = Infinity;
  api.reset();
  await expect.poll(() => heard.errors.at(-1)?.message).toContain("is behind");
  expect(heard.addresses).toBe(shop(3));
  // An event of the past over a watch that works.
  api.version = 2_000;
  api.oldest = 0;
  api.put({ name: "orders-b", service: "orders", endpoints: at(3) });
  await expect.poll(() => heard.news.at(-1)).not.toBe("failed");
});

it("D6 CO: an event that is older than the deletion does not bring an endpoint back", async () => {
  await watched();
  api.put({ name: "orders-b", service: "orders", endpoints: at(3) });
  await becomes(shop(1, 2, 3));
  const old = api.version;
  api.delete("orders-b");
  await becomes(shop(1, 2));
  api.raw(
    `${JSON.stringify({
      type: "ADDED",
      object: {
        metadata: {
          name: "orders-b",
          resourceVersion: `${old}`,
          labels: { "kubernetes.io/service-name": "orders" },
        },
        addressType: "IPv4",
        ports: [{ name: "http", port: 80, protocol: "TCP" }],
        endpoints: [{ addresses: ["10.0.0.3"] }],
      },
    })}\n`,
  );
  api.put({ name: "orders-c", service: "orders", endpoints: at(4) });
  await becomes(shop(1, 2, 4));
});

it("D7 CO: a deletion that was never seen is found when a connection was refused", async () => {
  const watch = bench.watch("shop/orders:http", heard);
  await becomes(shop(1, 2));
  api.put({ name: "orders-b", service: "orders", endpoints: at(3) });
  await becomes(shop(1, 2, 3));
  api.delete("orders-a", { silent: true });
  bench.runtime.aheadMs += 10_000;
  watch.refresh();
  await becomes(shop(3));
  expect(heard.errors).toEqual([]);
});

it("D8 CO: a service is the union of its slices, and an address that moves between them never goes", async () => {
  api.put({ name: "orders-b", service: "orders", endpoints: at(3) });
  api.put({ name: "other", service: "carts", endpoints: at(9) });
  bench.watch("shop/orders:http", heard);
  await becomes(shop(1, 2, 3));
  heard.sizes.length = 0;
  api.put({ name: "orders-b", service: "orders", endpoints: at(3, 2) });
  api.put({ name: "orders-a", service: "orders", endpoints: at(1) });
  api.put({ name: "orders-b", service: "orders", endpoints: at(3, 2, 4) });
  await becomes(shop(1, 2, 3, 4));
  expect(Math.min(...heard.sizes)).toBeGreaterThanOrEqual(3);
});

describe("D9 CO: ready, serving and terminating", () => {
  const yes = { ready: true, serving: true, terminating: false };
  const going = { ready: false, serving: true, terminating: true };
  const gone = { ready: false, serving: false, terminating: true };
  const starting = { ready: false, serving: false, terminating: false };
  const unready = { ready: false, serving: true, terminating: false };
  /** Of a Service with publishNotReadyAddresses. */
  const always = { ready: true, serving: true, terminating: true };
  it.each([
    [
      "ready ones are used, terminating ones drain",
      [yes, going, gone, starting],
      "--10.0.0.3:80 -10.0.0.2:80 10.0.0.1:80",
    ],
    [
      "with none ready, those that still serve are used, and those that do not are not",
      [going, gone, starting, unready],
      "--10.0.0.2:80 -10.0.0.1:80 10.0.0.4:80",
    ],
    ["what serves without being ready is left out beside what is", [yes, unready], "10.0.0.1:80"],
    ["what terminates drains, also if it calls itself ready", [always], "-10.0.0.1:80"],
    ["what does not say is ready", [{}, { ready: undefined }], "10.0.0.1:80 10.0.0.2:80"],
    ["what only starts is left out", [starting, starting], ""],
  ])("%s", async (_, conditions, expected) => {
    const endpoints = conditions.map((one, i) => ({
      address: `10.0.0.${i + 1}`,
      uid: `${i}`,
      ...one,
    }));
    api.put({ name: "orders-a", service: "orders", endpoints });
    bench.watch("shop/orders:http", heard);
    await expect.poll(() => heard.news.length).toBeGreaterThan(0);
    expect(heard.addresses).toBe(expected);
    if (expected === "") expect(heard.why).toBe("no pod of the Service shop/orders is ready");
  });
});

it("D10 CO: the pod is part of an endpoint's identity, and fast news are gathered", async () => {
  await watched();
  heard.news.length = 0;
  for (let i = 0; i < 50; i++) {
    const endpoints = i % 2 === 0 ? at(1) : [{ address: "10.0.0.1", uid: "new" }];
    api.put({ name: "orders-a", service: "orders", endpoints });
  }
  await expect.poll(() => heard.set.get("10.0.0.1:80")?.uid).toBe("new");
  await becomes(shop(1));
  expect(heard.news.length).toBeLessThan(20);
});

it("D12 CO: after 401 the token is read again, and the token is in no error", async () => {
  api.token = "another";
  bench.watch("shop/orders:http", heard);
  await expect.poll(() => heard.errors.length).toBeGreaterThan(0);
  expect(heard.errors[0]!.message).toContain("401");
  expect(JSON.stringify([heard.errors.map((error) => `${error.stack}`)])).not.toContain(
    "secret-token",
  );
  api.token = "secret-token";
  await becomes(shop(1, 2));
});

it("D12 CO: after 403 each Service is watched by itself, else the error has the rule to add", async () => {
  api.intercept = (url, _, response) => {
    if (url.searchParams.get("labelSelector")?.includes("=") === true) return false;
    refuse(response, 403, "Forbidden", 'User "system:serviceaccount:web:front" cannot list');
    return true;
  };
  const carts = new Heard();
  api.put({ name: "carts", service: "carts", endpoints: at(9) });
  bench.watch("shop/orders:http", heard);
  bench.watch("shop/carts:http", carts);
  await becomes(shop(1, 2));
  await becomes(shop(9), carts);
  bench.stop();
  api.intercept = (_url, _request, response) => {
    refuse(response, 403, "Forbidden", 'User "system:serviceaccount:web:front" cannot list');
    return true;
  };
  const refused = new Heard();
  bench.watch("shop/orders:http", refused);
  await expect.poll(() => refused.errors.length).toBeGreaterThan(0);
  expect(refused.errors[0]!.message).toContain(
    "kubectl create role inmesh-endpoints -n shop --verb=list,watch --resource=endpointslices.discovery.k8s.io",
  );
  expect(refused.errors[0]!.message).toContain("--serviceaccount=web:front");
});

it("D12 CO: Retry-After of 429 is kept, and 500 leaves the last good set", async () => {
  await watched();
  const asked: number[] = [];
  let status = 429;
  api.intercept = (_url, _request, response) => {
    asked.push(performance.now());
    refuse(
      response,
      status,
      "TooManyRequests",
      "slow down",
      status === 429 ? { "retry-after": "2" } : {},
    );
    status = 500;
    return true;
  };
  api.reset();
  await expect.poll(() => asked.length).toBeGreaterThanOrEqual(4);
  expect(heard.addresses).toBe(shop(1, 2));
  expect(asked[1]! - asked[0]!).toBeGreaterThan(1_900);
  expect(heard.news.at(-1)).toBe("failed");
  api.intercept = undefined;
  api.put({ name: "orders-b", service: "orders", endpoints: at(3) });
  await becomes(shop(1, 2, 3));
});

it("D13 CO: each service gets the newest state, and one watch serves them all", async () => {
  api.put({ name: "carts", service: "carts", endpoints: at(9) });
  const carts = new Heard();
  const again = new Heard();
  bench.watch("shop/orders:http", heard);
  bench.watch("shop/carts:http", carts);
  const late = bench.watch("shop/orders:80", again);
  await becomes(shop(1, 2));
  await becomes(shop(9), carts);
  await becomes(shop(1, 2), again);
  expect(api.watching).toBe(1);
  late.stop();
  api.put({ name: "orders-a", service: "orders", endpoints: at(5) });
  await becomes(shop(5));
  expect(again.addresses).toBe(shop(1, 2));
});

it("D17 CO: a port that changes is one step", async () => {
  await watched();
  api.put({
    name: "orders-a",
    service: "orders",
    ports: [{ name: "http", port: 81 }],
    endpoints: at(1, 2),
  });
  await becomes("10.0.0.1:81 10.0.0.2:81");
  expect(heard.sizes.every((size) => size === 2)).toBe(true);
});

it("D18 CO: a pod in slices of both families is one endpoint, and DNS names are left out", async () => {
  api.put({
    name: "six",
    service: "orders",
    addressType: "IPv6",
    endpoints: [
      { address: "fd00::1", uid: "uid-1" },
      { address: "fd00::7", uid: "uid-7" },
    ],
  });
  api.put({
    name: "names",
    service: "orders",
    addressType: "FQDN",
    endpoints: [{ address: "orders.test" }],
  });
  bench.watch("shop/orders:http", heard);
  await becomes("10.0.0.1:80 10.0.0.2:80 [fd00::7]:80");
});

describe("D19 CO: bytes of a watch", () => {
  it("are cut anywhere", async () => {
    await watched();
    const type = "ADDED";
    const object = {
      metadata: {
        name: "ü",
        resourceVersion: `${++api.version}`,
        labels: { "kubernetes.io/service-name": "orders" },
      },
      addressType: "IPv4",
      ports: [{ name: "http", port: 80, protocol: "TCP" }],
      endpoints: [{ addresses: ["10.0.0.3"], targetRef: { kind: "Pod", name: "pöd", uid: "3" } }],
    };
    for (const byte of Buffer.from(`${JSON.stringify({ type, object })}\n`)) {
      api.raw(Buffer.from([byte]));
    }
    await becomes(shop(1, 2, 3));
    expect(heard.set.get("10.0.0.3:80")?.metadata?.["pod"]).toBe("pöd");
  });

  it.each([
    ["no JSON", "no json\n"],
    [
      "an unknown type",
      '{"type":"WHAT","object":{"metadata":{"name":"a","resourceVersion":"1"}}}\n',
    ],
    ["an ERROR", '{"type":"ERROR","object":{"code":500,"message":"etcd is away"}}\n'],
    ["a bookmark without a version", '{"type":"BOOKMARK","object":{"metadata":{}}}\n'],
    ["a line without an end", "x".repeat(MAX_LINE_BYTES + 1)],
  ])("that are %s end it, and it begins anew", async (_, bytes) => {
    await watched();
    api.put({ name: "orders-b", service: "orders", endpoints: at(3) }, { silent: true });
    api.raw(bytes);
    // What was lost on the watch before is found where everything is listed; after an ERROR it is only resumed.
    if (!bytes.includes("ERROR")) await becomes(shop(1, 2, 3));
    await expect.poll(() => api.watches().length).toBeGreaterThan(1);
    await expect.poll(() => api.watching).toBe(1);
    api.put({ name: "orders-c", service: "orders", endpoints: at(4) });
    await expect.poll(() => heard.addresses).toContain(shop(4));
    expect(Math.min(...heard.sizes)).toBe(2);
  });
});

it("a port that no slice has is an error with those that there are, and keeps the last good set", async () => {
  await watched();
  api.put({
    name: "orders-a",
    service: "orders",
    ports: [
      { name: "grpc", port: 81 },
      { name: "admin", port: 82 },
    ],
    endpoints: at(1),
  });
  await expect
    .poll(() => heard.errors.at(-1)?.message)
    .toBe(
      "the Service shop/orders has no port http: its ports are admin, grpc. Write one of them as port",
    );
  expect(heard.addresses).toBe(shop(1, 2));
});

it("a Service that does not exist has no endpoints, and says why", async () => {
  bench.watch("shop/nothing", heard);
  await expect.poll(() => heard.news).toEqual(["replace"]);
  expect(heard.why).toContain(
    "neither an EndpointSlice of the Service shop/nothing exists nor the Service",
  );
});

it("slices without ports, with 1,000 addresses and with names twice harm nothing", async () => {
  await watched();
  api.put({ name: "orders-b", service: "orders", ports: null, endpoints: at(3) });
  api.put({
    name: "orders-c",
    service: "orders",
    ports: [
      { name: "http", port: 80 },
      { name: "http", port: 99 },
    ],
    endpoints: at(4),
  });
  const many = Array.from({ length: 1_000 }, (_, i) => ({
    address: `10.1.${i >> 8}.${i & 255}`,
    uid: `m${i}`,
  }));
  api.put({ name: "orders-d", service: "orders", endpoints: many });
  await expect.poll(() => heard.set.size).toBe(1_003);
  expect(heard.set.has("10.0.0.4:80")).toBe(true);
});

it("all is well within 2 seconds of the API server being back", async () => {
  await watched();
  await api.close();
  await expect.poll(() => heard.errors.length).toBeGreaterThan(2);
  expect(heard.addresses).toBe(shop(1, 2));
  const before = heard.news.length;
  const startedAt = performance.now();
  await api.listen(port);
  await expect
    .poll(() => heard.news.slice(before).some((one) => one.startsWith("change")))
    .toBe(true);
  // Generous for a busy machine: the longest pause is 1.5 s.
  expect(performance.now() - startedAt).toBeLessThan(5_000);
});

it("D11 CO: of 5,000 endpoints in 50 slices, a change is one of what changed", async () => {
  const slice = (s: number, uid: string): FakeEndpoint[] =>
    Array.from({ length: 100 }, (_, i) => ({
      address: `10.1.${s}.${i}`,
      uid: i === 0 ? `${uid}-${s}` : `uid-${s}-${i}`,
    }));
  for (let s = 0; s < 50; s++) {
    api.put({ name: `many-${s}`, service: "many", endpoints: slice(s, "old") });
  }
  bench.watch("shop/many:http", heard);
  await expect.poll(() => heard.set.size).toBe(5_000);
  await expect.poll(() => api.watching).toBe(1);
  const before = [...heard.set.values()];
  api.put({ name: "many-7", service: "many", endpoints: slice(7, "new") });
  await expect.poll(() => heard.news).toEqual(["replace", "change +1 -1"]);
  const same = before.filter((info) => heard.set.get(`${info.host}:80`) === info);
  expect(same).toHaveLength(4_999);
});

it("a path in the address of the API server stands before all requests", async () => {
  const seen: string[] = [];
  api.intercept = (url) => {
    seen.push(url.pathname);
    url.pathname = url.pathname.replace("/k8s/clusters/a", "");
    return false;
  };
  const server = `http://127.0.0.1:${port}/k8s/clusters/a/`;
  const behind = benchFor(kubeconfigFor(port, "secret-token"), [server]);
  behind.watch("shop/orders:http", heard);
  await becomes(shop(1, 2));
  expect(seen[0]).toMatch(/^\/k8s\/clusters\/a\/apis\/discovery/);
  behind.stop();
});

it("several addresses of API servers are tried in turn", async () => {
  const path = kubeconfigFor(port, "secret-token");
  const other = benchFor(path, ["http://127.0.0.1:1", `http://127.0.0.1:${port}`]);
  other.watch("shop/orders:http", heard);
  await becomes(shop(1, 2));
  other.stop();
});

it("D8 CO: every port of a Service hears of each change", async () => {
  const ports = [
    { name: "http", port: 80 },
    { name: "grpc", port: 90 },
  ];
  api.put({ name: "orders-a", service: "orders", ports, endpoints: at(1) });
  const grpc = new Heard();
  bench.watch("shop/orders:http", heard);
  bench.watch("shop/orders:grpc", grpc);
  await becomes("10.0.0.1:80");
  await becomes("10.0.0.1:90", grpc);
  api.put({ name: "orders-a", service: "orders", ports, endpoints: at(1, 2) });
  await becomes("10.0.0.1:80 10.0.0.2:80");
  await becomes("10.0.0.1:90 10.0.0.2:90", grpc);
  expect([...heard.sizes, ...grpc.sizes]).not.toContain(0);
});
