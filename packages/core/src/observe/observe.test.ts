/** What observers see of calls, in virtual time: in order and consistently; an error of theirs harms no call. */
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { Call } from "../call.ts";
import type { ServiceInput } from "../config/input.ts";
import { ConfigError } from "../config/mistakes.ts";
import { staticDiscovery } from "../discovery/static/static.ts";
import { MeshError } from "../errors.ts";
import type { LogLine } from "../log.ts";
import { createMesh } from "../mesh.ts";
import type { MeshOptions } from "../mesh-options.ts";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { StubRequest, stubProtocol, type StubServer } from "../testing/stub-transport.ts";
import type { EndedAttempt, EndedCall, Observer } from "./observer.ts";

function setUp(serve: StubServer, input: ServiceInput = {}, more: MeshOptions = {}) {
  const runtime = new SimRuntime(11);
  const lines: LogLine[] = [];
  const mesh = createMesh({ env: {}, runtime, log: (line) => void lines.push(line), ...more });
  const service = mesh.service("orders", stubProtocol(serve), {
    discovery: { static: ["10.0.0.1:80", "10.0.0.2:80"] },
    ...input,
  });
  const send = (method = "GET") => {
    const call = new Call("orders", new StubRequest("/a", method), method === "GET", true);
    const sent = service.current(call).catch((error: unknown) => error);
    return { call, sent };
  };
  return { runtime, mesh, send, lines };
}

const lost = (): MeshError =>
  new MeshError({
    code: "connection_lost",
    reason: "reset_before_response",
    message: "lost",
    progress: "maybe-processed",
  });

describe("a call and its attempts", () => {
  it("are reported in order, each as one object, with what is known of them then", async () => {
    let served = 0;
    const { mesh, runtime, send } = setUp((exchange) => {
      if (served++ === 0) return runtime.after(5, () => exchange.fail(lost()), undefined);
      return runtime.after(20, () => exchange.reply("success", 200), undefined);
    });
    const received: string[] = [];
    const objects = new Set<unknown>();
    const attempts: EndedAttempt[] = [];
    const calls: EndedCall[] = [];
    mesh.observe({
      callStarted(call) {
        objects.add(call);
        received.push(
          `call ${call.id} ${call.protocol} ${call.service} ${call.method} ${call.path}`,
        );
        expect([call.route, call.attempts, call.deadlineAt]).toEqual(["", 0, Infinity]);
      },
      attemptStarted(attempt) {
        objects.add(attempt.call);
        const { number, kind, retryReason, call, previous } = attempt;
        received.push(`start ${number} ${kind} ${retryReason} ${call.route} ${previous?.number}`);
      },
      attemptEnded(attempt) {
        attempts.push(attempt);
        received.push(
          `end ${attempt.number} ${attempt.outcome} ${attempt.status} ${attempt.progress}`,
        );
      },
      callEnded(call) {
        objects.add(call);
        calls.push(call);
        received.push(`over ${call.outcome} ${call.status} ${call.attempts}`);
      },
    });
    const { sent } = send();
    await runtime.advance(1_000);
    await sent;
    expect(received).toEqual([
      "call 1 stub orders GET /a",
      "start 1 first undefined default undefined",
      "end 1 failure undefined maybe-processed",
      "start 2 retry reset_before_response default 1",
      "end 2 success 200 replied",
      "over success 200 2",
    ]);
    expect(objects.size).toBe(1);
    const [first, second] = attempts;
    expect(first).toMatchObject({ durationMs: 5, headMs: undefined, backend: "orders" });
    expect(first?.error?.reason).toBe("reset_before_response");
    expect(second).toMatchObject({ durationMs: 20, headMs: 20, error: undefined });
    expect(first?.endpoint).not.toBe(second?.endpoint);
    expect(second?.why).not.toBe("");
    const [call] = calls;
    expect(call?.lastAttempt).toBe(second);
    expect(call?.durationMs).toBeGreaterThanOrEqual(25);
    await mesh.close();
  });

  it("that was refused before it had an endpoint begins and ends without an attempt", async () => {
    const { mesh, send, runtime } = setUp(() => {}, {}, { discovery: () => staticDiscovery([]) });
    const received: string[] = [];
    mesh.observe({
      callStarted: () => void received.push("call"),
      attemptStarted: () => void received.push("start"),
      callEnded: ({ outcome, status, error, lastAttempt }) =>
        void received.push(`over ${outcome} ${status} ${error?.reason} ${lastAttempt}`),
    });
    const { sent } = send();
    await runtime.advance(10);
    await sent;
    expect(received).toEqual(["call", "over failure undefined no_endpoints undefined"]);
    await mesh.close();
  });

  it("that is not repeated says why", async () => {
    const { mesh, send, runtime } = setUp((exchange) => exchange.fail(lost()));
    const ended: EndedCall[] = [];
    mesh.observe({ callEnded: (call) => void ended.push(call) });
    const { sent } = send("POST");
    await runtime.advance(10);
    await sent;
    expect(ended[0]?.notRetried).toBe("not_idempotent");
    await mesh.close();
  });

  it("a delivered reply ends the call with its last byte, once", async () => {
    let end = (): void => {};
    const { mesh, send, runtime } = setUp((exchange) => {
      exchange.reply("success", 200, { open: true });
      end = () => exchange.end("failure");
    });
    const received: string[] = [];
    mesh.observe({
      attemptEnded: ({ outcome }) => void received.push(`end ${outcome}`),
      callEnded: ({ outcome }) => void received.push(`over ${outcome}`),
    });
    await send().sent;
    await runtime.advance(50);
    expect(received).toEqual([]);
    end();
    end();
    expect(received).toEqual(["end failure", "over failure"]);
    await mesh.close();
  });
});

