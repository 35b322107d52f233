/** What the documented semantics of Services and EndpointSlices mean for a mesh, over real sockets. */
import { createServer as createHttp1 } from "node:http";
import { createServer as createHttp2 } from "node:http2";
import { createServer, type AddressInfo } from "node:net";
import type { DiscoveryMesh, DiscoveryOfService, FoundPlace } from "@inmesh/core/spi/discovery";
import { createMesh } from "@inmesh/core";
import { AheadRuntime } from "@inmesh/core/testing";
import { meshClient, meshServer } from "@inmesh/http";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { kubernetes, type KubernetesOptions } from "../src/index.ts";
import { FakeApi, refuse, type FakeEndpoint } from "./support/fake-api.ts";
import { Heard, kubeconfigFor } from "./support/watched.ts";

let api: FakeApi;
let path: string;
let heard: Heard;
const stops: (() => void)[] = [];

beforeEach(async () => {
  api = new FakeApi();
  path = kubeconfigFor(await api.listen(), "token");
  heard = new Heard();
});

afterEach(async () => {
  for (const stop of stops.splice(0)) stop();
  await api.close();
});

interface Watched {
  readonly places: FoundPlace[];
  readonly lines: string[];
}

/** A Service of the namespace `shop`, as `orders:http`. */
function watch(written: string, options: KubernetesOptions = {}, listener = heard): Watched {
  const places: FoundPlace[] = [];
  const lines: string[] = [];
  const made = new Map<unknown, unknown>();
  const mesh = {
    runtime: new AheadRuntime(),
    log: ({ message }: { message: string }) => lines.push(message),
    place: {
      zone: undefined,
      found: (_: string, place: FoundPlace) => places.push(place),
    },
    shared(make: (mesh: DiscoveryMesh) => unknown) {
      if (!made.has(make)) made.set(make, make(mesh as unknown as DiscoveryMesh));
      return made.get(make);
    },
  };
  const kind = kubernetes({ kubeconfig: path, ...options });
  const [service = "", port = ""] = written.split(":");
  const wanted = { namespace: "shop", service, port };
  const watching = kind.open(wanted, mesh as unknown as DiscoveryOfService).watch(listener);
  stops.push(() => watching.stop());
  return { places, lines };
}

const pods = (...names: string[]): FakeEndpoint[] =>
  names.map((name, i) => {
    const [pod = "", zone = ""] = name.split("@");
    return { address: `10.0.0.${i + 1}`, uid: `uid-${pod}`, pod, zone, node: `node-${zone}` };
  });

