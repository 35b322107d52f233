/** A mesh that finds its servers by a Service, over sockets from end to end. */
import { createMesh } from "@inmesh/core";
import { meshClient, meshServer } from "@inmesh/http";
import { expect, it } from "vitest";
import { kubernetes } from "../src/index.ts";
import { FakeApi } from "./support/fake-api.ts";
import { kubeconfigFor } from "./support/watched.ts";

it("D9 LC: calls go to what is ready, through a rollout and while the API server is away", async () => {
  const api = new FakeApi();
  const apiPort = await api.listen();
  const first = meshServer((_, response) => response.end("one"), {
    discoveryWaitMs: 0,
    idleWaitMs: 0,
  });
  const second = meshServer((_, response) => response.end("two"), {
    discoveryWaitMs: 0,
    idleWaitMs: 0,
  });
  const { port } = await first.listen(0, "127.0.0.1");
  await second.listen(port, "127.0.0.2");
  const say = (one: object, two?: object): void =>
    api.put({
      name: "orders-a",
      service: "orders",
      ports: [{ name: "http", port }],
      endpoints: [
        { address: "127.0.0.1", uid: "1", ...one },
        ...(two === undefined ? [] : [{ address: "127.0.0.2", uid: "2", ...two }]),
      ],
    });
  say({});
  const mesh = createMesh({
    discoveries: [kubernetes({ kubeconfig: kubeconfigFor(apiPort, "token") })],
    config: { services: { orders: { discovery: { kubernetes: "shop/orders:http" } } } },
  });
  const orders = meshClient("orders", { mesh });
  const answers = async (): Promise<string> => {
    const replies = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const reply = await orders.fetch("/");
        expect(reply.status).toBe(200);
        return reply.text();
      }),
    );
    return [...new Set(replies)].toSorted().join(" and ");
  };
  expect(await answers()).toBe("one");
  say({}, {});
  await expect.poll(answers).toBe("one and two");
  say({ ready: false, serving: true, terminating: true }, {});
  await expect.poll(answers).toBe("two");
  expect(mesh.snapshot().services[0]?.endpoints.map(({ draining }) => draining)).toContain(true);
  // The only one that is ready refuses, and nothing of the cluster has noticed.
  await second.close();
  await expect.poll(() => answers().catch(() => "")).toBe("one");
  await api.close();
  expect(await answers()).toBe("one");
  await expect.poll(() => mesh.snapshot().services[0]?.discovery.source).toBe("kubernetes");
  await mesh.close();
  await first.close();
});

it("what cannot be a Service is a mistake of the configuration", () => {
  const make = (written: unknown) => () =>
    createMesh({
      discoveries: [kubernetes()],
      config: { services: { orders: { discovery: { kubernetes: written } } } } as never,
    });
  for (const wrong of ["", "Shop/orders", "a/b/c", "orders:", 7]) expect(make(wrong)).toThrow();
  expect(make("shop/orders:")).toThrow("must be namespace/service:port, such as shop/orders:http");
  expect(() => kubernetes({ servers: ["10.0.0.1"] })).toThrow(TypeError);
});

it("the port may stand beside the Service, and the port beside dns stays a number", async () => {
  const make = (discovery: object) => () =>
    createMesh({
      discoveries: [kubernetes()],
      config: { services: { orders: { discovery } } } as never,
    });
  const mesh = make({ kubernetes: "shop/orders", port: "http" })();
  await mesh.close();
  await make({ kubernetes: "orders", port: 8080 })().close();
  await make({ dns: "orders.test", port: 8080 })().close();
  expect(make({ dns: "orders.test", port: "http" })).toThrow("must be a whole number");
  expect(make({ dns: "orders.test", port: 70_000 })).toThrow("must be at most 65535");
  expect(make({ srv: "_a._b.orders.test", port: 80 })).toThrow(
    "is only used with dns and kubernetes",
  );
  expect(make({ kubernetes: "shop/orders:a", port: "b" })).toThrow("which has a port");
  expect(make({ kubernetes: "shop/orders", port: {} })).toThrow("the name or the number of a port");
});
