/** The order of a served request and its one end, in virtual time, over a protocol without a wire. */
import { describe, expect, it } from "vitest";
import type { Outcome } from "../call.ts";
import type { LogLine } from "../log.ts";
import { Recorder } from "../telemetry/recorder.ts";
import { ServedRecords } from "../telemetry/served-records.ts";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { Admission } from "./admission.ts";
import { compileServer, type ServerPipeline, type ServerProtocol } from "./pipeline.ts";
import { refusal, SHARED_REFUSALS, type Refusal } from "./refusals.ts";
import { ConnectionPeer, type ServerPeer } from "../tls/peer.ts";
import { ServedCall, type ServerEnd } from "./served-call.ts";
import type { ServerAnswer, ServerLayer, Stage } from "./server-layer.ts";

class Request extends ServedCall {
  readonly service = "orders";
  readonly protocol = "stub";
  readonly route = "default";
  readonly method = "GET";
  readonly query = "";
  readonly peer: ServerPeer = ConnectionPeer.unknown;
  readonly path: string;
  endStatus = 200;
  endOutcome: Outcome = "success";

  constructor(path = "/", remainingMs = Infinity) {
    super();
    this.path = path;
    this.remainingMs = remainingMs;
  }

  get endHttpStatus(): number {
    return this.endStatus;
  }

  header(): undefined {}

  readonly httpVersion = "1.1";

  fields(): [] {
    return [];
  }
}

const BAD = refusal({ code: "invalid_argument", reason: "bad" });
const BUSY_CONNECTION = refusal({ code: "unavailable", reason: "connection" });
const TOO_FAST = refusal({ code: "resource_exhausted", reason: "too_fast", retryAfterMs: 1_500 });

/** A server whose steps are written down. */
class Played implements ServerProtocol<Request> {
  readonly steps: string[] = [];
  readonly logged: LogLine[] = [];
  readonly runtime = new SimRuntime(1);
  readonly recorder = new Recorder();
  readonly refused = new Map<string, number>();
  readonly admission: Admission;
  readonly pipeline: ServerPipeline<Request>;
  handler: (request: Request) => void = () => {};

  constructor(layers: readonly ServerLayer[] = [], maxInFlight = 10) {
    const { runtime } = this;
    this.admission = new Admission({ maxInFlight, maxLoopDelayMs: Infinity }, runtime);
    this.pipeline = compileServer<Request>({
      name: "orders",
      protocol: this,
      admission: this.admission,
      records: new ServedRecords(this.recorder, "orders", "stub", () => this.admission.inFlight),
      observers: undefined,
      layers,
      runtime,
      log: (line) => void this.logged.push(line),
      count: (reason) => {
        this.refused.set(reason, (this.refused.get(reason) ?? 0) + 1);
        return reason;
      },
    });
  }

  read({ path }: Request): Refusal | undefined {
    this.steps.push("read");
    return path === "/bad" ? BAD : undefined;
  }
  answersHealth = ({ path }: Request): boolean => {
    this.steps.push("health");
    return path === "/readyz";
  };
  check({ path }: Request): Refusal | undefined {
    this.steps.push("check");
    return path === "/held" ? BUSY_CONNECTION : undefined;
  }
  admitted(): void {
    this.steps.push("admitted");
  }
  released(): void {
    this.steps.push("released");
  }
  enter(request: Request, inner: Stage<Request>): ServerAnswer {
    this.steps.push("enter");
    return inner(request);
  }
  handle(request: Request): void {
    this.steps.push("handle");
    this.handler(request);
  }
  refuse(request: Request, { reason, status }: Refusal): void {
    request.endStatus = status;
    this.steps.push(`refuse ${reason}`);
  }

  /** What was counted: `outcome status reason`, and how often. */
  get counted(): Record<string, number> {
    const found: Record<string, number> = {};
    for (const series of this.recorder.read()) {
      if (series.kind !== "counter" || series.name !== "inmesh.calls") continue;
      const { outcome, status, reason, direction } = series.labels;
      found[`${direction} ${outcome} ${status} ${reason}`] = series.value;
    }
    return found;
  }
}

