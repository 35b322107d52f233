/**
 * The same client against a real kube-apiserver with etcd, where `INMESH_KUBE_BIN` names the folder that holds both
 * (CONTRIBUTING.md says how they are built). The fake API server of the other tests claims to behave like it.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createMesh } from "@inmesh/core";
import { meshClient } from "@inmesh/http";
import { kubernetes } from "../src/index.ts";
import { ControlPlane, kubeBin } from "./support/control-plane.ts";
import { benchFor, Heard } from "./support/watched.ts";

const bin = kubeBin();

describe.skipIf(bin === undefined)("a real API server, of INMESH_KUBE_BIN", () => {
  const cluster = new ControlPlane(bin!);
  const ask = cluster.ask.bind(cluster);
  const configFor = cluster.kubeconfig.bind(cluster);

  const SLICES = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices";
  const slice = (
    name: string,
    hosts: readonly number[],
    conditions: object = { ready: true },
  ): object => ({
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name, labels: { "kubernetes.io/service-name": "orders" } },
    addressType: "IPv4",
    ports: [{ name: "http", port: 80, protocol: "TCP" }],
    endpoints: hosts.map((host) => ({ addresses: [`10.0.0.${host}`], conditions })),
  });
  const make = async (name: string, ...hosts: number[]): Promise<void> => {
    const { status, text } = await ask("POST", SLICES, slice(name, hosts));
    expect(status, text).toBe(201);
  };
  const shop = (...hosts: number[]): string => hosts.map((host) => `10.0.0.${host}:80`).join(" ");

  beforeAll(async () => {
    await cluster.start(["mesh,system:serviceaccount:web:front,2"]);
    await ask("POST", "/api/v1/namespaces", { metadata: { name: "shop" } });
  }, 180_000);

  afterAll(() => cluster.stop());

  it("D4 CO: list, watch, changes, a killed API server and its return", async () => {
    const heard = new Heard();
    const bench = benchFor(configFor("admin"));
    await make("orders-a", 1, 2);
    bench.watch("shop/orders:http", heard);
    const becomes = (text: string, timeout = 20_000): Promise<void> =>
      expect.poll(() => heard.addresses, { timeout }).toBe(text);
    await becomes(shop(1, 2));
    await make("orders-b", 3);
    await becomes(shop(1, 2, 3));
    const going = { ready: false, serving: true, terminating: true };
    await ask("PUT", `${SLICES}/orders-b`, slice("orders-b", [3], going));
    await becomes(`-10.0.0.3:80 ${shop(1, 2)}`);
    await ask("DELETE", `${SLICES}/orders-b`);
    await becomes(shop(1, 2));
    expect(heard.errors).toEqual([]);
    cluster.killApi();
    await expect.poll(() => heard.errors.length, { timeout: 20_000 }).toBeGreaterThan(0);
    expect(heard.addresses).toBe(shop(1, 2));
    await cluster.startApi();
    await ask("DELETE", `${SLICES}/orders-a`);
    await make("orders-c", 4);
    await becomes(shop(4));
    expect(heard.sizes.filter((size) => size === 0).length).toBeLessThanOrEqual(1);
    bench.stop();
    await ask("DELETE", `${SLICES}/orders-c`);
  }, 180_000);

  it("D12 CO: what RBAC refuses is allowed by the commands of the error, as they stand", async () => {
    const heard = new Heard();
    const bench = benchFor(configFor("mesh"));
    await make("orders-a", 1);
    bench.watch("shop/orders:http", heard);
    await expect.poll(() => heard.errors.length, { timeout: 20_000 }).toBeGreaterThan(0);
    const [, commands = ""] = /Allow it: (.*)$/.exec(heard.errors[0]!.message) ?? [];
    expect(commands).toContain("--serviceaccount=web:front");
    for (const command of commands.split("; ")) {
      const [program, ...args] = command.split(" ");
      expect(program).toBe("kubectl");
      await cluster.kubectl(...args);
    }
    await expect.poll(() => heard.addresses, { timeout: 20_000 }).toBe(shop(1));
    expect(readFileSync(configFor("mesh"), "utf8")).toContain('"mesh"');
    bench.stop();
    await ask("DELETE", `${SLICES}/orders-a`);
  }, 60_000);

  it("D5 CO: 300 slices come as one set, by a streaming list of the real server", async () => {
    const hosts = Array.from({ length: 300 }, (_, i) => i);
    for (const i of hosts) {
      const object = slice(`many-${i}`, []) as { endpoints: object[] };
      object.endpoints = [
        { addresses: [`10.1.${i >> 8}.${i & 255}`], conditions: { ready: true } },
      ];
      expect((await ask("POST", SLICES, object)).status).toBe(201);
    }
    const heard = new Heard();
    const bench = benchFor(configFor("admin"));
    bench.watch("shop/orders:http", heard);
    await expect.poll(() => heard.set.size, { timeout: 20_000 }).toBe(300);
    expect(heard.sizes).toEqual([300]);
    bench.stop();
  }, 120_000);
});

const withControllers = kubeBin("kube-controller-manager");

describe.skipIf(withControllers === undefined)("slices that the real controller writes", () => {
  const cluster = new ControlPlane(withControllers!);
  const ask = cluster.ask.bind(cluster);
  const CORE = "/api/v1/namespaces/shop";

  beforeAll(async () => {
    await cluster.start();
    cluster.startControllers();
    await ask("POST", "/api/v1/namespaces", { metadata: { name: "shop" } });
  }, 180_000);

  afterAll(() => cluster.stop());

  /** A pod that runs on the node of that zone, as a kubelet would report it. */
  async function pod(name: string, zone: string, ip: string, app = "orders"): Promise<void> {
    const metadata = { name, namespace: "shop", labels: { app } };
    const containers = [{ name: "a", image: "a", ports: [{ name: "http", containerPort: 8080 }] }];
    const made = await ask("POST", `${CORE}/pods`, {
      metadata,
      spec: { nodeName: `node-${zone}`, containers, automountServiceAccountToken: false },
    });
    expect(made.status, made.text).toBe(201);
    await says(name, "True", ip);
  }

  /** The kubelet, of its readiness probe. */
  async function says(name: string, ready: "True" | "False", ip: string): Promise<void> {
    const conditions = [
      { type: "Ready", status: ready },
      { type: "ContainersReady", status: ready },
    ];
    const status = { phase: "Running", podIP: ip, podIPs: [{ ip }], conditions };
    const patched = await ask(
      "PATCH",
      `${CORE}/pods/${name}/status`,
      { status },
      "application/merge-patch+json",
    );
    expect(patched.status, patched.text).toBe(200);
  }

  it("D9 CO: zones come from nodes, labels of the Service reach the slices and its annotations do not, and the pod finds its place", async () => {
    for (const zone of ["a", "b"]) {
      const labels = { "topology.kubernetes.io/zone": zone };
      await ask("POST", "/api/v1/nodes", { metadata: { name: `node-${zone}`, labels } });
    }
    const made = await ask("POST", `${CORE}/services`, {
      metadata: {
        name: "orders",
        labels: { "inmesh.io/weight": "3" },
        annotations: { "inmesh.io/track": "stable" },
      },
      spec: {
        selector: { app: "orders" },
        ports: [{ name: "http", port: 80, targetPort: "http" }],
      },
    });
    expect(made.status, made.text).toBe(201);
    await pod("orders-0", "a", "10.1.0.1");
    await pod("orders-1", "b", "10.1.0.2");
    await pod("orders-2", "b", "10.1.0.3");
    const config = cluster.kubeconfig("admin");
    const written = readFileSync(config, "utf8");
    writeFileSync(
      config,
      written.replace('"cluster":"test"', '"namespace":"shop","cluster":"test"'),
    );
    const mesh = createMesh({
      env: {},
      discoveries: [kubernetes({ kubeconfig: config, pod: "orders-1" })],
      config: { services: { orders: { discovery: { kubernetes: "shop/orders:http" } } } },
    });
    const orders = meshClient("orders", { mesh });
    // The addresses lead nowhere: only discovery counts here.
    void orders.fetch("/", { timeoutMs: 100 }).catch(() => {});
    await expect
      .poll(() => mesh.snapshot().place, { timeout: 60_000 })
      .toEqual({ zone: "b", zoneFrom: "kubernetes", podsPerZone: { a: 1, b: 2 }, rank: 1 });
    const endpoints = (): string[] =>
      mesh
        .snapshot()
        .services[0]!.endpoints.map(({ address, zone, weight }) => `${address} ${zone} ${weight}`)
        .toSorted();
    await expect
      .poll(endpoints)
      .toEqual(["10.1.0.1:8080 a 3", "10.1.0.2:8080 b 3", "10.1.0.3:8080 b 3"]);
    const slices = await ask("GET", "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices");
    expect(slices.text).not.toContain("inmesh.io/track");
    await mesh.close();
  }, 120_000);

  it("D9 CO: the last pod of a Service that is deleted is the last choice, until it does not serve any more", async () => {
    const made = await ask("POST", `${CORE}/services`, {
      metadata: { name: "carts" },
      spec: { selector: { app: "carts" }, ports: [{ name: "http", port: 80, targetPort: "http" }] },
    });
    expect(made.status, made.text).toBe(201);
    await pod("carts-0", "a", "10.1.1.1", "carts");
    const heard = new Heard();
    const bench = benchFor(cluster.kubeconfig("admin"));
    bench.watch("shop/carts:http", heard);
    const becomes = (addresses: string): Promise<void> =>
      expect.poll(() => heard.addresses, { timeout: 30_000 }).toBe(addresses);
    await becomes("10.1.1.1:8080");
    await ask("DELETE", `${CORE}/pods/carts-0?gracePeriodSeconds=600`);
    await becomes("-10.1.1.1:8080");
    await says("carts-0", "False", "10.1.1.1");
    await becomes("--10.1.1.1:8080");
    await pod("carts-1", "a", "10.1.1.2", "carts");
    await becomes("--10.1.1.1:8080 10.1.1.2:8080");
    await ask("DELETE", `${CORE}/pods/carts-0?gracePeriodSeconds=0`);
    await becomes("10.1.1.2:8080");
    bench.stop();
  }, 120_000);

  it("D16 CO: an ExternalName of the real API is a name for DNS", async () => {
    const made = await ask("POST", `${CORE}/services`, {
      metadata: { name: "db" },
      spec: {
        type: "ExternalName",
        externalName: "db.example.com",
        ports: [{ name: "pg", port: 5_432 }],
      },
    });
    expect(made.status, made.text).toBe(201);
    const heard = new Heard();
    const bench = benchFor(cluster.kubeconfig("admin"));
    bench.watch("shop/db:pg", heard);
    await expect.poll(() => heard.addresses, { timeout: 20_000 }).toBe("db.example.com:5432");
    bench.stop();
  }, 60_000);
});
