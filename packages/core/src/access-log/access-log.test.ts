/** Access logs in virtual time: their lines, and what a stream that is slow, has ended or fails costs. */
import { Writable } from "node:stream";
import { describe, expect, it } from "vitest";
import { Call } from "../call.ts";
import { ConfigError } from "../config/mistakes.ts";
import type { LogLine } from "../log.ts";
import { createMesh } from "../mesh.ts";
import type { EndedRequest } from "../observe/observer.ts";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { StubRequest, stubProtocol } from "../testing/stub-transport.ts";
import { ConnectionPeer } from "../tls/peer.ts";
import { accessLog, type AccessLogOptions } from "./access-log.ts";
import { combinedLine } from "./combined.ts";

/** A stream of Node that finishes writes when it is let. */
class Held extends Writable {
  readonly texts: string[] = [];
  readonly #waiting: (() => void)[] = [];
  constructor(highWaterMark = 1) {
    super({ highWaterMark, decodeStrings: false });
  }
  override _write(text: string, _: string, done: () => void): void {
    this.texts.push(text);
    this.#waiting.push(done);
  }
  async release(): Promise<void> {
    this.#waiting.shift()?.();
    await new Promise(setImmediate);
  }
  get lines(): string[] {
    return this.texts.join("").split("\n").slice(0, -1);
  }
}

function setUp(options: Omit<AccessLogOptions, "stream">, stream: Writable) {
  const runtime = new SimRuntime(5);
  const log: LogLine[] = [];
  const exporters = [accessLog({ stream, ...options })];
  const mesh = createMesh({ env: {}, runtime, exporters, log: (line) => void log.push(line) });
  const service = mesh.service(
    "orders",
    stubProtocol((exchange) => exchange.reply()),
    { discovery: { static: ["10.0.0.1:80"] } },
  );
  const send = (path = "/a") =>
    service.current(new Call("orders", new StubRequest(path), true, true));
  const valueOf = (result: string): number => {
    const series = mesh
      .metrics()
      .find((one) => one.name === "inmesh.access_log.lines" && one.labels["result"] === result);
    return series?.kind === "counter" ? series.value : 0;
  };
  return { runtime, mesh, send, log, valueOf };
}

describe("on a stream", () => {
  it("the lines of one turn are one write, and each says what became of its call", async () => {
    const stream = new Held();
    const { runtime, mesh, send, valueOf } = setUp({ outbound: true }, stream);
    await send("/a\u001b[2J\n");
    await send("/b");
    expect(stream.texts).toEqual([]);
    await runtime.advance(1);
    expect(stream.texts).toHaveLength(1);
    expect(stream.lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      {
        timestamp: "2030-01-01T00:00:00.000Z",
        "inmesh.direction": "outbound",
        "inmesh.service": "orders",
        "inmesh.route": "default",
        "http.request.method": "GET",
        "url.path": "/a\\u001b[2J\\u000a",
        "http.response.status_code": 200,
        "inmesh.outcome": "success",
        "inmesh.attempts": 1,
        "network.peer.address": "10.0.0.1:80",
      },
      { "url.path": "/b" },
    ]);
    expect(valueOf("written")).toBe(2);
    await stream.release();
    await mesh.close();
  });

  it("that takes nothing more, lines wait up to a bound, and the rest is counted and said once", async () => {
    const stream = new Held();
    const { runtime, mesh, send, log, valueOf } = setUp({ outbound: true }, stream);
    await send("/first");
    await runtime.advance(1);
    for (let i = 0; i < 10_050; i++) await send(`/${i}`);
    await runtime.advance(1);
    expect(stream.texts).toHaveLength(1);
    expect(valueOf("dropped")).toBe(50);
    expect(log.filter(({ event }) => event === "access_log.dropped")).toHaveLength(1);
    await stream.release();
    expect(stream.texts).toHaveLength(2);
    expect(stream.lines).toHaveLength(10_001);
    expect(valueOf("written")).toBe(10_001);
    await stream.release();
    await mesh.close();
  });

  it("that has ended gets nothing, and no error", async () => {
    const stream = new Held();
    const { runtime, mesh, send, valueOf } = setUp({ outbound: true }, stream);
    await send();
    stream.destroy();
    await runtime.advance(1);
    await send();
    await runtime.advance(1);
    expect(stream.texts).toEqual([]);
    expect(valueOf("dropped")).toBe(2);
    await mesh.close();
  });

  it("that fails is a line of the mesh's log, and no error of the process", async () => {
    const stream = new Writable({ write: (_chunk, _, done) => done(new Error("disk full")) });
    const { runtime, mesh, send, log } = setUp({ outbound: true }, stream);
    await send();
    await runtime.advance(1);
    await new Promise(setImmediate);
    expect(log.map(({ event, message }) => `${event} ${message}`)).toContainEqual(
      expect.stringMatching(/^access_log\.failed .*disk full/),
    );
    await send();
    await mesh.close();
  });

  it("that many meshes log to, one after the other, gets one listener of each kind", async () => {
    const stream = new Held();
    for (let i = 0; i < 20; i++) {
      const { mesh, runtime, send } = setUp({ outbound: true }, stream);
      await send();
      await runtime.advance(1);
      for (let left = 0; left < 3; left++) await stream.release();
      await mesh.close();
    }
    expect(stream.lines).toHaveLength(20);
    expect([stream.listenerCount("error"), stream.listenerCount("drain")]).toEqual([1, 0]);
    stream.emit("error", null);
  });

  it("that is none of Node's, and gives nothing back, gets every line", async () => {
    const texts: string[] = [];
    const write = (text: string, written: () => void): void => {
      texts.push(text);
      written();
    };
    const stream = { write, on: () => {}, off: () => {} };
    const { runtime, mesh, send } = setUp({ outbound: true }, stream as unknown as Writable);
    for (let i = 0; i < 3; i++) {
      await send();
      await runtime.advance(1);
    }
    expect(texts).toHaveLength(3);
    await mesh.close();
  });

  it("close writes what waits, and waits for the stream, but no longer than it may", async () => {
    const stream = new Held();
    const { runtime, mesh, send, valueOf } = setUp({ outbound: true }, stream);
    await send("/a");
    let closed = false;
    const closing = mesh.close(10_000).then(() => (closed = true));
    await runtime.advance(500);
    expect(stream.lines).toHaveLength(1);
    expect(closed).toBe(false);
    await runtime.advance(10_000);
    await closing;
    expect(valueOf("written")).toBe(1);
    expect(stream.listenerCount("drain")).toBe(0);

    const quick = new Held();
    const other = setUp({ outbound: true }, quick);
    await other.send("/a");
    const ended = other.mesh.close(10_000);
    await other.runtime.advance(1);
    await quick.release();
    await ended;
    expect(quick.lines).toHaveLength(1);
  });

  it("calls are no lines unless that is asked for", async () => {
    const stream = new Held();
    const { runtime, mesh, send } = setUp({}, stream);
    await send();
    await runtime.advance(1);
    expect(stream.texts).toEqual([]);
    await mesh.close();
  });
});

