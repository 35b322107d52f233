/** Servers and clients for wire tests; everything ends with the test that made it. */
import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { createMesh, type Mesh, type MeshOptions, type ServiceInput } from "@inmesh/core";
import { MeshError, NodeRuntime } from "@inmesh/core/spi";
import { FaultPeer, type FaultScript } from "@inmesh/core/testing";
import { meshClient, type MeshClient } from "@inmesh/http";
import { onTestFinished } from "./support/beside.ts";

/** A whole reply, for peers that send bytes. */
export const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

export interface Served {
  readonly server: Server;
  readonly address: string;
  /** Accepted so far. */
  connections: number;
}

export async function serve(listener: RequestListener): Promise<Served> {
  const server = createServer(listener);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const served: Served = { server, address, connections: 0 };
  server.on("connection", () => served.connections++);
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return served;
}

export async function peerOf(script: FaultScript): Promise<FaultPeer> {
  const peer = await FaultPeer.start(script);
  onTestFinished(() => peer.close());
  return peer;
}

/** A peer that answers every request, on every connection, with the same bytes. */
export function answering(
  bytes: string | Uint8Array,
  after: "keep" | "fin" = "keep",
): Promise<FaultPeer> {
  return peerOf(async (connection) => {
    for (;;) {
      await connection.readRequest();
      await connection.write(bytes);
      if (after === "fin") return connection.fin();
    }
  });
}

export function meshOf(options: MeshOptions): Mesh {
  const mesh = createMesh({ env: {}, ...options });
  onTestFinished(() => mesh.close(0));
  return mesh;
}

/** A client of the service `orders` on these addresses, in a mesh of its own. */
export function clientOf(
  addresses: readonly string[],
  input: ServiceInput = {},
  options: MeshOptions = {},
): MeshClient {
  const orders: ServiceInput = { discovery: { static: addresses }, ...input };
  return meshClient("orders", { mesh: meshOf({ ...options, config: { services: { orders } } }) });
}

/** Real time, chance from a seed: the same draws in every run. */
export class SeededRuntime extends NodeRuntime {
  #state: number;

  constructor(seed: number) {
    super();
    this.#state = seed;
  }

  /** From here on the same draws as behind another `reseed` with it. */
  reseed(seed: number): void {
    this.#state = seed;
  }

  override random(): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
    return this.#state / 2 ** 32;
  }
}

/** What the promise rejects with, which must be a MeshError. */
export async function failureOf(promise: Promise<unknown>): Promise<MeshError> {
  const error = await rejectionOf(promise);
  if (!(error instanceof MeshError)) throw new Error("not a MeshError", { cause: error });
  return error;
}

export async function rejectionOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("it did not reject");
}

export function endpointsOf(
  client: MeshClient,
): ReturnType<Mesh["snapshot"]>["services"][0]["endpoints"] {
  return client.mesh.snapshot().services[0]!.endpoints;
}

/** Sum of a counter over the series that have these labels. */
export function counted(mesh: Mesh, name: string, labels: Record<string, string> = {}): number {
  let sum = 0;
  for (const series of mesh.metrics()) {
    if (series.name !== name) continue;
    const fits = Object.entries(labels).every(([key, value]) => series.labels[key] === value);
    if (fits && "value" in series) sum += Number(series.value);
  }
  return sum;
}

export const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms));

export async function until(holds: () => boolean, withinMs = 5_000): Promise<number> {
  const startedAt = performance.now();
  while (!holds()) {
    if (performance.now() - startedAt > withinMs) throw new Error(`not within ${withinMs} ms`);
    await sleep(2);
  }
  return performance.now() - startedAt;
}
