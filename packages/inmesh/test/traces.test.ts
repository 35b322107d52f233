/** Spans of HTTP on real sockets, with the SDK of OpenTelemetry, its propagators and its samplers. */
import { once } from "node:events";
import { createServer, request as nodeRequest, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import {
  context,
  propagation,
  SamplingDecision,
  SpanKind,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import { suppressTracing, W3CTraceContextPropagator } from "@opentelemetry/core";
import { UndiciInstrumentation } from "@opentelemetry/instrumentation-undici";
import { B3InjectEncoding, B3Propagator } from "@opentelemetry/propagator-b3";
import {
  AlwaysOffSampler,
  BatchSpanProcessor,
  type ReadableSpan,
  type Sampler,
  type SpanExporter,
} from "@opentelemetry/sdk-trace";
import {
  createMesh,
  type HttpMesh,
  meshClient,
  type MeshClient,
  meshServer,
  type ServerOptions,
} from "inmesh";
import { traceMesh } from "inmesh/traces";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { named, recordSpans, traceparentOf } from "./spans.ts";

type Handler = Parameters<typeof meshServer>[0];

function tracedMesh(): HttpMesh {
  const mesh = createMesh({ env: {} });
  onTestFinished(() => mesh.close(0));
  traceMesh(mesh);
  return mesh;
}

async function serving(handler: Handler, options: ServerOptions = {}): Promise<string> {
  const server = meshServer(handler as never, { name: "shop", ...options });
  onTestFinished(() => server.close(0));
  const { port } = await server.listen(0, "127.0.0.1");
  return `127.0.0.1:${port}`;
}

/** Fields of the trace as the server received them: what came twice stands there twice. */
const traceFields = ({ rawHeaders }: IncomingMessage): string[] =>
  rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === "traceparent");

async function get(client: MeshClient, path = "/v1/orders/42?secret=1"): Promise<number> {
  const reply = await client.fetch(path);
  await reply.text();
  return reply.status;
}

/** A client and its server, which calls itself once more for `/outer`, and the fields of traces that it received. */
async function relaying(mesh: HttpMesh): Promise<{ received: string[][]; orders: MeshClient }> {
  const received: string[][] = [];
  const address = await serving(
    async (request, response) => {
      received.push(traceFields(request));
      if (request.url === "/outer") await get(orders, "/inner");
      response.end("x");
    },
    { mesh },
  );
  const orders = meshClient("orders", { mesh, discovery: { static: [address] } });
  return { received, orders };
}

const parentOf = (span: ReadableSpan | undefined): string | undefined =>
  span?.parentSpanContext?.spanId;
/** Whether a connection was there at once depends on the machine. */
const eventsOf = (span: ReadableSpan | undefined): string[] | undefined =>
  span?.events.map(({ name }) => name).filter((name) => name !== "queued");
const idOf = (span: ReadableSpan | undefined): string | undefined => span?.spanContext().spanId;
/** A span of the application around what `act` does. */
const inSpan = <T>(name: string, act: () => Promise<T>): Promise<T> =>
  trace.getTracer("test").startActiveSpan(name, async (span) => {
    try {
      return await act();
    } finally {
      span.end();
    }
  });

describe("a call with a retry", () => {
  it("is a span of the application's trace, with a span for each attempt and each server below it", async () => {
    const { spans } = recordSpans();
    const mesh = tracedMesh();
    const received: string[][] = [];
    const address = await serving(
      (request, response) => {
        received.push(traceFields(request));
        response.statusCode = received.length === 1 ? 503 : 200;
        response.end("x");
      },
      { mesh },
    );
    const orders = meshClient("orders", { mesh, discovery: { static: [address] } });
    expect(await inSpan("app", () => get(orders))).toBe(200);
    await vi.waitFor(() => expect(spans()).toHaveLength(6));
    const [app] = named(spans(), "app");
    const [call] = named(spans(), "inmesh orders");
    const ofKind = (kind: SpanKind): ReadableSpan[] =>
      spans()
        .filter((span) => span.kind === kind)
        .toSorted((a, b) => a.startTime[0] - b.startTime[0] || a.startTime[1] - b.startTime[1]);
    const attempts = named(spans(), "GET").filter(({ kind }) => kind === SpanKind.CLIENT);
    const servers = ofKind(SpanKind.SERVER);
    expect(parentOf(call)).toBe(idOf(app));
    expect(call?.kind).toBe(SpanKind.INTERNAL);
    expect(attempts.map(parentOf)).toEqual([idOf(call), idOf(call)]);
    expect(servers.map(parentOf).toSorted()).toEqual(attempts.map(idOf).toSorted());
    expect(received).toEqual(attempts.map((span) => [traceparentOf(span)]));

    const [first, second] = attempts;
    expect(first?.status.code).toBe(SpanStatusCode.ERROR);
    expect(first?.attributes).toMatchObject({
      "http.request.method": "GET",
      "http.response.status_code": 503,
      "error.type": "503",
      "inmesh.attempt.kind": "first",
      "inmesh.attempt.number": 1,
      "inmesh.endpoint": address,
      "inmesh.endpoint.breaker": "closed",
      "inmesh.endpoint.rule": "only",
      "inmesh.progress": "replied",
      "inmesh.route": "default",
      "inmesh.service": "orders",
      "network.peer.address": "127.0.0.1",
      "network.peer.port": Number(address.split(":")[1]),
      "server.address": "orders",
      "server.port": 80,
      "url.full": "http://orders/v1/orders/42",
    });
    expect(first?.attributes["inmesh.endpoint.cost"]).toBeGreaterThanOrEqual(0);
    expect(first?.attributes).not.toHaveProperty("http.request.resend_count");
    expect(second?.attributes).toMatchObject({
      "http.request.resend_count": 1,
      "inmesh.attempt.kind": "retry",
      "inmesh.connection.reused": true,
      "inmesh.outcome": "success",
    });
    expect(call?.attributes).toEqual({
      "inmesh.attempts": 2,
      "inmesh.config.generation": mesh.configVersion,
      "inmesh.outcome": "success",
      "inmesh.route": "default",
      "inmesh.service": "orders",
      "inmesh.split.backend": "orders",
    });
    expect(eventsOf(call)).toEqual(["picked", "retry", "picked"]);
    const retry = call?.events.find(({ name }) => name === "retry");
    expect(retry?.attributes).toMatchObject({
      "inmesh.attempt.kind": "retry",
      "inmesh.reason": "status",
    });
    expect(retry?.attributes?.["inmesh.pause_ms"]).toBeGreaterThan(0);
    expect(servers[0]?.attributes).toMatchObject({
      "client.address": "127.0.0.1",
      "http.request.method": "GET",
      "inmesh.attempt.number": 1,
      "inmesh.server": "shop",
      "url.path": "/v1/orders/42",
      "url.scheme": "http",
    });
    expect(servers[0]?.attributes["inmesh.deadline.remaining_ms"]).toBeGreaterThan(1_000);
    for (const span of spans()) expect(JSON.stringify(span.attributes)).not.toContain("secret");
  });

  it("says why it failed, why it was not repeated, and that it was shed", async () => {
    const { spans } = recordSpans();
    const mesh = tracedMesh();
    const server = createServer((request) => request.socket.destroy()).listen(0, "127.0.0.1");
    await once(server, "listening");
    onTestFinished(() => void server.close());
    const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const lost = meshClient("lost", { mesh, discovery: { static: [address] } });
    await expect(lost.fetch("/", { method: "POST" })).rejects.toThrow("lost");
    const [call] = named(spans(), "inmesh lost");
    const [attempt] = named(spans(), "POST");
    expect(attempt?.status.code).toBe(SpanStatusCode.ERROR);
    expect(attempt?.attributes).toMatchObject({
      "error.type": "reset_before_response",
      "inmesh.code": "connection_lost",
      "inmesh.outcome": "failure",
      "inmesh.progress": "maybe-processed",
      "inmesh.reason": "reset_before_response",
    });
    expect(call?.status.code).toBe(SpanStatusCode.ERROR);
    const refused = call?.events.find(({ name }) => name === "not_retried");
    expect(refused?.attributes).toEqual({ "inmesh.decision": "not_idempotent" });

    const held = await serving(() => {}, { mesh });
    const input = { discovery: { static: [held] }, limits: { maxInFlight: 1 } };
    const full = meshClient("full", { mesh, ...input });
    const stop = new AbortController();
    const first = full.fetch("/", { signal: stop.signal }).catch(() => {});
    await expect(full.fetch("/")).rejects.toMatchObject({ code: "overloaded" });
    stop.abort();
    await first;
    const [shed] = named(spans(), "inmesh full");
    expect(shed?.events).toMatchObject([
      { name: "shed", attributes: { "inmesh.reason": "concurrency" } },
    ]);
    expect(shed?.status.code).toBe(SpanStatusCode.UNSET);
  });
});

/** Counts how often it is asked. */
class Asked implements Sampler {
  names: string[] = [];
  readonly #decision: SamplingDecision;
  constructor(decision: SamplingDecision) {
    this.#decision = decision;
  }
  shouldSample(_context: unknown, _traceId: string, name: string): { decision: SamplingDecision } {
    this.names.push(name);
    return { decision: this.#decision };
  }
}

describe("callSpan: retried", () => {
  it("leaves the call's span out where the route allows one attempt, and has it where it may retry", async () => {
    const { spans } = recordSpans();
    const mesh = createMesh({ env: {} });
    onTestFinished(() => mesh.close(0));
    traceMesh(mesh, { callSpan: "retried" });
    const received: string[][] = [];
    const address = await serving((request, response) => {
      received.push(traceFields(request));
      response.statusCode = request.url === "/fails" && received.length === 2 ? 503 : 200;
      response.end("x");
    });
    const discovery = { static: [address] };
    const single = meshClient("once", { mesh, discovery, retry: { attempts: 1 } });
    const orders = meshClient("orders", { mesh, discovery });
    expect(await inSpan("app", () => get(single))).toBe(200);
    expect(await inSpan("app", () => get(orders, "/fails"))).toBe(200);
    const full = meshClient("full", {
      mesh,
      discovery,
      retry: { attempts: 1 },
      limits: { maxInFlight: 1 },
    });
    await inSpan("app", () => Promise.allSettled([get(full), get(full)]));
    const [first, second, third] = named(spans(), "app");
    const get1 = named(spans(), "GET");
    expect(get1.map(parentOf)).toEqual([
      idOf(first),
      idOf(named(spans(), "inmesh orders")[0]),
      idOf(named(spans(), "inmesh orders")[0]),
      idOf(third),
    ]);
    expect(received).toEqual(get1.map((span) => [traceparentOf(span)]));
    const [call] = named(spans(), "inmesh orders");
    expect(parentOf(call)).toBe(idOf(second));
    expect(eventsOf(call)).toEqual(["picked", "retry", "picked"]);
    const begins = ({ startTime: [s, ns] }: ReadableSpan): number => s * 1_000 + ns / 1_000_000;
    expect(begins(call!)).toBeLessThanOrEqual(begins(get1[1]!) + 1);
    expect(named(spans(), "inmesh once")).toEqual([]);
    // A call that is refused without an attempt is seen all the same.
    expect(parentOf(named(spans(), "inmesh full")[0])).toBe(idOf(third));
  });

  it("tells the next hop that nothing is recorded, and asks the sampler once", async () => {
    const root = new Asked(SamplingDecision.NOT_RECORD);
    const { spans } = recordSpans({ root });
    const mesh = createMesh({ env: {} });
    onTestFinished(() => mesh.close(0));
    traceMesh(mesh, { callSpan: "retried" });
    const received: string[][] = [];
    const address = await serving((request, response) => {
      received.push(traceFields(request));
      response.end("x");
    });
    const single = meshClient("once", {
      mesh,
      discovery: { static: [address] },
      retry: { attempts: 1 },
    });
    expect(await get(single)).toBe(200);
    expect(spans()).toEqual([]);
    expect(root.names).toEqual(["GET"]);
    expect(received.flat()).toEqual([
      expect.stringMatching(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/) as string,
    ]);
  });

  it("is refused with another word", () => {
    const mesh = createMesh({ env: {} });
    onTestFinished(() => mesh.close(0));
    expect(() => traceMesh(mesh, { callSpan: "never" as never })).toThrow(
      /callSpan must be one of/,
    );
    expect(() => traceMesh(mesh, { callSpans: "always" } as never)).toThrow(/callSpans/);
  });
});

describe("what is not recorded", () => {
  it("asks the sampler once for each root, makes no span below, and tells the next hop", async () => {
    const root = new Asked(SamplingDecision.NOT_RECORD);
    const { spans } = recordSpans({ root });
    const mesh = tracedMesh();
    const { received, orders: inner } = await relaying(mesh);
    expect(await get(inner, "/outer")).toBe(200);
    expect(spans()).toEqual([]);
    expect(root.names).toEqual(["inmesh orders"]);
    expect(received.flat()).toHaveLength(2);
    const [outer, below] = received.flat();
    expect(outer).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
    // Nothing was written for the second: it is what the server received.
    expect(below).toBe(outer);
  });

  it("is seen to its end by the observers beside the tracer", async () => {
    recordSpans({ root: new Asked(SamplingDecision.NOT_RECORD) });
    const mesh = tracedMesh();
    const seen: string[] = [];
    mesh.observe({
      callStarted: () => void seen.push("call"),
      attemptStarted: () => void seen.push("attempt"),
      attemptEnded: ({ headMs }) => void seen.push(`attempt ended, head ${typeof headMs}`),
      callEnded: ({ attempts }) => void seen.push(`call ended after ${attempts}`),
    });
    const { orders } = await relaying(mesh);
    expect(await get(orders)).toBe(200);
    expect(seen).toEqual(["call", "attempt", "attempt ended, head number", "call ended after 1"]);
  });

  it("below a span of this process that is not recorded asks no sampler", async () => {
    const asked = new Asked(SamplingDecision.NOT_RECORD);
    recordSpans({ sampler: asked });
    const mesh = tracedMesh();
    const received: string[][] = [];
    const address = await serving((request, response) => {
      received.push(traceFields(request));
      response.end("x");
    });
    const orders = meshClient("orders", { mesh, discovery: { static: [address] } });
    let parent = "";
    await trace.getTracer("test").startActiveSpan("app", async (span) => {
      const { traceId, spanId } = span.spanContext();
      parent = `00-${traceId}-${spanId}-00`;
      await get(orders);
    });
    expect(asked.names).toEqual(["app"]);
    expect(received).toEqual([[parent]]);
  });

  it("without an SDK is passed on as it came, and nothing is added", async () => {
    const mesh = tracedMesh();
    const { received, orders: inner } = await relaying(mesh);
    const given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    await get(inner, "/inner");
    await (await inner.fetch("/outer", { headers: { traceparent: given } })).text();
    expect(received).toEqual([[], [given], [given]]);
  });

  it("in a context without tracing, as that of an exporter, has neither spans nor fields", async () => {
    const { spans } = recordSpans();
    const mesh = tracedMesh();
    const received: string[][] = [];
    const address = await serving((request, response) => {
      received.push(traceFields(request));
      response.end("x");
    });
    const orders = meshClient("collector", { mesh, discovery: { static: [address] } });
    await inSpan("app", () => context.with(suppressTracing(context.active()), () => get(orders)));
    expect(spans().map(({ name }) => name)).toEqual(["app"]);
    expect(received).toEqual([[]]);
  });
});

describe("heads", () => {
  it("with a traceparent of the caller's own keep it, and its attempts get none", async () => {
    const { spans } = recordSpans();
    const mesh = tracedMesh();
    const received: string[][] = [];
    const address = await serving((request, response) => {
      received.push(traceFields(request));
      response.end("x");
    });
    const orders = meshClient("orders", { mesh, discovery: { static: [address] } });
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    await (await orders.fetch("/", { headers: { traceparent } })).text();
    expect(received).toEqual([[traceparent]]);
    expect(spans().map(({ name, kind }) => [name, kind])).toEqual([
      ["inmesh orders", SpanKind.INTERNAL],
    ]);
    const exemplars = mesh.metrics().flatMap((one) => {
      if (one.labels["service"] !== "orders") return [];
      return (one.kind === "histogram" && one.exemplars) || [];
    });
    const traces = new Set(exemplars.flatMap((one) => one?.traceId ?? []));
    expect([...traces]).toEqual(["0af7651916cd43dd8448eb211c80319c"]);
  });

  it.each([
    ["one field", B3InjectEncoding.SINGLE_HEADER, ["b3"]],
    [
      "several fields",
      B3InjectEncoding.MULTI_HEADER,
      ["x-b3-traceid", "x-b3-spanid", "x-b3-sampled"],
    ],
  ])(
    "B3 in %s, and baggage, go with each attempt and come out at the handler",
    async (_, injectEncoding, fields) => {
      const { spans } = recordSpans({
        propagators: [
          new B3Propagator({ injectEncoding }),
          new (await import("@opentelemetry/core")).W3CBaggagePropagator(),
        ],
      });
      const mesh = tracedMesh();
      const received: IncomingMessage["headers"][] = [];
      const baggages: (string | undefined)[] = [];
      let inner: MeshClient | undefined;
      const address = await serving(
        async (request, response) => {
          received.push(request.headers);
          baggages.push(propagation.getActiveBaggage()?.getEntry("tenant")?.value);
          if (request.url === "/outer") await get(inner!, "/inner");
          response.end("x");
        },
        { mesh, posture: "mesh" },
      );
      inner = meshClient("orders", { mesh, discovery: { static: [address] } });
      const baggage = propagation.createBaggage({ tenant: { value: "blue" } });
      await context.with(propagation.setBaggage(context.active(), baggage), () =>
        get(inner!, "/outer"),
      );
      for (const field of fields) expect(received[0]).toHaveProperty(field);
      expect(received[0]).not.toHaveProperty("traceparent");
      expect(received.map((head) => head["baggage"])).toEqual(["tenant=blue", "tenant=blue"]);
      expect(baggages).toEqual(["blue", "blue"]);
      await vi.waitFor(() => expect(spans()).toHaveLength(6));
      expect(new Set(spans().map((span) => span.spanContext().traceId)).size).toBe(1);
    },
  );

  it("of services that are not peers carry nothing of the trace", async () => {
    const { spans } = recordSpans();
    const mesh = tracedMesh();
    const received: string[][] = [];
    const address = await serving((request, response) => {
      received.push(traceFields(request));
      response.end("x");
    });
    const foreign = meshClient("foreign", { mesh, peer: false, discovery: { static: [address] } });
    await get(foreign);
    expect(received).toEqual([[]]);
    expect(spans().map(({ name }) => name)).toEqual(["GET", "inmesh foreign"]);
  });
});

describe("the way in", () => {
  it.each(["client", "fetch", "dispatcher", "agent"] as const)(
    "by %s: one trace, one field",
    async (door) => {
      const { spans } = recordSpans();
      const mesh = tracedMesh();
      const received: string[][] = [];
      const address = await serving((request, response) => {
        received.push(traceFields(request));
        response.end("x");
      });
      const orders = meshClient("orders", { mesh, discovery: { static: [address] } });
      mesh.update({ services: { orders: { discovery: { static: [address] } } } });
      const call = async (): Promise<void> => {
        switch (door) {
          case "client":
            await get(orders);
            return;
          case "fetch":
            await (await mesh.fetch("http://orders/a")).text();
            return;
          case "dispatcher": {
            const { body } = await mesh.dispatcher.request({
              origin: "http://orders",
              path: "/a",
              method: "GET",
            });
            await body.text();
            return;
          }
          case "agent": {
            const sent = nodeRequest("http://orders/a", { agent: mesh.agent() }).end();
            const [reply] = (await once(sent, "response")) as [IncomingMessage];
            reply.resume();
            await once(reply, "close");
          }
        }
      };
      await inSpan("app", call);
      await vi.waitFor(() => expect(spans()).toHaveLength(3));
      const [attempt] = named(spans(), "GET");
      expect(received).toEqual([[traceparentOf(attempt!)]]);
      expect(parentOf(attempt)).toBe(idOf(named(spans(), "inmesh orders")[0]));
      expect(parentOf(named(spans(), "inmesh orders")[0])).toBe(idOf(named(spans(), "app")[0]));
    },
  );
});

describe("instrumentation-undici", () => {
  function instrument(): void {
    const instrumentation = new UndiciInstrumentation();
    instrumentation.setTracerProvider(trace.getTracerProvider());
    instrumentation.enable();
    onTestFinished(() => instrumentation.disable());
  }

  it("makes the CLIENT spans, below the call's, and one field", async () => {
    const { spans } = recordSpans();
    const mesh = tracedMesh();
    instrument();
    const received: string[][] = [];
    const address = await serving((request, response) => {
      received.push(traceFields(request));
      response.statusCode = received.length === 1 ? 503 : 200;
      response.end("x");
    });
    const orders = meshClient("orders", { mesh, discovery: { static: [address] } });
    await inSpan("app", () => get(orders));
    const [call] = named(spans(), "inmesh orders");
    const clients = spans().filter(({ kind }) => kind === SpanKind.CLIENT);
    expect(clients.map((span) => [span.instrumentationScope.name, parentOf(span)])).toEqual([
      ["@opentelemetry/instrumentation-undici", idOf(call)],
      ["@opentelemetry/instrumentation-undici", idOf(call)],
    ]);
    expect(received).toEqual(clients.map((span) => [traceparentOf(span)]));
    expect(eventsOf(call)).toEqual(["picked", "retry", "picked"]);
    expect(call?.events[0]?.attributes).toMatchObject({ "inmesh.endpoint": address });
  });

  it("follows our decision not to record a root", async () => {
    const root = new Asked(SamplingDecision.NOT_RECORD);
    const { spans } = recordSpans({ root });
    const mesh = tracedMesh();
    instrument();
    const received: string[][] = [];
    const address = await serving((request, response) => {
      received.push(traceFields(request));
      response.end("x");
    });
    const orders = meshClient("orders", { mesh, discovery: { static: [address] } });
    await get(orders);
    expect([spans(), root.names]).toEqual([[], ["inmesh orders"]]);
    expect(received.flat()).toHaveLength(1);
    expect(received.flat()[0]).toMatch(/-00$/);
  });

  it("does not see HTTP/2: there the spans are ours, and what is served is passed on", async () => {
    const { spans } = recordSpans();
    const mesh = tracedMesh();
    instrument();
    const received: string[][] = [];
    const address = await serving(
      (request, response) => {
        received.push(traceFields(request));
        response.end("x");
      },
      { http2: true },
    );
    const input = { discovery: { static: [address] }, http2: true };
    await get(meshClient("orders", { mesh, ...input }));
    expect(spans().map(({ name, kind }) => [name, kind])).toEqual([
      ["GET", SpanKind.CLIENT],
      ["inmesh orders", SpanKind.INTERNAL],
    ]);
    expect(received).toEqual([[traceparentOf(spans()[0]!)]]);
    // Without our spans as well: the trace of a request being served goes on over HTTP/2.
    const plain = createMesh({ env: {} });
    onTestFinished(() => plain.close(0));
    const orders = meshClient("orders", { mesh: plain, ...input });
    const front = await serving(async (_request, response) => {
      await get(orders);
      response.end("x");
    });
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const sent = nodeRequest(`http://${front}/`, { headers: { traceparent } }).end();
    const [reply] = (await once(sent, "response")) as [IncomingMessage];
    reply.resume();
    await once(reply, "close");
    expect(received[1]).toEqual([traceparent]);
  });

  it("does not see what an agent lends: there the spans are ours", async () => {
    const { spans } = recordSpans();
    const mesh = tracedMesh();
    instrument();
    const received: string[][] = [];
    const address = await serving((request, response) => {
      received.push(traceFields(request));
      response.end("x");
    });
    mesh.update({ services: { orders: { discovery: { static: [address] } } } });
    const sent = nodeRequest("http://orders/a", { agent: mesh.agent() }).end();
    const [reply] = (await once(sent, "response")) as [IncomingMessage];
    reply.resume();
    await once(reply, "close");
    await vi.waitFor(() => expect(spans()).toHaveLength(2));
    expect(received).toEqual([[traceparentOf(named(spans(), "GET")[0]!)]]);
  });
});

it("calls that share connections keep their own spans, in retries and while bodies are read", async () => {
  const { spans } = recordSpans();
  const mesh = tracedMesh();
  const asked = new Map<string, number>();
  const address = await serving((request, response) => {
    const path = request.url!;
    const times = (asked.get(path) ?? 0) + 1;
    asked.set(path, times);
    response.statusCode = times === 1 ? 503 : 200;
    response.write("first");
    setTimeout(() => response.end("last"), 5);
  });
  const limits = { maxConnectionsPerEndpoint: 2 };
  const retryBudget = { ratio: 1, minPerSecond: 100 };
  const input = { discovery: { static: [address] }, limits, retryBudget };
  const orders = meshClient("orders", { mesh, ...input });
  const active: [expected: string, seen: string | undefined][] = [];
  await Promise.all(
    Array.from({ length: 12 }, (_, i) =>
      inSpan(`app ${i}`, async () => {
        const own = trace.getActiveSpan()!.spanContext().spanId;
        const note = (): void => {
          active.push([own, trace.getActiveSpan()?.spanContext().spanId]);
        };
        const reply = await orders.fetch(`/${i}`);
        note();
        for await (const _chunk of reply.webBody!) note();
        note();
      }),
    ),
  );
  for (const [expected, seen] of active) expect(seen).toBe(expected);
  await vi.waitFor(() => expect(spans()).toHaveLength(12 * 4));
  const byId = new Map(spans().map((span) => [idOf(span), span]));
  for (const attempt of named(spans(), "GET")) {
    const app = byId.get(parentOf(byId.get(parentOf(attempt))));
    expect(attempt.attributes["url.full"]).toBe(`http://orders/${app?.name.slice("app ".length)}`);
  }
});

describe("the span of a served request", () => {
  it("is active in the handler, in the listeners of its request, and above the handler's calls", async () => {
    const { spans } = recordSpans();
    const mesh = tracedMesh();
    const active: (string | undefined)[] = [];
    const note = (): void => void active.push(trace.getActiveSpan()?.spanContext().spanId);
    const address = await serving(
      (request, response) => {
        note();
        request.on("data", note).on("end", () => {
          note();
          setTimeout(() => {
            note();
            response.end("x");
          }, 5);
        });
      },
      { mesh },
    );
    const orders = meshClient("orders", { mesh, discovery: { static: [address] } });
    const reply = await orders.fetch("/", { method: "POST", body: "some bytes" });
    await reply.text();
    await vi.waitFor(() => expect(spans()).toHaveLength(3));
    const server = spans().find(({ kind }) => kind === SpanKind.SERVER);
    expect(active).toEqual(Array.from({ length: 4 }, () => idOf(server)));
    expect(trace.getActiveSpan()).toBeUndefined();
  });

  it("is not made for health checks, nor where a span is active already", async () => {
    const { spans } = recordSpans();
    const mesh = tracedMesh();
    const server = meshServer((_request, response) => void response.end("x"), {
      mesh,
      health: { live: "/livez" },
    });
    onTestFinished(() => server.close(0));
    const { port } = await server.listen(0, "127.0.0.1");
    await (await fetch(`http://127.0.0.1:${port}/livez`)).text();
    expect(spans()).toEqual([]);
    // Another instrumentation stands in front of the mesh, and has made its span.
    const emit = server.server.emit.bind(server.server);
    server.server.emit = ((...args: Parameters<typeof emit>) =>
      (args[0] as string) === "request"
        ? trace.getTracer("other").startActiveSpan("theirs", (span) => {
            span.end();
            return emit(...args);
          })
        : emit(...args)) as typeof emit;
    await (await fetch(`http://127.0.0.1:${port}/`)).text();
    expect(spans().map(({ name }) => name)).toEqual(["theirs"]);
  });

  it("says that the server has refused it", async () => {
    const { spans } = recordSpans();
    const mesh = tracedMesh();
    const address = await serving(() => {}, { mesh, limits: { maxInFlight: 1 } });
    const client = meshClient("orders", {
      mesh,
      discovery: { static: [address] },
      retry: { attempts: 1 },
    });
    const stop = new AbortController();
    const first = client.fetch("/", { signal: stop.signal }).catch(() => {});
    await vi.waitFor(async () => expect(await get(client)).toBe(503));
    stop.abort();
    await first;
    const refused = spans().find(
      ({ kind, attributes }) =>
        kind === SpanKind.SERVER && attributes["http.response.status_code"] === 503,
    );
    expect(refused?.events).toMatchObject([{ name: "shed" }]);
    expect(refused?.attributes).toMatchObject({ "inmesh.outcome": "overloaded" });
  });
});

describe("a part that fails", () => {
  it("a sampler that throws costs no call, and is counted", async () => {
    recordSpans({
      sampler: {
        shouldSample: () => {
          throw new Error("the sampler is broken");
        },
      },
    });
    const mesh = tracedMesh();
    const address = await serving((_request, response) => void response.end("x"), { mesh });
    const orders = meshClient("orders", { mesh, discovery: { static: [address] } });
    for (let i = 0; i < 20; i++) expect(await get(orders)).toBe(200);
    const { errors, lastError } = mesh.snapshot().observers;
    expect(errors).toBe(40); // a call and a served request, each
    expect(lastError).toContain("the sampler is broken");
  });

  it("an exporter that never answers makes no call wait, nor the end of the mesh", async () => {
    const hanging: SpanExporter = {
      export: () => {},
      shutdown: () => new Promise(() => {}),
      forceFlush: () => new Promise(() => {}),
    };
    const batch = new BatchSpanProcessor({
      exporter: hanging,
      maxQueueSize: 16,
      maxExportBatchSize: 4,
    });
    recordSpans({ processors: [batch] });
    vi.spyOn(batch, "shutdown").mockResolvedValue(); // the end of the SDK is not ours
    const mesh = tracedMesh();
    const address = await serving((_request, response) => void response.end("x"), { mesh });
    const orders = meshClient("orders", { mesh, discovery: { static: [address] } });
    for (let i = 0; i < 50; i++) expect(await get(orders)).toBe(200);
    await mesh.close(1_000);
  });

  it("a mesh that is closed ends the spans of its calls, and makes no others", async () => {
    const { spans } = recordSpans();
    const mesh = tracedMesh();
    const address = await serving(() => {}); // it never answers
    const orders = meshClient("orders", { mesh, discovery: { static: [address] } });
    const failed = expect(orders.fetch("/")).rejects.toMatchObject({ code: "cancelled" });
    await new Promise((resolve) => setTimeout(resolve, 20));
    await mesh.close(0);
    await failed;
    expect(spans().map(({ name, attributes }) => [name, attributes["inmesh.reason"]])).toEqual([
      ["GET", "shutdown"],
      ["inmesh orders", "shutdown"],
    ]);
    await expect(orders.fetch("/")).rejects.toMatchObject({ code: "closed" });
    expect(spans()).toHaveLength(2);
  });

  it("asked for twice, or ended, traces once, or not at all", async () => {
    const { spans, reset } = recordSpans();
    const mesh = tracedMesh();
    const stop = traceMesh(mesh);
    expect(traceMesh(mesh)).toBe(stop);
    const address = await serving((_request, response) => void response.end("x"));
    const orders = meshClient("orders", { mesh, discovery: { static: [address] } });
    await get(orders);
    expect(spans()).toHaveLength(2);
    reset();
    stop();
    stop();
    await get(orders);
    expect(spans()).toEqual([]);
    traceMesh(mesh);
    await get(orders);
    expect(spans()).toHaveLength(2);
  });
});

it("a call that has an unsampled parent in a remote context asks the sampler", async () => {
  const sampler = new AlwaysOffSampler();
  const asked = vi.spyOn(sampler, "shouldSample");
  recordSpans({ sampler, propagators: [new W3CTraceContextPropagator()] });
  const mesh = tracedMesh();
  const address = await serving((_request, response) => void response.end("x"));
  const orders = meshClient("orders", { mesh, discovery: { static: [address] } });
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
  const remote = propagation.extract(context.active(), { traceparent });
  await context.with(remote, () => get(orders));
  expect(asked).toHaveBeenCalledTimes(1);
});