describe("attached and detached while calls run", () => {
  const pending = () => {
    const replies: (() => void)[] = [];
    const parts = setUp((exchange) => void replies.push(() => exchange.reply()));
    return { ...parts, replies };
  };
  const listener = (received: string[], name: string): Observer => ({
    callStarted: ({ id }) => void received.push(`${name} call ${id}`),
    attemptStarted: () => void received.push(`${name} start`),
    attemptEnded: () => void received.push(`${name} end`),
    callEnded: ({ id }) => void received.push(`${name} over ${id}`),
  });

  it("it sees nothing of a call that began before, and everything of the next one", async () => {
    const { mesh, send, replies } = pending();
    const received: string[] = [];
    mesh.observe(listener(received, "a"));
    const first = send();
    const detachB = mesh.observe(listener(received, "b"));
    for (const reply of replies.splice(0)) reply();
    await first.sent;
    const second = send();
    for (const reply of replies.splice(0)) reply();
    await second.sent;
    expect(received.filter((line) => line.startsWith("a"))).toEqual([
      "a call 1",
      "a start",
      "a end",
      "a over 1",
      "a call 2",
      "a start",
      "a end",
      "a over 2",
    ]);
    expect(received.filter((line) => line.startsWith("b"))).toEqual([
      "b call 2",
      "b start",
      "b end",
      "b over 2",
    ]);
    detachB();
    await mesh.close();
  });

  it("detached, it sees nothing more, also not the end of a call in progress", async () => {
    const { mesh, send, replies } = pending();
    const received: string[] = [];
    const detach = mesh.observe(listener(received, "a"));
    mesh.observe(listener(received, "b"));
    const { sent } = send();
    expect(mesh.snapshot().observers.attached).toBe(2);
    detach();
    detach();
    expect(mesh.snapshot().observers.attached).toBe(1);
    for (const reply of replies) reply();
    await sent;
    expect(received).toEqual(["a call 1", "b call 1", "a start", "b start", "b end", "b over 1"]);
    await mesh.close();
  });

  it("with the last one detached, calls are not observed at all", async () => {
    const { mesh, send, replies } = pending();
    mesh.observe({})();
    const { call, sent } = send();
    expect(call.observed).toBeUndefined();
    expect(call.attempt?.observed).toBeUndefined();
    for (const reply of replies) reply();
    await sent;
    await mesh.close();
  });

  it("one observer may be attached twice, and each end ends one of them", async () => {
    const { mesh, send, replies } = pending();
    const received: string[] = [];
    const one = listener(received, "a");
    mesh.observe(one);
    mesh.observe(one)();
    const { sent } = send();
    for (const reply of replies) reply();
    await sent;
    expect(received).toEqual(["a call 1", "a start", "a end", "a over 1"]);
    await mesh.close();
  });
});

