/** Whose options count: of a call against its route's timeouts, and of two clients of one service. */
import { ConfigError, type Mesh, type ServiceInput } from "@inmesh/core";
import { context, ServedRequest } from "@inmesh/core/spi";
import { meshClient, type MeshClient } from "@inmesh/http";
import { describe, expect, it } from "vitest";
import { clientOf, failureOf, meshOf, peerOf } from "./wire.ts";

async function silent(input: ServiceInput): Promise<MeshClient> {
  const peer = await peerOf(async (connection) => {
    await connection.readRequest();
    await connection.hold();
  });
  return clientOf([peer.address], { retry: { attempts: 1 }, ...input });
}

async function lastedMs(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  expect((await failureOf(work())).code).toBe("deadline_exceeded");
  return performance.now() - startedAt;
}

const routes = [
  {
    name: "reports",
    matches: [{ path: { value: "/reports" } }],
    timeouts: { requestMs: 50, maxRequestMs: 250 },
  },
];

describe("LC: a call that asks for more time than its route's timeout", () => {
  it.each<[string, ServiceInput, string, number | undefined, number]>([
    ["gets no more", { timeouts: { requestMs: 50 } }, "/", 2_000, 50],
    [
      "gets it where the service allows it",
      { timeouts: { requestMs: 50, maxRequestMs: 2_000 } },
      "/",
      200,
      200,
    ],
    [
      "gets it up to what is allowed",
      { timeouts: { requestMs: 50, maxRequestMs: 200 } },
      "/",
      9_000,
      200,
    ],
    [
      "gets it up to any length",
      { timeouts: { requestMs: 50, maxRequest: "none" } },
      "/",
      200,
      200,
    ],
    ["gets it where its route allows it", { routes }, "/reports/1", 9_000, 250],
    [
      "gets less when it asks for less",
      { timeouts: { requestMs: 2_000, maxRequestMs: 9_000 } },
      "/",
      50,
      50,
    ],
    [
      "gets the default when it asks for nothing",
      { timeouts: { requestMs: 50, maxRequestMs: 9_000 } },
      "/",
      undefined,
      50,
    ],
  ])("P20 LC: %s", async (_what, input, path, timeoutMs, expectedMs) => {
    const client = await silent(input);
    const init = timeoutMs === undefined ? {} : { timeoutMs };
    const ms = await lastedMs(() => client.fetch(path, init));
    expect(ms).toBeGreaterThan(expectedMs - 20);
    expect(ms).toBeLessThan(expectedMs + 400);
  });

  it("P20 LC: gets no more than the request being served has left", async () => {
    const client = await silent({ timeouts: { requestMs: 50, maxRequestMs: 9_000 } });
    const { runtime } = client.mesh;
    const served = new ServedRequest({ deadlineAt: runtime.now() + 120 });
    const ms = await lastedMs(() =>
      context.run(served, () => client.fetch("/", { timeoutMs: 5_000 })),
    );
    expect(ms).toBeLessThan(500);
  });
});

describe("LC: options of two clients of one service", () => {
  const config = { services: { orders: { discovery: { static: ["127.0.0.1:1"] } } } };
  const options = { retry: { attempts: 3 }, timeouts: { requestMs: 900 } };

  it.each(["first", "second"] as const)(
    "P20 LC: the %s says nothing: both have what the other says, in either order",
    (silentOne) => {
      const mesh = meshOf({ config });
      const given = [silentOne === "first" ? {} : options, silentOne === "second" ? {} : options];
      for (const input of given) meshClient("orders", { mesh, ...input });
      const { retry, timeouts } = mesh.config.current.services["orders"]!;
      expect([retry.attempts, timeouts.requestMs]).toEqual([3, 900]);
    },
  );

  it("P20 LC: the same, written in another order, are the same", () => {
    const mesh = meshOf({ config });
    meshClient("orders", { mesh, retry: options.retry, timeouts: options.timeouts });
    meshClient("orders", { mesh, timeouts: options.timeouts, retry: options.retry });
    expect(mesh.config.current.services["orders"]!.retry.attempts).toBe(3);
  });

  it.each([
    [{ retry: { attempts: 3 } }, { retry: { attempts: 4 } }],
    [{ retry: { attempts: 4 } }, { retry: { attempts: 3 } }],
  ])("P20 LC: %j and then %j: the error names both, and the first stays", (one, other) => {
    const mesh = meshOf({ config });
    meshClient("orders", { mesh, ...one });
    const open = (): MeshClient => meshClient("orders", { mesh, ...other });
    expect(open).toThrow(ConfigError);
    expect(open).toThrow(
      `services.orders.retry: was given as ${JSON.stringify(one.retry)} by the client made at `,
    );
    expect(open).toThrow(
      `, and is ${JSON.stringify(other.retry)} here; options belong to the service, and all of its clients share them: give both the same, leave the options out at one of them`,
    );
    const { retry } = mesh.config.current.services["orders"]!;
    expect(retry.attempts).toBe(one.retry.attempts);
  });

  it("P20 LC: what only one of them says is named too, and no secret", () => {
    const mesh = meshOf({ config: {} });
    meshClient("http://orders:80", { mesh, timeouts: { requestMs: 5 } });
    const open = (): MeshClient =>
      meshClient("http://orders:80", { mesh, retry: { attempts: 1 }, timeouts: { requestMs: 5 } });
    expect(open).toThrow(/orders.*\.retry: was given as nothing .* and is \{"attempts":1\} here/);
  });

  class OrdersApi {
    readonly client: MeshClient;
    constructor(mesh: Mesh) {
      this.client = meshClient("orders", { mesh, retry: { attempts: 3 } });
    }
  }

  it("P20 LC: the error names the line at which the first was made", () => {
    const mesh = meshOf({ config });
    const first = new OrdersApi(mesh);
    expect(meshClient("orders", { mesh }).name).toBe(first.client.name);
    const limit = Error.stackTraceLimit;
    const open = (): MeshClient => meshClient("orders", { mesh, retry: { attempts: 4 } });
    expect(open).toThrow(
      /by the client made at new OrdersApi \(\S+calls-options\.test\.ts:\d+:\d+\), and is/,
    );
    expect(Error.stackTraceLimit).toBe(limit);
  });

  it.each([
    ["another format of stacks", () => ["a", "list"]],
    [
      "a formatter that throws",
      () => {
        throw new Error("no");
      },
    ],
  ])("P2 LC: with %s of the host it names no line", (_name, format) => {
    const before = Error.prepareStackTrace;
    const mesh = meshOf({ config });
    Error.prepareStackTrace = format;
    try {
      meshClient("orders", { mesh, retry: { attempts: 3 } });
    } finally {
      Error.prepareStackTrace = before;
    }
    const open = (): MeshClient => meshClient("orders", { mesh, retry: { attempts: 4 } });
    expect(open).toThrow("by a client of this service before");
  });
});
