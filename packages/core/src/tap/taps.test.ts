/** Taps in virtual time: what they show, in what order, within which bounds, and how they end. */
import { describe, expect, it } from "vitest";
import { Call } from "../call.ts";
import type { ServiceInput } from "../config/input.ts";
import { ConfigError } from "../config/mistakes.ts";
import { MeshError } from "../errors.ts";
import { createMesh } from "../mesh.ts";
import type { MeshOptions } from "../mesh-options.ts";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { sideBySide } from "../testing/side-by-side.ts";
import {
  type StubReply,
  StubRequest,
  stubProtocol,
  type StubServer,
} from "../testing/stub-transport.ts";
import type { TapCall, TapEvent } from "./event.ts";
import type { TapOptions } from "./options.ts";

function setUp(
  serve: StubServer = (exchange) => exchange.reply(),
  input: ServiceInput = {},
  more: MeshOptions = {},
) {
  const runtime = new SimRuntime(11);
  const mesh = createMesh({ env: {}, runtime, ...more });
  const service = mesh.service("orders", stubProtocol(serve), {
    discovery: { static: ["10.0.0.1:80", "10.0.0.2:80"] },
    ...input,
  });
  const send = (path = "/a", method = "GET", headers: Record<string, string> = {}) => {
    const request = new StubRequest(path, method, headers);
    return service
      .current(new Call("orders", request, method === "GET", true))
      .catch((error: unknown) => error);
  };
  const valueOf = (name: string, result?: string): number => {
    const series = mesh
      .metrics()
      .find(
        (one) => one.name === name && (result === undefined || one.labels["result"] === result),
      );
    return series === undefined || series.kind === "histogram" ? 0 : series.value;
  };
  return { runtime, mesh, send, valueOf };
}

const lost = (): MeshError =>
  new MeshError({
    code: "connection_lost",
    reason: "reset_before_response",
    message: "lost \u001b[31m",
    progress: "maybe-processed",
  });

/** All that a tap has, once it has ended. */
async function allOf(tap: AsyncIterable<TapEvent>): Promise<TapEvent[]> {
  const events: TapEvent[] = [];
  for await (const event of tap) events.push(event);
  return events;
}

const pathsOf = (events: readonly TapEvent[]): string[] =>
  events.map((event) =>
    event.event === "call" ? event.path : `lost ${event.count} ${event.because}`,
  );