const settled = async (): Promise<void> => {
  for (let i = 0; i < 10; i++) await Promise.resolve();
};

describe("the order", () => {
  it("is the one of the table, and the end is counted once", async () => {
    const server = new Played();
    const request = new Request();
    server.pipeline.serve(request);
    expect(server.steps).toEqual(["read", "health", "check", "admitted", "enter", "handle"]);
    expect([request.phase, server.admission.inFlight]).toEqual(["begun", 1]);
    await server.runtime.advance(20);
    expect(server.pipeline.ended(request)).toBe(true);
    expect(server.pipeline.ended(request)).toBe(false);
    expect([request.phase, server.admission.inFlight]).toEqual(["ended", 0]);
    expect(server.counted).toEqual({ "inbound success 2xx none": 1 });
    const duration = server.recorder.read().find(({ name }) => name === "inmesh.call.duration");
    expect(duration).toMatchObject({ count: 1, sum: 0.02 });
  });

  it.each([
    ["/bad", ["read", "refuse bad"], "inbound success none bad"],
    [
      "/held",
      ["read", "health", "check", "refuse connection"],
      "inbound overloaded none connection",
    ],
  ])("%s: what a stage refuses reaches none below it", (path, steps, counted) => {
    const server = new Played();
    server.pipeline.serve(new Request(path));
    expect(server.steps).toEqual(steps);
    expect(server.counted).toEqual({ [counted]: 1 });
    expect(server.admission.inFlight).toBe(0);
  });

  it("health is answered by a full server, and is not counted", () => {
    const server = new Played([], 0);
    server.pipeline.serve(new Request("/readyz"));
    server.pipeline.serve(new Request("/"));
    expect(server.steps).toEqual(["read", "health", "read", "health", "refuse concurrency"]);
    expect(server.counted).toEqual({ "inbound overloaded none concurrency": 1 });
  });

  it("what has no time left is not begun; what has some gets its deadline", async () => {
    const server = new Played();
    await server.runtime.advance(5);
    server.pipeline.serve(new Request("/", 0));
    expect(server.steps.at(-1)).toBe("refuse expired_on_arrival");
    const request = new Request("/", 100);
    server.pipeline.serve(request);
    expect(request.deadlineAt).toBe(105);
  });
});

