/** Taps and access logs over gRPC on real sockets, both directions. */
import { Writable } from "node:stream";
import { Metadata, status as Status } from "@grpc/grpc-js";
import { accessLog, createMesh, type TapCall, type TapRequest } from "@inmesh/core";
import { expect, it, onTestFinished } from "vitest";
import { get } from "./support/bench.ts";
import { served } from "./support/served.ts";
import { bench, failed } from "./support/wire.ts";

it("a call is shown with its attempts, the number of its status, and its metadata", async () => {
  let asked = 0;
  const { mesh, client, servers } = await bench(
    {
      get: ({ request }, callback) => {
        if (request.count === 2) return callback({ code: Status.NOT_FOUND, details: "none" });
        if (asked++ > 0) return callback(null, request);
        callback({ code: Status.UNAVAILABLE, details: "once" });
      },
    },
    { routes: [{ name: "vouched", idempotent: true }] },
  );
  const tap = mesh.tap({ headers: true });
  const missing = mesh.tap({ status: Status.NOT_FOUND });
  const metadata = new Metadata();
  metadata.set("authorization", "Bearer canary");
  metadata.set("x-tenant", "7");
  metadata.set("x-blob-bin", Buffer.from("canary"));
  await get(client, { count: 1 }, {}, metadata);
  await failed(get(client, { count: 2 }));
  const { value } = await tap.next();
  const call = value as TapCall;
  expect(call).toMatchObject({
    protocol: "grpc",
    direction: "outbound",
    route: "vouched",
    method: "POST",
    path: "/shop.Orders/Get",
    status: Status.OK,
  });
  expect(call.attempts.map(({ kind, status, endpoint }) => [kind, status, endpoint])).toEqual([
    ["first", Status.UNAVAILABLE, servers[0]!.address],
    ["retry", Status.OK, servers[0]!.address],
  ]);
  expect(call.headers).toMatchObject({ authorization: "[redacted]", "x-tenant": "7" });
  expect(JSON.stringify(call)).not.toContain("canary");
  expect(await missing.next()).toMatchObject({ value: { status: Status.NOT_FOUND } });
});

it("a request that was served is shown, and is a line of the access log", async () => {
  let text = "";
  const stream = new Writable({
    write(chunk: Buffer, _, done) {
      text += chunk.toString();
      done();
    },
  });
  const mesh = createMesh({ env: {}, exporters: [accessLog({ stream })] });
  onTestFinished(() => mesh.close(0));
  const { client } = await served(
    {
      get: ({ request }, callback) => {
        if (request.count === 1) return callback(null, request);
        callback({ code: Status.INTERNAL, details: "broken" });
      },
    },
    { mesh, name: "shop" },
  );
  const tap = mesh.tap({ headers: true });
  const metadata = new Metadata();
  metadata.set("x-tenant", "7");
  await get(client, { count: 1 }, {}, metadata);
  await failed(get(client, { count: 2 }));
  const { value } = await tap.next();
  const request = value as TapRequest;
  expect(request).toMatchObject({
    protocol: "grpc",
    direction: "inbound",
    service: "shop",
    route: "/shop.Orders/Get",
    status: Status.OK,
    peer: { address: "127.0.0.1", tls: false },
  });
  expect(request.headers).toMatchObject({ "x-tenant": "7" });
  expect(await tap.next()).toMatchObject({ value: { status: Status.INTERNAL } });
  await mesh.close();
  const lines = text.trimEnd().split("\n");
  expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([
    { "rpc.method": "shop.Orders/Get", "rpc.status_code": "OK", "inmesh.outcome": "success" },
    { "rpc.method": "shop.Orders/Get", "rpc.status_code": "INTERNAL" },
  ]);
});
