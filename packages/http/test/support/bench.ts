/** A mesh with one service over given endpoints, and what every cell of the fault matrix asserts. */
import { createMesh, type Mesh, type ServiceInput } from "@inmesh/core";
import { MeshError } from "@inmesh/core/spi";
import { expect } from "vitest";
import { meshClient, type MeshClient } from "../../src/index.ts";

export interface Bench extends AsyncDisposable {
  readonly mesh: Mesh;
  readonly client: MeshClient;
}

/** Disposing waits for every in-flight counter to return to 0 and closes the mesh. */
export function bench(addresses: readonly string[], input: ServiceInput = {}): Bench {
  const service: ServiceInput = {
    scheme: "http",
    authority: "svc",
    discovery: { static: addresses },
    ...input,
  };
  const mesh = createMesh({ config: { services: { svc: service } }, env: {} });
  return {
    mesh,
    client: meshClient("svc", { mesh }),
    async [Symbol.asyncDispose]() {
      await calm(mesh);
      await mesh.close(0);
    },
  };
}

/** Waits up to 1 s until nothing is counted as in flight. */
export async function calm(mesh: Mesh): Promise<void> {
  const busy = (): string[] =>
    mesh
      .snapshot()
      .services.flatMap(({ name, callsInFlight, endpoints }) => [
        ...(callsInFlight === 0 ? [] : [`${name}: ${callsInFlight} calls`]),
        ...endpoints
          .filter((one) => one.inFlight !== 0)
          .map((one) => `${one.address}: ${one.inFlight}`),
      ]);
  const until = performance.now() + 1_000;
  while (busy().length > 0 && performance.now() < until) await sleep(5);
  expect(busy()).toEqual([]);
}

export function endpointOf(mesh: Mesh, address: string) {
  const found = mesh.snapshot().services[0]!.endpoints.find((one) => one.address === address);
  if (found === undefined) throw new Error(`${address} is not an endpoint`);
  return found;
}

/** The error of a promise that must reject with a MeshError. */
export async function failure(promise: Promise<unknown>): Promise<MeshError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(MeshError);
  return error as MeshError;
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

export function answer(body: string, more = ""): string {
  return `HTTP/1.1 200 OK\r\ncontent-length: ${Buffer.byteLength(body)}\r\n${more}\r\n${body}`;
}
