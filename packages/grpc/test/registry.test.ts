/** A server of gRPC and one of HTTP that have the same name, and clients of both. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createMesh, meshGrpc, meshGrpcServer } from "@inmesh/grpc";
import { meshClient, meshServer } from "@inmesh/http";
import { expect, it, onTestFinished, vi } from "vitest";
import { Orders } from "./support/orders.ts";

it("each client finds the server of its protocol, at every address that it has bound", async () => {
  const dir = mkdtempSync(join(tmpdir(), "inmesh-"));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const mesh = createMesh({ env: {}, registry: dir });
  const http = meshServer((_, response) => response.end("http"), { name: "orders", mesh });
  await http.listen(0, "127.0.0.1");
  const grpc = meshGrpcServer({ name: "orders", mesh });
  grpc.server.addService(Orders.service, {
    get: (_call: unknown, done: (error: null, reply: object) => void) => done(null, { id: "grpc" }),
  } as never);
  const ports = [await grpc.listen("127.0.0.1:0"), await grpc.listen("127.0.0.1:0")];
  const client = new Orders(...meshGrpc("orders", { mesh }));
  const viaHttp = meshClient("orders", { mesh });
  await vi.waitFor(async () => expect(await (await viaHttp.fetch("/")).text()).toBe("http"));
  const answer = (): Promise<unknown> =>
    new Promise((resolve, reject) => {
      client.get({ id: "7" }, (error: Error | null, reply: unknown) =>
        error === null ? resolve(reply) : reject(error),
      );
    });
  await vi.waitFor(async () => expect(await answer()).toMatchObject({ id: "grpc" }));
  const addresses = (): string[] =>
    mesh
      .snapshot()
      .services.filter(({ protocol }) => protocol === "grpc")
      .flatMap(({ endpoints }) => endpoints.map(({ address }) => address));
  await vi.waitFor(() =>
    expect(addresses().toSorted()).toEqual(ports.map((port) => `127.0.0.1:${port}`).toSorted()),
  );

  const left = grpc.drain(400);
  expect(readdirSync(dir).filter((file) => file.startsWith("orders~grpc~"))).toHaveLength(1);
  await vi.waitFor(() =>
    expect(
      mesh
        .snapshot()
        .services.find(({ protocol }) => protocol === "grpc")!
        .endpoints.every(({ draining }) => draining),
    ).toBe(true),
  );
  await left;
  expect(readdirSync(dir).filter((file) => file.startsWith("orders~grpc~"))).toEqual([]);
  client.close();
  await http.close();
  await mesh.close();
  expect(readdirSync(dir)).toEqual([]);
});