describe("the place of this pod", () => {
  it("is found in the slices of its own Service: zone, pods of its kind by zone, and its rank", async () => {
    api.put({ name: "orders-a", service: "orders", endpoints: pods("orders-1@a") });
    api.put({ name: "other-a", service: "other", endpoints: pods("front-x@a") });
    const { places } = watch("orders:http", { pod: "front-b" });
    await expect.poll(() => heard.set.size).toBe(1);
    // The pod becomes ready, and with it its Service is known.
    api.put({
      name: "front-a",
      service: "front",
      endpoints: pods("front-c@b", "front-b@b", "front-a@a"),
    });
    await expect.poll(() => places.length).toBe(1);
    expect(places[0]).toEqual({
      zone: "b",
      podsPerZone: new Map([
        ["b", 2],
        ["a", 1],
      ]),
      rank: 1,
    });
    // It leaves: its zone stays, and it is none of the ready ones.
    api.put({ name: "front-a", service: "front", endpoints: pods("front-c@b", "front-a@a") });
    await expect.poll(() => places.at(-1)?.rank).toBe(undefined);
    expect(places.at(-1)?.zone).toBe("b");
    expect(api.watching).toBe(1);
  });

  it("a StatefulSet counts its pods by their number, and both families of a pod are one", async () => {
    const members = pods("db-9@a", "db-10@b", "db-2@a");
    api.put({ name: "db-4", service: "db", endpoints: members });
    const six = members.map((one, i) => ({ ...one, address: `fd00::${i}` }));
    api.put({ name: "db-6", service: "db", addressType: "IPv6", endpoints: six });
    const { places } = watch("db:http", { pod: "db-10", ownService: "db" });
    await expect.poll(() => places.length).toBeGreaterThan(0);
    expect(places.at(-1)).toEqual({
      zone: "b",
      podsPerZone: new Map([
        ["a", 2],
        ["b", 1],
      ]),
      rank: 2,
    });
  });

  it("takes the right to read one Service where no other is given, and says what is missing without it", async () => {
    api.put({ name: "orders-a", service: "orders", endpoints: pods("orders-1@a") });
    api.put({ name: "front-a", service: "front", endpoints: pods("front-b@b") });
    api.intercept = (url, _, response) => {
      if (url.searchParams.get("labelSelector")?.includes("=") === true) return false;
      refuse(response, 403, "Forbidden", "no");
      return true;
    };
    const said = watch("orders:http", { pod: "front-b", ownService: "front" });
    await expect.poll(() => said.places.at(-1)?.zone).toBe("b");
    expect(said.lines).toEqual([]);
    const unsaid = watch("orders:http", { pod: "front-b" }, new Heard());
    await expect.poll(() => unsaid.lines).toHaveLength(1);
    expect(unsaid.lines[0]).toContain("the zone of this pod is not known");
    expect(unsaid.lines[0]).toContain("kubectl create role inmesh-endpoints -n shop");
    expect(unsaid.places).toEqual([]);
    await expect.poll(() => heard.set.size).toBe(1);
  });

  it("makes calls stay in the zone, through the whole mesh, where nothing is configured for it", async () => {
    const server = meshServer((_, response) => response.end("served"), {
      discoveryWaitMs: 0,
      idleWaitMs: 0,
    });
    const { port } = await server.listen(0, "0.0.0.0");
    const at = (zone: string, ...hosts: number[]): FakeEndpoint[] =>
      hosts.map((host) => ({ address: `127.0.0.${host}`, uid: `orders-${host}`, zone }));
    const ports = [{ name: "http", port }];
    api.put({ name: "orders-a", service: "orders", ports, endpoints: at("a", 11, 12, 13) });
    api.put({ name: "orders-b", service: "orders", ports, endpoints: at("b", 21, 22, 23) });
    api.put({ name: "front-a", service: "front", endpoints: pods("front-1@a", "front-2@b") });
    const mesh = createMesh({
      discoveries: [kubernetes({ kubeconfig: path, pod: "front-1" })],
      config: { services: { orders: { discovery: { kubernetes: "shop/orders:http" } } } },
    });
    const orders = meshClient("orders", { mesh });
    await (await orders.fetch("/")).text();
    await expect
      .poll(() => mesh.snapshot().services[0]!.zones.mode, { timeout: 5_000 })
      .toBe("local");
    expect(mesh.snapshot().place).toEqual({
      zone: "a",
      zoneFrom: "kubernetes",
      podsPerZone: { a: 1, b: 1 },
      rank: 0,
    });
    const inZone = (): number =>
      mesh
        .snapshot()
        .services[0]!.endpoints.filter(({ zone }) => zone === "a")
        .reduce((sum, { picks }) => sum + picks, 0);
    const before = inZone();
    for (let i = 0; i < 100; i++) await (await orders.fetch("/")).text();
    expect(inZone() - before).toBeGreaterThan(90);
    await mesh.close();
    await server.close();
  });
});