describe("Combined", () => {
  const request = (more: Partial<EndedRequest> = {}): EndedRequest => ({
    id: 1,
    protocol: "http",
    server: "shop",
    route: "default",
    method: "GET",
    path: "/apache_pb.gif",
    query: "a=1",
    httpVersion: "1.1",
    header: (name) =>
      ({ referer: "http://example.com/", "user-agent": "Mozilla/4.08" })[name] as string,
    fields: () => [],
    startedAt: 0,
    deadlineAt: Infinity,
    attempt: 1,
    priority: "normal",
    traceparent: undefined,
    tracestate: undefined,
    traceId: undefined,
    peer: new ConnectionPeer("127.0.0.1", 4_711, false, undefined),
    outcome: "success",
    status: 200,
    reason: undefined,
    durationMs: 3,
    sentBytes: 2_326,
    receivedBytes: 0,
    ...more,
  });
  const at = 971_186_136_000;

  it("is the line of Apache's manual", () => {
    expect(combinedLine(request(), at, false)).toBe(
      '127.0.0.1 - - [10/Oct/2000:13:55:36 +0000] "GET /apache_pb.gif HTTP/1.1" 200 2326 "http://example.com/" "Mozilla/4.08"\n',
    );
  });

  it("has dashes for what there is none of, and the query when asked", () => {
    const bare = request({
      header: () => undefined,
      status: undefined,
      sentBytes: 0,
      peer: ConnectionPeer.unknown,
    });
    expect(combinedLine(bare, at, true)).toBe(
      '- - - [10/Oct/2000:13:55:36 +0000] "GET /apache_pb.gif?a=1 HTTP/1.1" - - "-" "-"\n',
    );
  });

  it("has quotes and backslashes escaped, so that no field can end early", () => {
    const hostile = request({ header: () => 'a" "b\\ \u001b[31m\n' });
    expect(combinedLine(hostile, at, false)).toContain('"a\\" \\"b\\\\ \\\\u001b[31m\\\\u000a"');
  });

  it("of gRPC has the 200 that was sent", () => {
    const grpc = request({ protocol: "grpc", status: 14, httpVersion: "2", method: "POST" });
    expect(combinedLine(grpc, at, false)).toContain('HTTP/2" 200 ');
  });
});

it("bad options are one error with every mistake", () => {
  const wrong = { stream: "stdout", format: "xml", inbund: true, query: 1 };
  expect(() => accessLog(wrong as unknown as AccessLogOptions)).toThrow(
    /access log refused, 4 mistakes[^]*inbund[^]*query[^]*stream[^]*format/,
  );
  const stream = new Held();
  expect(() => accessLog({ stream, format: "combined", outbound: true })).toThrow(ConfigError);
});
