/** Spans of gRPC on real sockets, with the SDK of OpenTelemetry and its propagators. */
import { Metadata, status as Status } from "@grpc/grpc-js";
import { context, propagation, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { TraceIdRatioBasedSampler } from "@opentelemetry/sdk-trace";
import { createMesh, type Mesh } from "@inmesh/core";
import { traceMesh } from "@inmesh/core/traces";
import { expect, it, onTestFinished, vi } from "vitest";
import { named, recordSpans, traceparentOf } from "../../inmesh/test/spans.ts";
import { get } from "./support/bench.ts";
import type { OrdersHandlers } from "./support/orders.ts";
import { served } from "./support/served.ts";
import { clientOf, failed } from "./support/wire.ts";

const NAME = "shop.Orders/Get";

/** A server and a client with a mesh each, both traced. */
async function traced(handlers: Partial<OrdersHandlers>, mesh: Mesh = createMesh({ env: {} })) {
  onTestFinished(() => mesh.close(0));
  traceMesh(mesh);
  const { orders } = await served(handlers, { mesh, name: "shop", posture: "mesh" });
  const routes = [{ name: "vouched", idempotent: true }];
  const { client, mesh: calling } = clientOf([orders.address], { routes });
  traceMesh(calling);
  return { client, address: orders.address };
}

it("a call, its attempts and its servers are one trace, and each attempt has its own traceparent", async () => {
  const { spans } = recordSpans();
  const received: unknown[] = [];
  const active: unknown[] = [];
  const { client, address } = await traced({
    get: ({ metadata, request }, callback) => {
      received.push(metadata.get("traceparent"));
      active.push(trace.getActiveSpan()?.spanContext().spanId);
      if (received.length > 1) return callback(null, request);
      callback({ code: Status.UNAVAILABLE, details: "once" });
    },
  });
  await get(client, { count: 1 });
  await vi.waitFor(() => expect(spans()).toHaveLength(5));
  const [call] = named(spans(), "inmesh orders");
  const attempts = named(spans(), NAME).filter(({ kind }) => kind === SpanKind.CLIENT);
  const servers = named(spans(), NAME).filter(({ kind }) => kind === SpanKind.SERVER);
  expect(call?.kind).toBe(SpanKind.INTERNAL);
  expect(attempts.map((one) => one.parentSpanContext?.spanId)).toEqual(
    Array.from({ length: 2 }, () => call?.spanContext().spanId),
  );
  expect(received).toEqual(attempts.map((one) => [traceparentOf(one)]));
  expect(servers.map((one) => one.parentSpanContext?.spanId)).toEqual(
    attempts.map((one) => one.spanContext().spanId),
  );
  expect(active).toEqual(servers.map((one) => one.spanContext().spanId));
  expect(attempts[0]?.attributes).toMatchObject({
    "error.type": "UNAVAILABLE",
    "inmesh.attempt.kind": "first",
    "inmesh.endpoint": address,
    "inmesh.route": "vouched",
    "inmesh.service": "orders",
    "network.peer.address": "127.0.0.1",
    "rpc.method": NAME,
    "rpc.status_code": "UNAVAILABLE",
    "rpc.system.name": "grpc",
    "server.address": "orders",
  });
  expect(attempts[0]?.status.code).toBe(SpanStatusCode.ERROR);
  expect(attempts[1]?.attributes).toMatchObject({ "rpc.status_code": "OK" });
  expect(attempts[1]?.attributes).not.toHaveProperty("http.request.resend_count");
  expect(servers[0]?.attributes).toMatchObject({
    "inmesh.server": "shop",
    "rpc.method": NAME,
    "rpc.status_code": "UNAVAILABLE",
  });
});

it("the server's span is active in a handler of a stream, and the calls that it makes are below it", async () => {
  const { spans } = recordSpans();
  let inner: Awaited<ReturnType<typeof traced>>["client"] | undefined;
  const active: unknown[] = [];
  const note = (): void => void active.push(trace.getActiveSpan()?.spanContext().spanId);
  const { client } = await traced({
    get: ({ request }, callback) => callback(null, request),
    chat: (stream) => {
      note();
      stream.on("data", (order) => {
        note();
        get(inner!, order).then(
          (answer) => {
            note();
            stream.write(answer);
          },
          (error: unknown) => stream.destroy(error as Error),
        );
      });
      stream.on("end", () => setTimeout(() => stream.end(), 50));
    },
  });
  inner = client;
  const stream = client.chat();
  stream.write({ count: 7 });
  stream.end();
  await new Promise((resolve, reject) => {
    stream
      .on("data", () => {})
      .on("end", resolve)
      .on("error", reject);
  });
  await vi.waitFor(() => expect(spans()).toHaveLength(6));
  const chat = spans().find(({ name, kind }) => name.endsWith("/Chat") && kind === SpanKind.SERVER);
  expect(active).toEqual(Array.from({ length: 3 }, () => chat?.spanContext().spanId));
  const calls = named(spans(), "inmesh orders").map((one) => one.parentSpanContext?.spanId);
  expect(calls).toContain(chat?.spanContext().spanId);
});

it("a traceparent of the caller's own stays the one that is sent; baggage passes", async () => {
  const { spans } = recordSpans();
  const received: unknown[] = [];
  const { client } = await traced({
    get: ({ metadata, request }, callback) => {
      received.push([metadata.get("traceparent"), metadata.get("baggage")]);
      callback(null, request);
    },
  });
  const own = new Metadata();
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  own.set("traceparent", traceparent);
  await get(client, {}, {}, own);
  expect(received).toEqual([[[traceparent], []]]);
  await vi.waitFor(() => expect(spans()).toHaveLength(2));
  expect(
    spans()
      .map(({ kind }) => kind)
      .toSorted(),
  ).toEqual([SpanKind.INTERNAL, SpanKind.SERVER]);
  const baggage = propagation.createBaggage({ tenant: { value: "blue" } });
  await context.with(propagation.setBaggage(context.active(), baggage), () => get(client, {}));
  expect(received[1]).toMatchObject([[expect.stringMatching(/-01$/)], ["tenant=blue"]]);
});

it("what is not recorded says so to the server, which does not record either", async () => {
  const { spans } = recordSpans({ root: new TraceIdRatioBasedSampler(0) });
  const received: unknown[] = [];
  const { client } = await traced({
    get: ({ metadata, request }, callback) => {
      received.push(metadata.get("traceparent").length, metadata.get("traceparent")[0]);
      callback(request.count === 1 ? { code: Status.NOT_FOUND } : null, request);
    },
  });
  await get(client, {});
  await failed(get(client, { count: 1 }));
  expect(spans()).toEqual([]);
  expect(received).toEqual([
    1,
    expect.stringMatching(/^00-.*-00$/),
    1,
    expect.stringMatching(/^00-.*-00$/),
  ]);
});