describe("what a slice says of its endpoints", () => {
  it("zone, node, pod, hints, weight and metadata reach the mesh", async () => {
    api.put({
      name: "orders-a",
      service: "orders",
      labels: { "inmesh.io/weight": "2", "inmesh.io/track": "stable" },
      annotations: { "inmesh.io/weight": "2.5", "example.com/other": "x" },
      endpoints: [{ ...pods("orders-1@a")[0]!, forZones: ["a", "b"] }],
    });
    watch("orders:http");
    await expect.poll(() => heard.set.size).toBe(1);
    expect(heard.set.get("10.0.0.1:80")).toEqual({
      host: "10.0.0.1",
      port: 80,
      uid: "uid-orders-1",
      zone: "a",
      weight: 2.5,
      forZones: ["a", "b"],
      metadata: { track: "stable", pod: "orders-1", node: "node-a" },
    });
    // What changes of it is one change of the endpoint.
    api.put({ name: "orders-a", service: "orders", endpoints: pods("orders-1@a") });
    await expect.poll(() => heard.set.get("10.0.0.1:80")?.forZones).toBe(undefined);
    expect(heard.set.get("10.0.0.1:80")?.weight).toBe(undefined);
    expect(heard.news).toEqual(["replace", "change +1 -0"]);
  });

  it.each(["-1", "NaN", "4294967296", "10001", "1e3", ""])(
    "D15 CO: the weight %j is refused, and the last good endpoints stay",
    async (weight) => {
      api.put({ name: "orders-a", service: "orders", endpoints: pods("orders-1@a") });
      watch("orders:http");
      await expect.poll(() => heard.set.size).toBe(1);
      const endpoints = pods("orders-1@a", "orders-2@a");
      const annotations = { "inmesh.io/weight": weight };
      api.put({ name: "orders-a", service: "orders", annotations, endpoints });
      await expect.poll(() => heard.errors.length).toBe(1);
      expect(heard.errors[0]!.message).toBe(
        `the EndpointSlice orders-a says inmesh.io/weight: ${JSON.stringify(weight)}, which must be a number from 0 to 10000`,
      );
      expect(heard.set.size).toBe(1);
      api.put({ name: "orders-a", service: "orders", endpoints });
      await expect.poll(() => heard.set.size).toBe(2);
    },
  );

  it.each([
    ["IPv4", "10.0.0.1:80 10.0.0.2:80 [fd00::7]:80"],
    ["IPv6", "10.0.0.2:80 [fd00::1]:80 [fd00::7]:80"],
  ] as const)(
    "D18 CO: with both families a pod has one address, by %s",
    async (addressFamily, expected) => {
      api.put({ name: "four", service: "orders", endpoints: pods("orders-1@a", "orders-2@a") });
      api.put({
        name: "six",
        service: "orders",
        addressType: "IPv6",
        endpoints: [
          { address: "fd00::1", uid: "uid-orders-1" },
          { address: "fd00::7", uid: "uid-orders-7" },
        ],
      });
      watch("orders:http", { addressFamily });
      await expect.poll(() => heard.addresses).toBe(expected);
      expect(() => kubernetes({ addressFamily: "ipv6" as never })).toThrow(TypeError);
    },
  );

  it("appProtocol kubernetes.io/h2c means HTTP/2, and no other value does", async () => {
    const versions: string[] = [];
    const serve = (request: { httpVersion: string }, response: { end(): unknown }): void => {
      versions.push(request.httpVersion);
      response.end();
    };
    const one = createHttp1(serve);
    const two = createHttp2(serve);
    // One port for both, as h2c has it: the first bytes of a connection say which it is.
    const server = createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", (chunk: Buffer) => {
        socket.pause();
        socket.unshift(chunk);
        const isTwo = chunk.toString("latin1").startsWith("PRI ");
        (isTwo ? two : one).emit("connection", socket);
        if (!isTwo) socket.resume();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const endpoints = [{ address: "127.0.0.1", uid: "1" }];
    const say = (appProtocol?: string): void => {
      const named = { name: "http", port, ...(appProtocol && { appProtocol }) };
      api.put({ name: "orders-a", service: "orders", ports: [named], endpoints });
    };
    say("kubernetes.io/h2c");
    const mesh = createMesh({
      discoveries: [kubernetes({ kubeconfig: path })],
      config: { services: { orders: { discovery: { kubernetes: "shop/orders:http" } } } },
    });
    const orders = meshClient("orders", { mesh });
    const spoken = async (): Promise<string> => {
      await (await orders.fetch("/")).text();
      return versions.at(-1)!;
    };
    expect(await spoken()).toBe("2.0");
    // D17: one step, and the connections of the old protocol end with their calls.
    say("http");
    await expect.poll(spoken, { timeout: 5_000 }).toBe("1.1");
    say("kubernetes.io/h2c");
    await expect.poll(spoken, { timeout: 5_000 }).toBe("2.0");
    await mesh.close();
    await new Promise((resolve) => server.close(resolve));
  });

  it("slices of a headless Service, and those written by hand for one without a selector, are like all others", async () => {
    api.put({
      name: "by-hand",
      service: "legacy",
      ports: [{ port: 5_432 }],
      endpoints: [{ address: "192.0.2.7" }, { address: "192.0.2.8", ready: false }],
    });
    watch("legacy");
    await expect.poll(() => heard.addresses).toBe("192.0.2.7:5432");
    expect(heard.set.get("192.0.2.7:5432")).toEqual({
      host: "192.0.2.7",
      port: 5_432,
      metadata: {},
    });
  });
});