describe("P2 CO: an observer that fails", () => {
  it("harms no call, is counted, and is logged once", async () => {
    const { mesh, send, lines } = setUp((exchange) => exchange.reply());
    const boom = (): never => {
      throw new Error("boom");
    };
    mesh.observe({
      callStarted: boom,
      attemptStarted: boom,
      attemptEnded: boom,
      callEnded: boom,
    });
    const ended: unknown[] = [];
    mesh.observe({ callEnded: ({ outcome }) => void ended.push(outcome) });
    expect(await send().sent).toMatchObject({ code: 200 });
    expect(await send().sent).toMatchObject({ code: 200 });
    expect(ended).toEqual(["success", "success"]);
    const { observers } = mesh.snapshot();
    expect(observers).toMatchObject({ attached: 2, errors: 8 });
    expect(observers.lastError).toContain("boom");
    expect(lines.filter(({ event }) => event === "observer.failed")).toHaveLength(1);
    const counted = mesh.metrics().filter(({ name }) => name === "inmesh.hook.errors");
    expect(counted.map(({ labels }) => labels["hook"]).toSorted()).toEqual([
      "attemptEnded",
      "attemptStarted",
      "callEnded",
      "callStarted",
    ]);
    await mesh.close();
  });

  it("as a promise is the same, and nothing waits for it", async () => {
    const { mesh, send, runtime } = setUp((exchange) => exchange.reply());
    mesh.observe({
      callStarted: () => Promise.reject(new Error("later")),
      callEnded: () => new Promise<void>(() => {}),
    });
    expect(await send().sent).toMatchObject({ code: 200 });
    await runtime.advance(1);
    expect(mesh.snapshot().observers).toMatchObject({ errors: 1 });
    await mesh.close();
  });

  it("as a promise of another realm, or of a library, is the same", async () => {
    const { mesh, send, runtime } = setUp((exchange) => exchange.reply());
    const reject = runInNewContext("() => Promise.reject(new Error('later'))") as () => void;
    mesh.observe({
      callStarted: reject,
      // oxlint-disable-next-line unicorn/no-thenable
      callEnded: () => ({ then: (_: unknown, failed: (error: Error) => void) => failed(lost()) }),
    });
    expect(await send().sent).toMatchObject({ code: 200 });
    await runtime.advance(1);
    expect(mesh.snapshot().observers).toMatchObject({ errors: 2 });
    await mesh.close();
  });

  it("by closing the mesh ends the call, and leaves nothing in flight", async () => {
    const { mesh, send } = setUp((exchange) => exchange.reply());
    let closing: Promise<void> | undefined;
    mesh.observe({ attemptStarted: () => void (closing ??= mesh.close(0)) });
    expect(await send().sent).toMatchObject({ code: "cancelled", reason: "shutdown" });
    await closing;
    expect(mesh.snapshot().services[0]).toMatchObject({ callsInFlight: 0 });
  });
});

describe("bad input", () => {
  it("names every hook that does not exist or is no function", () => {
    const { mesh } = setUp(() => {});
    const attach = (observer: unknown) => () => mesh.observe(observer as Observer);
    expect(attach(undefined)).toThrow(ConfigError);
    expect(attach({ callStartd() {}, callEnded: 3 })).toThrow(
      /callEnded: must be a function[^]*callStartd[^]*callStarted/,
    );
    class WithState implements Observer {
      readonly seen = new Set<number>();
      callStarted({ id }: { id: number }): void {
        this.seen.add(id);
      }
    }
    expect(attach(new WithState())).not.toThrow();
  });
});

describe("header fields of an attempt", () => {
  it("are its own: no other attempt has them", async () => {
    const own: (readonly string[] | undefined)[] = [];
    let served = 0;
    const { mesh, send, runtime } = setUp((exchange) => {
      own.push(exchange.attempt.headers?.given);
      if (served++ === 0) exchange.fail(lost());
      else exchange.reply();
    });
    mesh.observe({
      attemptStarted(attempt) {
        if (attempt.number === 1) attempt.setHeader("Traceparent", "one");
      },
    });
    const { sent } = send();
    await runtime.advance(1_000);
    await sent;
    expect(own).toEqual([["traceparent", "one"], undefined]);
    await mesh.close();
  });

  it.each([
    ["a b", "x"],
    ["", "x"],
    ["x-mesh-attempt", "7"],
    ["grpc-timeout", "1S"],
    ["host", "evil"],
    ["Content-Length", "3"],
    ["transfer-encoding", "chunked"],
    ["x-bytes-bin", "x"],
    ["x-a", "a\r\nb: c"],
    ["x-a", "ü"],
    ["x-a", "x".repeat(9_000)],
  ])("P2 CO: %j: %j is refused, counted, and the call goes on", async (name, value) => {
    const { mesh, send } = setUp((exchange) => {
      exchange.reply("success", exchange.attempt.headers === undefined ? 200 : 500);
    });
    mesh.observe({ attemptStarted: (attempt) => attempt.setHeader(name, value) });
    expect(await send().sent).toMatchObject({ code: 200 });
    expect(mesh.snapshot().observers.errors).toBe(1);
    await mesh.close();
  });

  it("16 names are taken, the 17th is refused; the last value of a name stands", async () => {
    let given: readonly string[] = [];
    const { mesh, send } = setUp((exchange) => {
      given = exchange.attempt.headers?.given ?? [];
      exchange.reply();
    });
    mesh.observe({
      attemptStarted(attempt) {
        for (let i = 0; i < 16; i++) attempt.setHeader(`x-${i}`, "first");
        attempt.setHeader("x-0", "second");
        attempt.setHeader("x-16", "too many");
      },
    });
    await send().sent;
    expect(given).toHaveLength(32);
    expect(given.slice(0, 2)).toEqual(["x-0", "second"]);
    expect(mesh.snapshot().observers.lastError).toContain("16 header fields");
    await mesh.close();
  });
});