describe("an event", () => {
  it("has the attempts, their times, why each was made, and what was decided", async () => {
    let served = 0;
    const { mesh, runtime, send } = setUp((exchange) => {
      if (served++ === 0) return runtime.after(5, () => exchange.fail(lost()), undefined);
      return runtime.after(20, () => exchange.reply("success", 200), undefined);
    });
    const tap = mesh.tap();
    const sent = send("/a\u001b[2J", "GET", { authorization: "Bearer canary", "x-tenant": "7" });
    await runtime.advance(1_000);
    await sent;
    const { value } = await tap.next();
    const call = value as TapCall;
    expect(JSON.parse(JSON.stringify(call))).toEqual(call);
    expect(call).toMatchObject({
      version: 1,
      event: "call",
      direction: "outbound",
      id: 1,
      at: 1_893_456_000_000,
      protocol: "stub",
      service: "orders",
      route: "default",
      method: "GET",
      path: "/a\\u001b[2J",
      outcome: "success",
      status: 200,
      deadlineMs: 15_000,
    });
    expect(call.headers).toBeUndefined();
    expect(call.error).toBeUndefined();
    const [first, second] = call.attempts;
    expect(first).toMatchObject({
      number: 1,
      kind: "first",
      outcome: "failure",
      reason: "reset_before_response",
      progress: "maybe-processed",
      startedMs: 0,
      durationMs: 5,
    });
    expect(second).toMatchObject({
      number: 2,
      kind: "retry",
      retryReason: "reset_before_response",
      status: 200,
      progress: "replied",
      headMs: 20,
      durationMs: 20,
    });
    expect(second!.why).not.toBe("");
    expect(second!.startedMs).toBeGreaterThanOrEqual(5);
    expect(call.durationMs).toBeCloseTo(second!.startedMs + 20, 2);
    expect(call.decisions).toEqual([
      { what: "route", result: "default", why: "no route matches" },
      { what: "deadline", result: "service", why: "15s from the beginning of the call" },
      {
        what: "retry",
        result: "retry",
        why: "the attempt before failed, and the call may be repeated: reset_before_response",
        attempt: 2,
      },
    ]);
    await mesh.close();
  });

  it("of a call that failed has its error, escaped, and why there was no further attempt", async () => {
    const { mesh, runtime, send } = setUp((exchange) => exchange.fail(lost()));
    const tap = mesh.tap();
    const sent = send("/a", "POST");
    await runtime.advance(10);
    await sent;
    const { value } = await tap.next();
    expect(value).toMatchObject({
      outcome: "failure",
      reason: "reset_before_response",
      error: { code: "connection_lost", message: "lost \\u001b[31m" },
    });
    expect((value as TapCall).status).toBeUndefined();
    expect((value as TapCall).decisions.at(-1)).toMatchObject({
      what: "retry",
      result: "not_idempotent",
    });
    await mesh.close();
  });

  it("of a call that a limit refused has no attempt, and says so", async () => {
    const { mesh, runtime, send } = setUp(() => {}, { limits: { maxInFlight: 1 } });
    const tap = mesh.tap();
    void send("/held");
    await send("/refused");
    const { value } = await tap.next();
    expect(value).toMatchObject({
      path: "/refused",
      route: "",
      attempts: [],
      outcome: "overloaded",
    });
    expect((value as TapCall).decisions).toMatchObject([{ what: "refuse", result: "concurrency" }]);
    const closed = mesh.close(0);
    await runtime.advance(10);
    await closed;
  });

  it("of a route with backendRefs says which service it was sent to", async () => {
    const blue = { discovery: { static: ["10.0.1.1:80"] } };
    const routes = [{ name: "split", backendRefs: [{ name: "blue" }] }];
    const { mesh, send } = setUp(undefined, { routes }, { config: { services: { blue } } });
    const tap = mesh.tap();
    await send();
    const { value } = await tap.next();
    expect(value).toMatchObject({
      service: "orders",
      route: "split",
      attempts: [{ backend: "blue", endpoint: "10.0.1.1:80" }],
    });
    expect((value as TapCall).decisions).toContainEqual({
      what: "split",
      result: "blue",
      why: "drawn by the weights of the route's backendRefs",
      attempt: 1,
    });
    await mesh.close();
  });

  it("of attempts side by side has both, and which of them was chosen", async () => {
    const { mesh, send } = setUp(
      (exchange) => {
        if (exchange.attempt.number === 2) exchange.reply("success", 201);
      },
      {},
      { attemptLayers: [sideBySide<StubRequest, StubReply>() as never] },
    );
    const tap = mesh.tap();
    await send();
    const { value } = await tap.next();
    expect(value).toMatchObject({
      status: 201,
      attempts: [
        { number: 1, kind: "first", outcome: "abandoned", reason: "hedge_lost" },
        { number: 2, kind: "hedge", outcome: "success", status: 201 },
      ],
    });
    expect((value as TapCall).decisions.at(-1)).toEqual({
      what: "retry",
      result: "hedge",
      why: "beside one that was still running",
      attempt: 2,
    });
    await mesh.close();
  });

  it("shows headers when asked, and never the value of a secret", async () => {
    const { mesh, send } = setUp();
    const tap = mesh.tap({ headers: true, redact: ["X-Plan"] });
    const secrets = {
      authorization: "canary",
      "proxy-authorization": "canary",
      cookie: "canary",
      "x-api-key": "canary",
      "x-csrf-token": "canary",
      "x-vault-token": "canary",
      "x-auth-user": "canary",
      "x-goog-iap-jwt-assertion": "canary",
      "x-plan": "canary",
    };
    await send("/a", "GET", { ...secrets, "x-tenant": "7\u001b", long: "a".repeat(1_000) });
    const { value } = await tap.next();
    const { headers } = value as TapCall;
    expect(JSON.stringify(value)).not.toContain("canary");
    for (const name of Object.keys(secrets)) expect(headers![name], name).toBe("[redacted]");
    expect(headers!["x-tenant"]).toBe("7\\u001b");
    expect(headers!["long"]).toBe(`${"a".repeat(255)}…`);
    await mesh.close();
  });
});

