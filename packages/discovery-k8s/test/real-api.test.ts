/**
 * The same client against a real kube-apiserver with etcd, where `INMESH_KUBE_BIN` names the folder that holds both
 * (CONTRIBUTING.md says how they are built). The fake API server of the other tests claims to behave like it.
 */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
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
