/** What an API server says that is wrong: the last good endpoints stay, and the error says what to do. */
import { SimRuntime } from "@inmesh/core/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readSlice } from "../src/slice.ts";
import { FakeApi, type FakeEndpoint } from "./support/fake-api.ts";
import { benchFor, Heard, kubeconfigFor, type Bench } from "./support/watched.ts";

let api: FakeApi;
let port: number;
let bench: Bench;
let heard: Heard;

const at = (...hosts: number[]): FakeEndpoint[] =>
  hosts.map((host) => ({ address: `10.0.0.${host}`, uid: `uid-${host}` }));
const shop = (...hosts: number[]): string => hosts.map((host) => `10.0.0.${host}:80`).join(" ");

beforeEach(async () => {
  api = new FakeApi();
  port = await api.listen();
  bench = benchFor(kubeconfigFor(port, "secret-token"));
  heard = new Heard();
  api.put({ name: "orders-a", service: "orders", endpoints: at(1, 2) });
});

afterEach(async () => {
  bench.stop();
  await api.close();
});

async function watched(): Promise<void> {
  bench.watch("shop/orders:http", heard);
  await expect.poll(() => heard.addresses).toBe(shop(1, 2));
  await expect.poll(() => api.watching).toBe(1);
}

const event = (name: string, version: unknown, type = "MODIFIED", rest: object = {}): string =>
  `${JSON.stringify({
    type,
    object: {
      metadata: {
        name,
        resourceVersion: version,
        labels: { "kubernetes.io/service-name": "orders" },
      },
      addressType: "IPv4",
      ports: [{ name: "http", port: 80, protocol: "TCP" }],
      endpoints: [{ addresses: ["10.0.0.9"] }],
      ...rest,
    },
  })}\n`;