describe("a filter", () => {
  it.each<[TapOptions, string[]]>([
    [{}, ["/v1/a", "/v1/slow", "/v2/broken", "/v1/gone"]],
    [{ service: "orders" }, ["/v1/a", "/v1/slow", "/v2/broken", "/v1/gone"]],
    [{ service: ["users", "pay"] }, []],
    [{ route: "v2" }, ["/v2/broken"]],
    [{ status: "5xx" }, ["/v2/broken"]],
    [{ status: [200, "none"] }, ["/v1/a", "/v1/slow", "/v1/gone"]],
    [{ outcome: "failure" }, ["/v2/broken", "/v1/gone"]],
    [{ reason: "reset_before_response" }, ["/v1/gone"]],
    [{ direction: "inbound" }, []],
    [{ direction: "outbound", method: "post" }, ["/v2/broken"]],
    [{ path: "/v1/" }, ["/v1/a", "/v1/slow", "/v1/gone"]],
    [{ minLatencyMs: 50 }, ["/v1/slow"]],
    [{ header: { "X-Tenant": "7" } }, ["/v1/a", "/v1/slow"]],
    [{ header: { "x-tenant": "7" }, minLatencyMs: 50 }, ["/v1/slow"]],
    [{ header: { "x-tenant": "8" } }, []],
    [{ endpoint: "10.9.9.9:80" }, []],
    [{ peer: "10.0.0.1" }, []],
    [{ traceId: "4BF92F3577B34DA6A3CE929D0E0E4736" }, ["/v1/a"]],
  ])("%o", async (options, paths) => {
    const { mesh, runtime, send, valueOf } = setUp(
      (exchange) => {
        const path = exchange.attempt.call.request.pathname;
        if (path === "/v1/slow") return runtime.after(80, () => exchange.reply(), undefined);
        if (path === "/v1/gone") return exchange.fail(lost());
        if (path === "/v2/broken") return exchange.reply("failure", 503);
        return exchange.reply();
      },
      {
        retry: { attempts: 1 },
        routes: [{ name: "v2", matches: [{ path: { type: "PathPrefix", value: "/v2" } }] }],
      },
    );
    const tap = mesh.tap(options);
    const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    await send("/v1/a", "GET", { "x-tenant": "7", traceparent });
    const slow = send("/v1/slow", "GET", { "x-tenant": "7" });
    await runtime.advance(100);
    await slow;
    await send("/v2/broken", "POST");
    await send("/v1/gone");
    tap.end();
    expect(pathsOf(await allOf(tap))).toEqual(paths);
    expect(valueOf("inmesh.tap.events", "filtered")).toBe(4 - paths.length);
    expect(valueOf("inmesh.tap.events", "sent")).toBe(paths.length);
    await mesh.close();
  });

  it("that is wrong is an error with every mistake, and opens nothing", async () => {
    const { mesh, valueOf } = setUp();
    expect(() => mesh.tap({ ratio: 0, limit: 1.5, servce: "a" } as TapOptions)).toThrow(
      /tap refused, 3 mistakes[^]*ratio[^]*limit[^]*did you mean "service"/,
    );
    expect(() => mesh.tap({ redact: "x-a" } as unknown as TapOptions)).toThrow(ConfigError);
    expect(() => mesh.tap("status=5xx" as unknown as TapOptions)).toThrow(/must be an object/);
    expect(mesh.snapshot().observers.attached).toBe(0);
    expect(valueOf("inmesh.tap.subscribers")).toBe(0);
    await mesh.close();
  });
});

