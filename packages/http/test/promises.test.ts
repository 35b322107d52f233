/** Promises to the host process that need sockets: P2, P4, P13 and P14; the others stand in packages/inmesh/test. */
import { AsyncLocalStorage } from "node:async_hooks";
import { getEventListeners } from "node:events";
import { createMesh, type MeshOptions } from "@inmesh/core";
import { expectNoLeak } from "@inmesh/core/testing";
import { meshClient } from "@inmesh/http";
import { describe, expect, it } from "vitest";
import {
  answering,
  clientOf,
  counted,
  failureOf,
  peerOf,
  rejectionOf,
  serve,
  until,
  OK,
} from "./wire.ts";

describe("P2: callbacks of the host", () => {
  const boom = (): never => {
    throw new Error("boom");
  };
  const faulty: Record<string, MeshOptions> = {
    "a call layer throws": { callLayers: [() => boom] },
    "a call layer rejects": { callLayers: [() => () => Promise.reject(new Error("boom"))] },
    "an attempt layer throws": { attemptLayers: [() => boom] },
    "an attempt layer rejects": { attemptLayers: [() => () => Promise.reject(new Error("boom"))] },
  };

  for (const [what, options] of Object.entries(faulty)) {
    it(`P2: ${what}: that call fails with what it threw, is counted once, and holds nothing`, async () => {
      const peer = await answering(OK);
      const client = clientOf([peer.address], {}, options);
      for (let i = 0; i < 5; i++) {
        expect(await rejectionOf(client.fetch("/"))).toMatchObject({ message: "boom" });
      }
      expect(peer.requests).toEqual([]);
      expect(counted(client.mesh, "inmesh.calls")).toBe(5);
      expect(client.mesh.snapshot().services[0]!.callsInFlight).toBe(0);
    });
  }

  it("P2: a layer that is busy for 200 ms is not the endpoint's latency", async () => {
    const peer = await answering(OK);
    const busy: MeshOptions = {
      attemptLayers: [
        (inner) => (attempt) => {
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
          return inner(attempt);
        },
      ],
    };
    const client = clientOf([peer.address], {}, busy);
    await (await client.fetch("/")).text();
    expect(client.mesh.snapshot().services[0]!.endpoints[0]!.latencyMs).toBeLessThan(200);
  });

  it("P2: a log that throws changes nothing", async () => {
    const peer = await answering(OK);
    const client = clientOf([peer.address], {}, { log: boom });
    client.mesh.update({ services: { orders: { discovery: { static: [peer.address] } } } });
    expect(await (await client.fetch("/")).text()).toBe("ok");
  });
});

it("P4: 200 meshes made, used and closed leave no handle, timer, descriptor or listener", async () => {
  const peer = await answering(OK);
  const cycle = async (): Promise<void> => {
    const mesh = createMesh({ env: {} });
    const client = meshClient(`http://${peer.address}`, { mesh });
    await (await client.fetch("/")).text();
    await mesh.close();
  };
  await cycle();
  await until(() => peer.open === 0);
  const listeners = process.eventNames().map((name) => process.listenerCount(name));
  await expectNoLeak(async () => {
    for (let i = 0; i < 200; i++) await cycle();
    await until(() => peer.open === 0);
  });
  expect(process.eventNames().map((name) => process.listenerCount(name))).toEqual(listeners);
  expect(peer.connections).toBe(201);
});