describe("a Service without slices", () => {
  /** The API server says this of the Service. */
  const service = (spec: object | undefined, status = 404): void => {
    api.intercept = (url, _, response) => {
      if (!/\/services\/[a-z]+$/.test(url.pathname)) return false;
      if (spec === undefined) refuse(response, status, "Reason", "no");
      else response.end(JSON.stringify({ kind: "Service", metadata: { name: "db" }, spec }));
      return true;
    };
  };
  const external = { type: "ExternalName", externalName: "db.example.com" };

  it.each([
    ["db:5432", external],
    [
      "db:pg",
      {
        ...external,
        ports: [
          { name: "pg", port: 5_432 },
          { name: "x", port: 1 },
        ],
      },
    ],
    ["db", { ...external, externalName: "db.example.com.", ports: [{ port: 5_432 }] }],
  ])("is a name for DNS if it is an ExternalName: %s", async (written, spec) => {
    service(spec);
    watch(written);
    await expect.poll(() => heard.addresses).toBe("db.example.com:5432");
    expect(heard.news).toEqual(["replace"]);
  });

  it.each([
    ["db:pg", external, 0, "says nothing of the port pg: write its number as port"],
    ["db:99999", external, 0, "says nothing of the port 99999"],
    ["db:1", { ...external, externalName: "no name!" }, 0, "its name is none of DNS"],
    ["db:1", { type: "ClusterIP" }, 0, "has it a selector, and does a pod match it?"],
    [
      "db:1",
      undefined,
      404,
      "neither an EndpointSlice of the Service shop/db exists nor the Service",
    ],
    [
      "db:1",
      undefined,
      403,
      "kubectl create role inmesh-services -n shop --verb=get --resource=services",
    ],
  ])("has no endpoints otherwise, and says why: %s %j", async (written, spec, status, expected) => {
    service(spec, status);
    watch(written);
    await expect.poll(() => heard.news).toEqual(["replace"]);
    expect(heard.set.size).toBe(0);
    expect(heard.why).toContain(expected);
  });

  it("that cannot be read is an error, and slices that come are used at once", async () => {
    service(undefined, 500);
    watch("db:http");
    await expect.poll(() => heard.errors.length).toBe(1);
    api.put({ name: "db-a", service: "db", endpoints: pods("db-1@a") });
    await expect.poll(() => heard.addresses).toBe("10.0.0.1:80");
  });

  it("D16 CO: that was deleted has no endpoints at once, before the Service itself is read", async () => {
    api.put({ name: "db-a", service: "db", endpoints: pods("db-1@a") });
    watch("db:http");
    await expect.poll(() => heard.set.size).toBe(1);
    let release = (): void => {};
    api.intercept = (url, _, response) => {
      if (!url.pathname.endsWith("/services/db")) return false;
      release = () => refuse(response, 404, "NotFound", "no");
      return true;
    };
    api.delete("db-a");
    await expect.poll(() => heard.set.size).toBe(0);
    release();
    await expect.poll(() => heard.why).toContain("neither");
  });
});