describe("layers of the application", () => {
  it("are called in their order, in the turn of the request, and see its end once", async () => {
    const ends: (ServerEnd & { readonly layer: string })[] = [];
    const layer =
      (name: string): ServerLayer =>
      (inner) =>
      (request) => {
        server.steps.push(`${name} ${request.method} ${request.path}`);
        request.onEnd((end) => ends.push({ ...end, layer: name }));
        return inner(request);
      };
    const server = new Played([layer("a"), layer("b")]);
    const request = new Request("/v1");
    server.pipeline.serve(request);
    expect(server.steps.slice(4)).toEqual(["enter", "a GET /v1", "b GET /v1", "handle"]);
    await server.runtime.advance(7);
    server.pipeline.ended(request);
    server.pipeline.ended(request);
    const end = { outcome: "success", status: 200, reason: undefined, durationMs: 7 };
    expect(ends).toEqual([
      { ...end, layer: "a" },
      { ...end, layer: "b" },
    ]);
  });

  it("answer at once: nothing below runs, nothing stays in progress, and the end says why", () => {
    const ends: ServerEnd[] = [];
    const server = new Played([
      (inner) => (request) => {
        request.onEnd((end) => ends.push(end));
        return inner(request);
      },
      () => () => TOO_FAST,
    ]);
    const request = new Request();
    server.pipeline.serve(request);
    expect(server.steps.slice(3)).toEqual(["admitted", "enter", "released", "refuse too_fast"]);
    expect(server.admission.inFlight).toBe(0);
    expect(server.refused).toEqual(new Map([["too_fast", 1]]));
    expect(server.counted).toEqual({ "inbound overloaded none too_fast": 1 });
    expect(ends).toEqual([
      { outcome: "overloaded", status: 429, reason: "too_fast", durationMs: 0 },
    ]);
    expect(server.pipeline.ended(request)).toBe(false);
  });

  it("that wait hold the handler back, whatever they decide", async () => {
    const decide = new Map<string, (answer: Refusal | undefined) => void>();
    const server = new Played([
      (inner) => async (request) =>
        (await new Promise<Refusal | undefined>((resolve) => decide.set(request.path, resolve))) ??
        inner(request),
    ]);
    const [yes, no, late, gone] = ["/yes", "/no", "/late", "/gone"].map(
      (path) => new Request(path, path === "/late" ? 50 : Infinity),
    ) as [Request, Request, Request, Request];
    for (const one of [yes, no, late, gone]) server.pipeline.serve(one);
    expect(server.steps).not.toContain("handle");
    expect(server.admission.inFlight).toBe(4);
    await server.runtime.advance(60);
    server.pipeline.ended(gone); // its client left meanwhile
    expect(server.steps.slice(-2)).toEqual(["released", "refuse expired_on_arrival"]);
    decide.get("/gone")!(undefined);
    decide.get("/yes")!(undefined);
    decide.get("/no")!(TOO_FAST);
    decide.get("/late")!(undefined);
    await settled();
    expect(server.steps.filter((step) => step === "handle")).toHaveLength(1);
    expect(server.steps.slice(-2)).toEqual(["released", "refuse too_fast"]);
    expect([yes, no, late, gone].map(({ phase }) => phase)).toEqual([
      "begun",
      "ended",
      "ended",
      "ended",
    ]);
    expect(server.admission.inFlight).toBe(1);
  });

  it("one that never decides: 504 at the request's deadline, else 500 after 30 s and a line in the log", async () => {
    const server = new Played([() => () => new Promise(() => {})]);
    const requests = [new Request("/", 50), new Request("/", 40_000), new Request("/")];
    for (const one of requests) server.pipeline.serve(one);
    await server.runtime.advance(50);
    expect(requests.map(({ phase }) => phase)).toEqual(["ended", "admitted", "admitted"]);
    expect(server.logged).toEqual([]);
    await server.runtime.advance(29_940);
    expect(requests.map(({ phase }) => phase)).toEqual(["ended", "admitted", "admitted"]);
    await server.runtime.advance(20);
    expect(requests.map(({ phase }) => phase)).toEqual(["ended", "ended", "ended"]);
    expect(server.steps.filter((step) => step.startsWith("refuse"))).toEqual([
      "refuse expired_on_arrival",
      "refuse layer_failed",
      "refuse layer_failed",
    ]);
    expect(server.logged[0]!.message).toMatch(/had not decided after 30000 ms/);
    expect(server.admission.inFlight).toBe(0);
  });

  it("a request whose client left while a layer waits is not answered when the time is over", async () => {
    const server = new Played([() => () => new Promise(() => {})]);
    const request = new Request();
    server.pipeline.serve(request);
    server.pipeline.ended(request);
    await server.runtime.advance(40_000);
    expect(server.steps.filter((step) => step.startsWith("refuse"))).toEqual([]);
    expect(server.logged).toEqual([]);
  });

  it.each<[what: string, layer: ServerLayer, log: RegExp]>([
    [
      "throws",
      () => () => {
        throw new Error("oops");
      },
      /threw an error: oops/,
    ],
    ["rejects", () => () => Promise.reject(new Error("oops")), /threw an error: oops/],
    ["does nothing", () => () => undefined, /neither refused a request nor called `inner`/],
    ["gives something else", () => (() => "no") as never, /neither refused/],
    ["gives null", () => (() => null) as never, /neither refused/],
  ])("one that %s: 500, and a line in the log", async (_what, layer, log) => {
    const server = new Played([layer]);
    server.pipeline.serve(new Request());
    server.pipeline.serve(new Request());
    await settled();
    expect(server.steps.filter((step) => step === "refuse layer_failed")).toHaveLength(2);
    expect(server.steps).not.toContain("handle");
    expect(server.counted).toEqual({ "inbound failure none layer_failed": 2 });
    expect(server.logged.map(({ event }) => event)).toEqual(["server.layer_failed"]);
    expect(server.logged[0]!.message).toMatch(log);
    expect(server.admission.inFlight).toBe(0);
  });

  it("one that fails again and again: a line a minute, and how many were left out", async () => {
    const server = new Played([() => () => undefined]);
    for (let i = 0; i < 4; i++) server.pipeline.serve(new Request());
    await server.runtime.advance(60_000);
    server.pipeline.serve(new Request());
    expect(server.logged.map(({ event }) => event)).toEqual([
      "server.layer_failed",
      "log.omitted",
      "server.layer_failed",
    ]);
    expect(server.logged[1]!.message).toBe("orders: 3 lines were left out, beyond 1 a minute");
  });

  it.each<[what: string, layer: ServerLayer, log: RegExp]>([
    ["calls inner twice", (inner) => (request) => inner(request) ?? inner(request), /twice/],
    ["refuses too late", (inner) => (request) => inner(request) ?? TOO_FAST, /already has/],
    [
      "throws behind inner",
      (inner) => (request) => {
        void inner(request);
        throw new Error("late");
      },
      /threw an error: late/,
    ],
  ])("one that %s: the handler has it once, and goes on", (_what, layer, log) => {
    const server = new Played([layer]);
    const request = new Request();
    server.pipeline.serve(request);
    expect(server.steps.filter((step) => step === "handle")).toHaveLength(1);
    expect(server.refused.size).toBe(0);
    expect(request.phase).toBe("begun");
    expect(server.logged[0]!.message).toMatch(log);
  });

  it("what a handler throws is no mistake of a layer, and goes where it goes without one", () => {
    const server = new Played([(inner) => (request) => inner(request)]);
    server.handler = () => {
      throw new Error("the handler's own");
    };
    expect(() => server.pipeline.serve(new Request())).toThrow("the handler's own");
    expect(server.logged).toEqual([]);
  });

  it("a listener that throws at the end is logged, and the next one is called", () => {
    const seen: string[] = [];
    const server = new Played([
      (inner) => (request) => {
        request.onEnd(() => {
          throw new Error("oops");
        });
        request.onEnd(() => seen.push("second"));
        return inner(request);
      },
    ]);
    const request = new Request();
    server.pipeline.serve(request);
    server.pipeline.ended(request);
    expect(seen).toEqual(["second"]);
    expect(server.logged[0]!.message).toMatch(/onEnd.*oops/);
  });

  it("what is no layer is refused at start", () => {
    expect(() => new Played([(() => undefined) as never])).toThrow(/serverLayers\[0\]/);
    expect(() => new Played(["x" as never])).toThrow(/serverLayers\[0\]/);
  });
});

describe("refusals of the application", () => {
  it("say what is wrong with them, all at once", () => {
    const make = (): Refusal =>
      refusal({
        code: "teapot" as never,
        reason: "Too Fast",
        retryAfterMs: -1,
        headers: { "content-length": "3", "x-mesh-nack": "1", "bad name": "x", ok: "a\r\nb" },
      });
    expect(make).toThrow(TypeError);
    expect(make).toThrow(
      /code must be.*\n.*reason must be.*\n.*retryAfterMs.*\n.*content-length.*\n.*x-mesh-nack.*\n.*"bad name".*\n.*ok must be/s,
    );
  });

  it("follow one table: HTTP status, nack, outcome", () => {
    expect(TOO_FAST).toMatchObject({
      status: 429,
      nack: false,
      outcome: "overloaded",
      close: false,
    });
    expect(BUSY_CONNECTION).toMatchObject({ status: 503, nack: true });
    expect(BAD).toMatchObject({ status: 400, outcome: "success", headers: {} });
    expect(SHARED_REFUSALS.loop).toMatchObject({ status: 508, code: "internal" });
  });
});