describe("an API server that lies about versions", () => {
  it("D6 CO: a change with the version of what is known, or an older one, changes nothing", async () => {
    await watched();
    for (const version of [String(api.version), "1", "0"]) api.raw(event("orders-a", version));
    api.put({ name: "orders-b", service: "orders", endpoints: at(3) });
    await expect.poll(() => heard.addresses).toBe(shop(1, 2, 3));
    expect(heard.errors).toEqual([]);
  });

  it.each([7, null, "", {}, "x".repeat(2_000)])(
    "D19 CO: %j is no version: the watch ends, and everything is listed",
    async (version) => {
      await watched();
      const lists = api.requests.length;
      api.put({ name: "orders-b", service: "orders", endpoints: at(3) }, { silent: true });
      api.raw(event("orders-a", version));
      await expect.poll(() => heard.addresses).toBe(shop(1, 2, 3));
      expect(api.requests.length).toBeGreaterThan(lists);
      expect(Math.min(...heard.sizes)).toBe(2);
    },
  );

  it("D6 CO: versions that are no numbers are compared for equality, and every change counts", async () => {
    await watched();
    api.raw(event("orders-x", "abc", "ADDED"));
    await expect.poll(() => heard.addresses).toBe(shop(1, 2, 9));
    api.raw(event("orders-x", "aaa", "MODIFIED", { endpoints: [{ addresses: ["10.0.0.8"] }] }));
    await expect.poll(() => heard.addresses).toBe(shop(1, 2, 8));
    api.raw(event("orders-x", "aaa", "MODIFIED", { endpoints: [] }));
    api.put({ name: "orders-b", service: "orders", endpoints: at(3) });
    await expect.poll(() => heard.addresses).toBe(shop(1, 2, 3, 8));
  });

  it("D5 CO: pages of two versions are no list, and the last good endpoints stay meanwhile", async () => {
    api.streams = false;
    await watched();
    api.pageSize = 1;
    api.put({ name: "orders-b", service: "orders", endpoints: at(3) }, { silent: true });
    let liesLeft = 3;
    api.intercept = (url, _, response) => {
      if (!url.searchParams.has("continue") || liesLeft-- <= 0) return false;
      const metadata = { resourceVersion: "999999" };
      response.end(JSON.stringify({ kind: "EndpointSliceList", metadata, items: [] }));
      return true;
    };
    api.oldest = Infinity;
    api.reset();
    await expect.poll(() => api.requests.length).toBeGreaterThan(3);
    api.oldest = 0;
    await expect.poll(() => heard.errors.at(-1)?.message).toContain("the version has moved");
    expect(heard.addresses).toBe(shop(1, 2));
    await expect.poll(() => heard.addresses, { timeout: 10_000 }).toBe(shop(1, 2, 3));
  });

  it("D19 CO: a list without a version, and one that is no JSON, are errors that name the API server", async () => {
    const runtime = new SimRuntime(1);
    api.streams = false;
    const virtual = benchFor(kubeconfigFor(1, "t"), [`http://127.0.0.1:${port}`], runtime);
    let body = JSON.stringify({ kind: "EndpointSliceList", metadata: {}, items: [] });
    api.intercept = (url, _, response) => {
      if (url.searchParams.get("watch") === "true") return false;
      response.end(body);
      return true;
    };
    virtual.watch("shop/orders:http", heard);
    const fails = async (text: string): Promise<void> => {
      for (let i = 0; i < 200 && heard.errors.at(-1)?.message.includes(text) !== true; i++) {
        await runtime.advance(100);
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      expect(heard.errors.at(-1)!.message).toContain(text);
    };
    await fails("the API server has sent a list without a version");
    body = "<html>a login page</html>";
    await fails("the API server's list is no JSON");
    virtual.stop();
  });
});

describe("a slice that is not as the API defines it", () => {
  it("conditions that are unknown, or are no booleans, are as if they were not there", async () => {
    const conditions = { ready: "maybe", serving: 1, terminating: "no", levitating: true };
    await watched();
    api.raw(
      event("orders-b", `${++api.version}`, "ADDED", {
        endpoints: [{ addresses: ["10.0.0.3"], conditions }],
      }),
    );
    await expect.poll(() => heard.addresses).toBe(shop(1, 2, 3));
    expect(heard.set.get("10.0.0.3:80")?.draining).toBe(undefined);
  });

  it("of an endpoint with 1,000 addresses the first counts, and of a slice with 2,000 endpoints 1,000", () => {
    const address = (i: number): string => `10.${i >> 8}.${i & 255}.1`;
    const addresses = Array.from({ length: 1_000 }, (_, i) => address(i));
    const read = readSlice({
      metadata: { name: "a", resourceVersion: "1", labels: {} },
      addressType: "IPv4",
      endpoints: Array.from({ length: 2_000 }, () => ({ addresses })),
    });
    expect(read?.endpoints).toHaveLength(1_000);
    expect(read?.endpoints[0]?.address).toBe(address(0));
  });

  it.each([
    ["no object", 7],
    ["no metadata", { addressType: "IPv4" }],
    [
      "an unknown addressType",
      { metadata: { name: "a", resourceVersion: "1" }, addressType: "DNS" },
    ],
    ["no version", { metadata: { name: "a" }, addressType: "IPv4" }],
  ])("%s is no slice", (_, object) => {
    expect(readSlice(object)).toBe(undefined);
  });

  it("endpoints, ports, hints, labels and targets of wrong types are left out, and nothing throws", () => {
    const meta = {
      name: "a",
      resourceVersion: "1",
      labels: { "inmesh.io/weight": 7, x: null },
      annotations: [],
    };
    const read = readSlice({
      metadata: meta,
      addressType: "IPv4",
      ports: [
        null,
        { port: "80" },
        { port: 0 },
        { port: 70_000 },
        { name: 7, port: 80 },
        { port: 80 },
        { port: 81 },
      ],
      endpoints: [
        null,
        { addresses: "10.0.0.1" },
        { addresses: [7] },
        { addresses: ["::1"] },
        {
          addresses: ["10.0.0.2"],
          hints: { forZones: [{}, 7, { name: "" }] },
          targetRef: 7,
          zone: 7,
        },
      ],
    });
    expect(read).toMatchObject({ weight: undefined, problem: undefined, unusable: 4 });
    expect(read?.ports).toEqual([{ name: "", port: 80, appProtocol: undefined }]);
    expect(read?.endpoints).toEqual([
      {
        address: "10.0.0.2",
        ready: true,
        serving: true,
        terminating: false,
        zone: undefined,
        node: undefined,
        pod: undefined,
        uid: undefined,
        forZones: undefined,
      },
    ]);
  });
});

it("a kubeconfig with three mistakes is one error with all of them, and says where it is", async () => {
  const { readKubeconfig } = await import("../src/kubeconfig.ts");
  const config = {
    "current-context": "a",
    contexts: [{ name: "a", context: { cluster: "c", user: "absent" } }],
    clusters: [{ name: "c", cluster: { server: "10.0.0.1:6443", "proxy-url": "proxy" } }],
    users: [],
  };
  expect(() => readKubeconfig(JSON.stringify(config), "/home/me/.kube/config", undefined)).toThrow(
    'the kubeconfig /home/me/.kube/config cannot be used: users has no user named "absent"; server of the cluster must be an http or https URL; proxy-url of the cluster must be an http or https URL',
  );
});
