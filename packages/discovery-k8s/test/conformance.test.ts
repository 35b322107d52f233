/** The kind keeps the contract of discovery, in virtual time and over real sockets. */
import type { DiscoveryMesh, DiscoveryOfService, EndpointInfo } from "@inmesh/core/spi/discovery";
import { discoveryConformance, SimRuntime, type DiscoveryAdapter } from "@inmesh/core/testing";
import { describe, it } from "vitest";
import { kubernetes } from "../src/index.ts";
import { FakeApi, refuse } from "./support/fake-api.ts";
import { kubeconfigFor } from "./support/watched.ts";

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const adapter: DiscoveryAdapter = {
  changes: true,
  drains: true,
  async open(first) {
    const api = new FakeApi();
    const say = (known: readonly EndpointInfo[] | undefined): void => {
      if (known === undefined) {
        api.intercept = (_url, _request, response) => {
          refuse(response, 500, "InternalError", "etcd is away");
          return true;
        };
        return api.reset();
      }
      api.intercept = undefined;
      const endpoints = known.map(({ host, draining }) => ({
        address: host,
        uid: host,
        ready: draining !== true,
        serving: true,
        terminating: draining === true,
      }));
      api.put({ name: "orders-a", service: "orders", endpoints });
    };
    say(first);
    const path = kubeconfigFor(await api.listen(), "token");
    const runtime = new SimRuntime(1);
    const made = new Map<unknown, unknown>();
    const mesh = {
      runtime,
      shared(make: (mesh: DiscoveryMesh) => unknown) {
        if (!made.has(make)) made.set(make, make(mesh as unknown as DiscoveryMesh));
        return made.get(make);
      },
    } as unknown as DiscoveryOfService;
    const turn = async (): Promise<void> => {
      await runtime.advance(10);
      await pause(1);
    };
    return {
      discovery: kubernetes({ kubeconfig: path }).open(
        { namespace: "shop", service: "orders", port: "http" },
        mesh,
      ),
      say,
      async until(condition) {
        const end = performance.now() + 10_000;
        while (!condition()) {
          if (performance.now() > end) throw new Error("it was never reported");
          await turn();
        }
      },
      async settle() {
        for (let i = 0; i < 50; i++) await turn();
      },
      close: () => api.close(),
    };
  },
};

describe("discovery conformance: kubernetes", () => {
  for (const { title, run } of discoveryConformance(adapter)) it(title, run);
});
