/** R22: the connectivity of a mesh's channel means what grpc-js documents, for the mesh's endpoints. */
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { connectivityState } from "@grpc/grpc-js";
import { createMesh, meshGrpc } from "@inmesh/grpc";
import type { Mesh, MeshOptions, ServiceInput } from "@inmesh/core";
import type { Discovery, EndpointSink, EndpointWatch } from "@inmesh/core/spi";
import { describe, expect, it, onTestFinished } from "vitest";
import { get } from "./support/bench.ts";
import { Orders, OrdersServer, type OrdersClient } from "./support/orders.ts";
import { sleep, until } from "./support/wire.ts";
import { freeAddress, freePort } from "../../../scripts/free-port.ts";

const { CONNECTING, IDLE, READY, SHUTDOWN, TRANSIENT_FAILURE } = connectivityState;

function clientOf(
  addresses: readonly string[],
  service: ServiceInput = {},
  more: MeshOptions = {},
): { client: OrdersClient; mesh: Mesh } {
  const mesh = createMesh({
    env: {},
    config: { services: { orders: { discovery: { static: [...addresses] }, ...service } } },
    ...more,
  });
  const client = new Orders(...meshGrpc("orders", { mesh }));
  onTestFinished(async () => {
    client.close();
    await mesh.close(0);
  });
  return { client, mesh };
}

async function server(port = 0): Promise<OrdersServer> {
  const one = await new OrdersServer("a").listen(port);
  onTestFinished(() => one.stop());
  return one;
}

const ready = (client: OrdersClient, deadline: number | Date): Promise<Error | undefined> =>
  new Promise((resolve) => client.waitForReady(deadline, resolve));

const change = (
  client: OrdersClient,
  from: connectivityState,
  deadline: number = Infinity,
): Promise<Error | undefined> =>
  new Promise((resolve) => client.getChannel().watchConnectivityState(from, deadline, resolve));

const stateOf = (client: OrdersClient): connectivityState =>
  client.getChannel().getConnectivityState(false);

describe("R22: the connectivity of a channel", () => {
  it("R22 GC: waitForReady connects without a call, and is READY when an endpoint can take one", async () => {
    const { address, calls } = await server();
    const { client } = clientOf([address]);
    expect(stateOf(client)).toBe(IDLE);
    expect(await ready(client, Date.now() + 5_000)).toBeUndefined();
    expect(stateOf(client)).toBe(READY);
    expect(calls).toBe(0);
    expect(await ready(client, Infinity)).toBeUndefined();
    await get(client, {});
  });

  it("R22 GC: one of several endpoints is enough", async () => {
    const { address } = await server();
    const { client } = clientOf([await freeAddress(), address]);
    expect(await ready(client, new Date(Date.now() + 5_000))).toBeUndefined();
  });

  it("R22 GC: no server listens: the deadline's error, TRANSIENT_FAILURE, and READY when one does", async () => {
    const port = await freePort();
    const { client } = clientOf([`127.0.0.1:${port}`]);
    const startedAt = performance.now();
    const error = await ready(client, Date.now() + 300);
    expect(error).toMatchObject({ message: "Failed to connect before the deadline" });
    expect(performance.now() - startedAt).toBeGreaterThan(250);
    expect(performance.now() - startedAt).toBeLessThan(1_500);
    expect(stateOf(client)).toBe(TRANSIENT_FAILURE);
    const late = ready(client, Date.now() + 10_000);
    await sleep(100);
    await server(port);
    expect(await late).toBeUndefined();
    expect(stateOf(client)).toBe(READY);
  });

  it("R22 GC: an endpoint that swallows the handshake is CONNECTING until the deadline", async () => {
    const silent = createServer().listen(0, "127.0.0.1");
    await once(silent, "listening");
    onTestFinished(() => void silent.close());
    const { client } = clientOf([`127.0.0.1:${(silent.address() as AddressInfo).port}`]);
    expect(await ready(client, Date.now() + 200)).toBeInstanceOf(Error);
    expect(stateOf(client)).toBe(CONNECTING);
  });

  it("R22 GC: no endpoints at all is TRANSIENT_FAILURE", async () => {
    const watch = (sink: EndpointSink): EndpointWatch => {
      sink.replace([]);
      return { refresh() {}, stop() {} };
    };
    const discovery = (): Discovery => ({ source: "test", watch });
    const { client } = clientOf(["127.0.0.1:1"], {}, { discovery });
    expect(await ready(client, Date.now() + 200)).toBeInstanceOf(Error);
    expect(stateOf(client)).toBe(TRANSIENT_FAILURE);
  });

  it("R22 GC: watchers are called for the change, once, and for their deadline", async () => {
    const one = await server();
    const { client } = clientOf([one.address]);
    const channel = client.getChannel();
    expect(await change(client, IDLE, Date.now() - 1)).toMatchObject({
      message: "Deadline passed without connectivity state change",
    });
    expect(await change(client, IDLE, Date.now() + 50)).toMatchObject({
      message: "Deadline passed without connectivity state change",
    });
    let heard = 0;
    channel.watchConnectivityState(IDLE, Infinity, (error) => {
      expect(error).toBeUndefined();
      heard++;
    });
    expect(channel.getConnectivityState(true)).toBe(IDLE);
    await until(() => heard === 1);
    expect(await ready(client, Date.now() + 5_000)).toBeUndefined();
    const lost = change(client, READY);
    one.stop();
    expect(await lost).toBeUndefined();
    expect(stateOf(client)).not.toBe(READY);
    expect(heard).toBe(1);
  });

  it("R22 GC: a closed channel is SHUTDOWN: watchers are called, and waitForReady says so", async () => {
    const { address } = await server();
    const { client } = clientOf([address]);
    const closed = change(client, IDLE);
    client.close();
    expect(await closed).toBeUndefined();
    expect(stateOf(client)).toBe(SHUTDOWN);
    expect(await ready(client, Infinity)).toMatchObject({ message: "The channel has been closed" });
    const watch = (): void =>
      client.getChannel().watchConnectivityState(SHUTDOWN, Infinity, () => {});
    expect(watch).toThrow("Channel has been shut down");
  });

  it("R22 GC: the same for a mesh that is closed", async () => {
    const { address } = await server();
    const { client, mesh } = clientOf([address]);
    const closed = change(client, IDLE, Date.now() + 5_000);
    await mesh.close(0);
    expect(await closed).toBeUndefined();
    expect(stateOf(client)).toBe(SHUTDOWN);
    expect(await ready(client, Date.now() + 5_000)).toMatchObject({
      message: "The channel has been closed",
    });
  });

  it("R22 GC: a service that slept is IDLE again, and wakes for who waits", async () => {
    const { address } = await server();
    const { client } = clientOf([address], { idle: "1s" });
    await get(client, {});
    expect(stateOf(client)).toBe(READY);
    await until(() => stateOf(client) === IDLE, 5_000);
    expect(await ready(client, Date.now() + 5_000)).toBeUndefined();
  });
});
