/** What observers see of gRPC on real sockets, and what one attempt alone sends. */
import { Metadata, status as Status } from "@grpc/grpc-js";
import { createMesh, type EndedAttempt, type EndedCall, type EndedRequest } from "@inmesh/core";
import { describe, expect, it, onTestFinished } from "vitest";
import { get } from "./support/bench.ts";
import { served } from "./support/served.ts";
import { bench, clientOf, failed, until } from "./support/wire.ts";
import { freeAddress } from "../../../scripts/free-port.ts";

it("each attempt has its own traceparent, and what the call sends stays the same", async () => {
  const seen: unknown[] = [];
  const { mesh, client } = await bench(
    {
      get: ({ metadata, request }, callback) => {
        seen.push([metadata.get("traceparent"), metadata.get("own")]);
        if (seen.length > 1) return callback(null, request);
        callback({ code: Status.UNAVAILABLE, details: "once" });
      },
    },
    { routes: [{ name: "vouched", idempotent: true }] },
  );
  const reasons: unknown[] = [];
  mesh.observe({
    attemptStarted(attempt) {
      reasons.push([attempt.kind, attempt.retryReason]);
      attempt.setHeader("traceparent", `child-${attempt.number}`);
    },
  });
  const metadata = new Metadata();
  metadata.set("traceparent", "of the caller");
  metadata.set("own", "1");
  await get(client, { count: 1 }, {}, metadata);
  expect(seen).toEqual([
    [["child-1"], ["1"]],
    [["child-2"], ["1"]],
  ]);
  expect(reasons).toEqual([
    ["first", undefined],
    ["retry", "status"],
  ]);
  expect(metadata.get("traceparent")).toEqual(["of the caller"]);
});

it("a call is reported with bytes, times and the status of gRPC", async () => {
  const { mesh, client, servers } = await bench({
    get: ({ request }, callback) => {
      if (request.count === 1) return callback(null, request);
      callback({ code: Status.NOT_FOUND, details: "no such order" });
    },
  });
  const attempts: EndedAttempt[] = [];
  const calls: EndedCall[] = [];
  mesh.observe({
    attemptEnded: (attempt) => void attempts.push(attempt),
    callEnded: (call) => void calls.push(call),
  });
  await get(client, { count: 1, blob: Buffer.alloc(1_000) });
  await failed(get(client, { count: 2 }));
  expect(attempts[0]).toMatchObject({
    endpoint: servers[0]!.address,
    status: Status.OK,
    outcome: "success",
    progress: "replied",
  });
  expect(attempts[0]!.sentBytes).toBeGreaterThan(1_000);
  expect(attempts[0]!.receivedBytes).toBe(attempts[0]!.sentBytes);
  expect(attempts[0]!.durationMs).toBeGreaterThanOrEqual(attempts[0]!.headMs!);
  expect(attempts[1]).toMatchObject({ status: Status.NOT_FOUND, outcome: "success" });
  expect(calls.map(({ status, error }) => [status, error])).toEqual([
    [Status.OK, undefined],
    [Status.NOT_FOUND, undefined],
  ]);
  expect(calls[0]).toMatchObject({
    protocol: "grpc",
    method: "POST",
    path: "/shop.Orders/Get",
    sentBytes: attempts[0]!.sentBytes,
  });
});

it("a stream is one attempt, with all its messages", async () => {
  const { mesh, client } = await bench({
    list: (call) => {
      for (let count = 0; count < 3; count++) call.write({ count: count + 1 });
      call.end();
    },
  });
  const attempts: EndedAttempt[] = [];
  mesh.observe({ attemptEnded: (attempt) => void attempts.push(attempt) });
  for await (const _ of client.list({})) void _;
  await until(() => attempts.length > 0);
  expect(attempts[0]).toMatchObject({ status: Status.OK, receivedBytes: 6, sentBytes: 0 });
});

it("a failure of the mesh's own has the status that its caller sees", async () => {
  const { mesh, client } = clientOf([await freeAddress()]);
  const calls: EndedCall[] = [];
  const attempts: EndedAttempt[] = [];
  mesh.observe({
    attemptEnded: (attempt) => void attempts.push(attempt),
    callEnded: (call) => void calls.push(call),
  });
  const { code } = await failed(get(client, {}));
  expect(calls[0]).toMatchObject({ status: code, outcome: "failure" });
  expect(attempts[0]).toMatchObject({
    status: Status.UNAVAILABLE,
    progress: "not-sent",
    headMs: undefined,
  });
  expect(attempts[0]?.error?.reason).toBe("connect_refused");
});

describe("requests being served", () => {
  it("answered, refused by their handler, given up, and refused by the server", async () => {
    const mesh = createMesh({ env: {} });
    onTestFinished(() => mesh.close(0));
    const ended: EndedRequest[] = [];
    const started: unknown[] = [];
    mesh.observe({
      servedStarted: (one) => void started.push([one.method, one.path, one.header("a")]),
      servedEnded: (one) => void ended.push(one),
    });
    const { client } = await served(
      {
        get: ({ request }, callback) => {
          if (request.count === 1) return callback(null, request);
          if (request.count === 2) callback({ code: Status.INTERNAL, details: "broken" });
        },
      },
      { mesh, name: "shop" },
    );
    const metadata = new Metadata();
    metadata.set("a", "b");
    await get(client, { count: 1 }, {}, metadata);
    await failed(get(client, { count: 2 }));
    await failed(
      get(client, { count: 3 }, {}, new Metadata(), (call) => setTimeout(() => call.cancel(), 50)),
    );
    await until(() => ended.length === 3);
    expect(started[0]).toEqual(["POST", "/shop.Orders/Get", "b"]);
    expect(ended.map(({ outcome, status, reason }) => [outcome, status, reason])).toEqual([
      ["success", Status.OK, undefined],
      ["failure", Status.INTERNAL, undefined],
      ["abandoned", Status.CANCELLED, undefined],
    ]);
    expect(ended[0]).toMatchObject({ protocol: "grpc", server: "shop" });
  });

  it("what is refused before its handler has the reason", async () => {
    const mesh = createMesh({ env: {} });
    onTestFinished(() => mesh.close(0));
    const ended: EndedRequest[] = [];
    mesh.observe({ servedEnded: (one) => void ended.push(one) });
    const { client } = await served({}, { mesh, limits: { maxInFlight: 0 } });
    await failed(get(client, {}));
    expect(ended).toHaveLength(1);
    expect(ended[0]).toMatchObject({ outcome: "overloaded", reason: "concurrency" });
  });
});
