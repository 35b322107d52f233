/** A client, servers and waiting for tests of the fault matrix; everything ends with the test that made it. */
import { watch } from "node:fs";
import { tmpdir } from "node:os";
import type { ServerCredentials, ServiceError } from "@grpc/grpc-js";
import type { Mesh, MeshOptions, MeshSnapshot, ServiceInput } from "@inmesh/core";
import { createMesh, meshGrpc } from "@inmesh/grpc";
import { countResources, expectBaseline, type ResourceCount } from "@inmesh/core/testing";
import { afterAll, beforeAll, expect, onTestFinished } from "vitest";
import { open, type Bench } from "./bench.ts";
import { Orders, OrdersServer, type OrdersClient, type OrdersHandlers } from "./orders.ts";

/** Servers and a client of them (bench.ts). */
export async function bench(...given: Parameters<typeof open>): Promise<Bench> {
  const one = await open(...given);
  onTestFinished(() => one.close());
  return one;
}

export interface Caller {
  readonly client: OrdersClient;
  readonly mesh: Mesh;
}

/** A client of the service `orders` on these addresses, in a mesh of its own. */
export function clientOf(
  addresses: readonly string[],
  input: ServiceInput = {},
  options: MeshOptions = {},
): Caller {
  const orders: ServiceInput = { discovery: { static: addresses }, ...input };
  const mesh = createMesh({ env: {}, ...options, config: { services: { orders } } });
  onTestFinished(() => mesh.close(0));
  return { mesh, client: new Orders(...meshGrpc("orders", { mesh })) };
}

let started = 0;

/** A grpc-js server as others run it. */
export async function serverOf(
  handlers: Partial<OrdersHandlers> = {},
  credentials?: ServerCredentials,
): Promise<OrdersServer> {
  const server = await new OrdersServer(`server ${++started}`, handlers).listen(0, credentials);
  onTestFinished(() => server.stop());
  return server;
}

export type EndpointSnapshot = MeshSnapshot["services"][0]["endpoints"][0];

export function endpointOf(mesh: Mesh, address: string): EndpointSnapshot {
  const found = mesh.snapshot().services[0]!.endpoints.find((one) => one.address === address);
  if (found === undefined) throw new Error(`${address} is not an endpoint`);
  return found;
}

/** What a call fails with. */
export function failed(promise: Promise<unknown>): Promise<ServiceError> {
  return promise.then(
    () => {
      throw new Error("it did not fail");
    },
    (error: unknown) => error as ServiceError,
  );
}

export const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms));

/** Patient: machines are busy with other tests. */
export async function until(holds: () => boolean, withinMs = 20_000): Promise<void> {
  const startedAt = performance.now();
  while (!holds()) {
    if (performance.now() - startedAt > withinMs) throw new Error(`not within ${withinMs} ms`);
    await sleep(2);
  }
}

/**
 * Around all tests of a file: they give back what they took, and nothing is warned of. What
 * the modules open once must not count: a call is made first, and a file watched.
 */
export function expectNothingLeft(): void {
  let baseline: ResourceCount;
  const warnings: Error[] = [];
  const warned = (warning: Error): void => void warnings.push(warning);
  beforeAll(async () => {
    const server = await new OrdersServer("warm").listen();
    const mesh = createMesh({ env: {} });
    const client = new Orders(...meshGrpc(`http://${server.address}`, { mesh }));
    await new Promise((resolve) => client.get({}, resolve));
    await mesh.close(0);
    server.stop();
    watch(tmpdir(), { persistent: false }).close();
    await sleep(50);
    baseline = countResources();
    process.on("warning", warned);
  });
  afterAll(async () => {
    process.off("warning", warned);
    await expectBaseline(baseline);
    expect(warnings.map(String)).toEqual([]);
  });
}