describe("bounds", () => {
  it("a reader that reads nothing loses the oldest, and hears how many", async () => {
    const { mesh, send, valueOf } = setUp();
    const tap = mesh.tap({ buffer: 3, maxPerSecond: 1_000 });
    for (let i = 0; i < 10; i++) await send(`/${i}`);
    expect(valueOf("inmesh.tap.events", "dropped")).toBe(7);
    tap.end();
    expect(pathsOf(await allOf(tap))).toEqual(["lost 7 buffer", "/7", "/8", "/9"]);
    expect(valueOf("inmesh.tap.events", "sent")).toBe(3);
    await mesh.close();
  });

  it("what is above maxPerSecond is counted, and announced when its second is over", async () => {
    const { mesh, runtime, send, valueOf } = setUp();
    const tap = mesh.tap({ maxPerSecond: 2 });
    for (let i = 0; i < 5; i++) await send(`/${i}`);
    const heard: string[] = [];
    const reading = (async () => {
      for await (const event of tap) heard.push(...pathsOf([event]));
    })();
    await runtime.advance(999);
    expect(heard).toEqual(["/0", "/1"]);
    await runtime.advance(1);
    expect(heard).toEqual(["/0", "/1", "lost 3 rate"]);
    await send("/5");
    tap.end();
    await reading;
    expect(heard).toEqual(["/0", "/1", "lost 3 rate", "/5"]);
    expect(valueOf("inmesh.tap.events", "dropped")).toBe(3);
    await mesh.close();
  });

  it("without maxPerSecond there are 100 a second", async () => {
    const { mesh, send } = setUp();
    const tap = mesh.tap();
    for (let i = 0; i < 150; i++) await send(`/${i}`);
    tap.end();
    const events = pathsOf(await allOf(tap));
    expect(events).toHaveLength(101);
    expect(events.at(-1)).toBe("lost 50 rate");
    await mesh.close();
  });

  it("ratio shows about that share", async () => {
    const { mesh, send, valueOf } = setUp();
    const tap = mesh.tap({ ratio: 0.25, maxPerSecond: 1_000 });
    for (let i = 0; i < 400; i++) await send("/a");
    tap.end();
    const { length } = await allOf(tap);
    expect(length).toBeGreaterThan(60);
    expect(length).toBeLessThan(140);
    expect(valueOf("inmesh.tap.events", "filtered")).toBe(400 - length);
    await mesh.close();
  });

  it("a ninth tap is an error that says what to do, and one that ended makes room", async () => {
    const { mesh, valueOf } = setUp();
    const taps = Array.from({ length: 8 }, () => mesh.tap());
    expect(valueOf("inmesh.tap.subscribers")).toBe(8);
    expect(() => mesh.tap()).toThrow(/at most 8 taps/);
    await taps[3]!.return();
    await taps[3]!.return();
    expect(valueOf("inmesh.tap.subscribers")).toBe(7);
    mesh.tap();
    await mesh.close();
  });

  it("reads that wait are bounded too", async () => {
    const { mesh } = setUp();
    const tap = mesh.tap();
    const reads = Array.from({ length: 1_000 }, () => tap.next());
    await expect(tap.next()).rejects.toThrow("1000 reads wait already");
    await mesh.close();
    expect(await Promise.all(reads)).toEqual(
      Array.from({ length: 1_000 }, () => ({ done: true, value: undefined })),
    );
  });
});

describe("its end", () => {
  it("after limit calls the loop is over", async () => {
    const { mesh, send } = setUp();
    const tap = mesh.tap({ limit: 2 });
    for (let i = 0; i < 4; i++) await send(`/${i}`);
    expect(pathsOf(await allOf(tap))).toEqual(["/0", "/1"]);
    expect(mesh.snapshot().observers.attached).toBe(0);
    await mesh.close();
  });

  it("by leaving the loop: calls are not observed any more", async () => {
    const { mesh, send } = setUp();
    const tap = mesh.tap();
    await send("/0");
    await send("/1");
    for await (const _ of tap) break;
    expect(mesh.snapshot().observers.attached).toBe(0);
    expect(await tap.next()).toEqual({ done: true, value: undefined });
    await mesh.close();
  });

  it("with the mesh: what is there is read first, and a further tap is an error", async () => {
    const { mesh, send } = setUp();
    const tap = mesh.tap();
    const waiting = mesh.tap({ path: "/none" });
    const read = waiting.next();
    await send("/0");
    await mesh.close();
    expect(await read).toEqual({ done: true, value: undefined });
    expect(pathsOf(await allOf(tap))).toEqual(["/0"]);
    expect(() => mesh.tap()).toThrow(/the mesh is closed/);
  });

  it("the last calls of a mesh that closes are shown", async () => {
    const { mesh, runtime, send } = setUp((exchange) => {
      runtime.after(50, () => exchange.reply(), undefined);
    });
    const tap = mesh.tap();
    void send("/late");
    const closed = mesh.close();
    await runtime.advance(100);
    await closed;
    expect(pathsOf(await allOf(tap))).toEqual(["/late"]);
  });

  it("without a tap, calls are not observed", async () => {
    const { mesh, send, valueOf } = setUp();
    await send("/a");
    expect(mesh.snapshot().observers.attached).toBe(0);
    expect(valueOf("inmesh.tap.subscribers")).toBe(0);
    await mesh.close();
  });
});