describe("P13: signals and contexts", () => {
  it("P13: a signal has no listener of ours after its call, however it ended", async () => {
    const server = await serve((request, response) => {
      if (request.url === "/hang") return;
      if (request.url === "/reset") return void request.socket.resetAndDestroy();
      response.end("ok");
    });
    const client = clientOf([server.address], { breaker: { consecutiveFailures: 100 } });
    const controller = new AbortController();
    const { signal } = controller;
    const listeners = (): number => getEventListeners(signal, "abort").length;
    await (await client.fetch("/", { signal })).text();
    expect(listeners()).toBe(0);
    (await client.fetch("/", { signal })).discard();
    await until(() => listeners() === 0);
    await failureOf(client.fetch("/reset", { method: "POST", signal }));
    expect(listeners()).toBe(0);
    await failureOf(client.fetch("/hang", { signal, timeoutMs: 50 }));
    expect(listeners()).toBe(0);
    const pending = rejectionOf(client.fetch("/hang", { signal }));
    await until(() => listeners() > 0);
    controller.abort(new Error("enough"));
    expect(await pending).toMatchObject({ message: "enough" });
    expect(listeners()).toBe(0);
    expect(await rejectionOf(client.fetch("/", { signal }))).toMatchObject({ message: "enough" });
    expect(listeners()).toBe(0);
  });

  it("P13: a retry runs in the context of its call, layers included", async () => {
    const store = new AsyncLocalStorage<number>();
    const seen: unknown[] = [];
    const first = new Set<string>();
    const server = await serve((request, response) => {
      const { url = "" } = request;
      if (!first.has(url)) {
        first.add(url);
        return void request.socket.resetAndDestroy();
      }
      response.end("ok");
    });
    const client = clientOf(
      [server.address],
      {
        retryBudget: { ratio: 1, minPerSecond: 100 },
        breaker: { consecutiveFailures: 1_000, successRatio: 0 },
      },
      {
        attemptLayers: [
          (inner) => async (attempt) => {
            seen.push([attempt.number, store.getStore()]);
            return inner(attempt);
          },
        ],
      },
    );
    await Promise.all(
      Array.from({ length: 10 }, (_, i) =>
        store.run(i, async () => {
          await (await client.fetch(`/${i}`)).text();
          expect(store.getStore()).toBe(i);
        }),
      ),
    );
    const expected = Array.from({ length: 10 }, (_, i) => [
      [1, i],
      [2, i],
    ]).flat();
    expect(new Set(seen.map(String))).toEqual(new Set(expected.map(String)));
    expect(seen).toHaveLength(20);
  });
});

it("P14: no header, query or body of a call stands in its error, the snapshot or the metrics", async () => {
  const SECRET = "canary-4f1d";
  const endings = [
    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
    `garbage ${SECRET}\r\n\r\n`,
    "",
  ];
  const held: string[] = [];
  const hold = (error: Error & { readonly cause?: unknown }): void => {
    held.push(error.message, error.stack ?? "", JSON.stringify(error));
    if (error.cause instanceof Error) held.push(error.cause.message, error.cause.stack ?? "");
  };
  const init = {
    method: "POST",
    headers: { authorization: `Bearer ${SECRET}`, cookie: SECRET },
    body: SECRET,
    timeoutMs: 200,
  };
  const addresses: string[] = [];
  for (const bytes of endings) {
    const peer = await peerOf(async (connection) => {
      await connection.readRequest();
      if (bytes === "") return connection.rst();
      await connection.write(bytes);
      connection.fin();
    });
    addresses.push(peer.address);
  }
  const silent = await peerOf(async (connection) => {
    await connection.readRequest();
    await connection.hold();
  });
  for (const address of [...addresses, silent.address, "127.0.0.1:1"]) {
    const client = clientOf([address]);
    hold(await failureOf(client.fetch(`/path?token=${SECRET}`, init)));
    held.push(JSON.stringify(client.mesh.snapshot()), JSON.stringify(client.mesh.metrics()));
  }
  const client = clientOf(["127.0.0.1:1"]);
  hold(await failureOf(client.fetch("/", { headers: { "x-a": `bad\n${SECRET}` } })));
  hold(await failureOf(client.fetch("/", { headers: { [`bad ${SECRET}`]: "x" } })));
  hold(await failureOf(client.fetch(`no-slash-${SECRET}`)));
  expect(held.length).toBeGreaterThan(30);
  expect(held.filter((text) => text.includes(SECRET))).toEqual([]);
});
