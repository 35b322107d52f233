/** An error of the proxy's own ends the connection that it came up in, and no other: each part of it is made to throw once. */
import { once } from "node:events";
import type { LogLine } from "@inmesh/core";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { settings } from "../../http/test/support/h2-peer.ts";
import { RequestBody } from "../src/body.ts";
import { Exchange } from "../src/exchange.ts";
import { Forward } from "../src/forward.ts";
import { BodyReader } from "../src/http1/body-reader.ts";
import { Http1Front } from "../src/http1/front.ts";
import { Output } from "../src/http1/output.ts";
import { ReplyReader } from "../src/http1/reply-reader.ts";
import { RequestReader } from "../src/http1/request-reader.ts";
import { FieldWriter } from "../src/http2/field-writer.ts";
import { FrameReader } from "../src/http2/frames.ts";
import { Http2FrontConnection } from "../src/http2/front.ts";
import { HpackDecoder } from "../src/http2/hpack-decoder.ts";
import { Outgoing } from "../src/http2/outgoing.ts";
import { StreamTable } from "../src/http2/stream-table.ts";
import { OwnHead } from "../src/own-reply.ts";
import { ask2, client2, open2, origin1, origin2, replyOf } from "./support/http2.ts";
import {
  proxied,
  rawClient,
  repliesIn,
  type Proxied,
  type ProxiedOptions,
} from "./support/proxied.ts";

/** `part` throws the next time that it is asked. */
function breakOnce(owner: object, part: string): { readonly calls: number } {
  const spy = vi.spyOn(owner as Record<string, () => void>, part);
  spy.mockImplementationOnce(() => {
    throw new TypeError(`defect of ${part}`);
  });
  onTestFinished(() => spy.mockRestore());
  return {
    get calls() {
      return spy.mock.calls.length;
    },
  };
}

interface Bench extends Proxied {
  /** What was logged as a defect. */
  readonly defects: () => string[];
}

async function bench(services: object, options: ProxiedOptions): Promise<Bench> {
  const lines: LogLine[] = [];
  const log = (line: LogLine): void => void lines.push(line);
  const one = await proxied(services as Record<string, object>, { ...options, mesh: { log } });
  return {
    ...one,
    defects: () => lines.flatMap(({ event, message }) => (event === "proxy.defect" ? message : [])),
  };
}

/** One defect, counted and logged with its place, and nothing is left in flight or held. */
async function expectOne({ mesh, proxy, defects }: Bench, part: string, open: number) {
  await expect.poll(defects).toHaveLength(1);
  expect(defects()[0]).toContain(`TypeError: defect of ${part}`);
  expect(defects()[0]).toContain(".ts:");
  expect(mesh.metrics().find(({ name }) => name === "inmesh.defects")).toMatchObject({ value: 1 });
  await expect.poll(() => proxy.listeners[0]!.connections).toBe(open);
  await expect.poll(() => mesh.snapshot().services[0]?.callsInFlight ?? 0).toBe(0);
  await expect.poll(() => mesh.snapshot().services[0]?.endpoints[0]?.inFlight ?? 0).toBe(0);
  expect(mesh.servers.list[0]).toMatchObject({ requestsInFlight: 0 });
}

const POST = "POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: 200000\r\n\r\n";
const GET = "GET / HTTP/1.1\r\nHost: orders\r\n\r\n";

describe("over HTTP/1", () => {
  it.each<[string, object, string, string]>([
    ["the head of a request", RequestReader.prototype, "read", GET],
    ["the body of a request", BodyReader.prototype, "read", POST],
    ["what is kept of it", RequestBody.prototype, "write", POST],
    ["the call that is made of it", Forward.prototype, "handle", GET],
    ["what is sent of it", Exchange.prototype, "visitFields", GET],
    ["the head of a reply", ReplyReader.prototype, "read", GET],
    ["its judgement", Exchange.prototype, "replied", GET],
    ["its way to the client", Exchange.prototype, "sendTo", GET],
    ["its body", Exchange.prototype, "data", GET],
    ["its end", Exchange.prototype, "end", GET],
    ["what goes to the client", Output.prototype, "flush", GET],
  ])("%s: the other connections go on", async (_, owner, part, request) => {
    let answer: (() => void) | undefined;
    const address = await origin1((got, response) => {
      got.resume();
      if (got.url === "/held") answer = () => response.end("late");
      else got.on("end", () => response.end("ok"));
    });
    const one = await bench(
      { orders: { discovery: { static: [address] }, retry: { attempts: 1 } } },
      {},
    );
    const other = await rawClient(one.port);
    let text = "";
    other.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    other.write("GET /held HTTP/1.1\r\nHost: orders\r\n\r\n");
    await expect.poll(() => answer).toBeDefined();
    const broken = await rawClient(one.port);
    let got = "";
    broken.on("data", (chunk: Buffer) => (got += chunk.toString("latin1")));
    const spy = breakOnce(owner, part);
    const closed = new Promise((resolve) => broken.on("close", resolve));
    broken.on("end", () => broken.end());
    broken.write(request + (request === POST ? "x".repeat(200_000) : ""));
    // A reply says so, where nothing of one was sent, or else the connection ends.
    await Promise.race([closed, expect.poll(() => repliesIn(got).length).toBe(1)]);
    for (const { status } of repliesIn(got)) expect([502, 503]).toContain(status);
    expect(spy.calls).toBeGreaterThan(0);
    broken.destroy();
    answer!();
    await expect.poll(() => repliesIn(text)).toMatchObject([{ status: 200, body: "late" }]);
    await expectOne(one, part, 1);
    other.write(GET);
    await expect.poll(() => repliesIn(text)).toMatchObject([{}, { status: 200, body: "ok" }]);
  });
});

describe("over HTTP/2", () => {
  it.each<[string, object, string]>([
    ["frames", FrameReader.prototype, "read"],
    ["a compressed head", HpackDecoder.prototype, "decode"],
    ["the table of streams", StreamTable.prototype, "add"],
    ["a head that is written", FieldWriter.prototype, "own"],
    ["what goes out", Outgoing.prototype, "taken"],
    ["the judgement of a reply", Exchange.prototype, "replied"],
    ["its body", Exchange.prototype, "data"],
    ["its end", Exchange.prototype, "end"],
  ])("%s: the other connections of clients go on", async (_, owner, part) => {
    const origin = await origin2((stream) => {
      stream.resume();
      stream.respond({ ":status": 200 });
      stream.end("ok");
    });
    const one = await bench(
      { orders: { http2: true, discovery: { static: [origin.address] }, retry: { attempts: 1 } } },
      { spoken: "http2" },
    );
    const other = client2(one.port);
    expect((await ask2(other)).headers[":status"]).toBe(200);
    const broken = client2(one.port);
    await once(broken, "remoteSettings");
    // So that the first thing that happens from here on is this request.
    await expect.poll(() => one.proxy.listeners[0]!.connections).toBe(2);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const stream = open2(broken, {});
    breakOnce(owner, part);
    const reply = await replyOf(stream);
    expect([undefined, 200, 502, 503]).toContain(reply.headers[":status"]);
    broken.destroy();
    await expectOne(one, part, 1);
    expect(String((await ask2(other)).body)).toBe("ok");
  });

  it("what answers for the proxy itself: the stream or the connection ends, and the next is served", async () => {
    const origin = await origin2((stream) => {
      stream.resume();
      stream.respond({ ":status": 200 }, { endStream: true });
    });
    const one = await bench(
      { orders: { http2: true, discovery: { static: [origin.address] } } },
      { spoken: "http2" },
    );
    breakOnce(OwnHead, "ofRefusal");
    const reply = await ask2(client2(one.port), { ":authority": "unknown" });
    expect(reply.headers[":status"]).not.toBe(200);
    await expect.poll(one.defects).toHaveLength(1);
    expect((await ask2(client2(one.port))).headers[":status"]).toBe(200);
  });
});

describe("at a drain", () => {
  it.each([
    ["http1", Http1Front.prototype, "leave"],
    ["http1", Http1Front.prototype, "closeIdle"],
    ["http2", Http2FrontConnection.prototype, "leave"],
    ["http2", Http2FrontConnection.prototype, "closeIdle"],
  ] as const)(
    "one connection of %s, case %#: it ends, the others leave in order, and the drain with them",
    async (spoken, owner, part) => {
      let answer: (() => void) | undefined;
      const address = await origin1((got, response) => {
        got.resume();
        answer = () => response.end("late");
      });
      const one = await bench({ orders: { discovery: { static: [address] } } }, { spoken });
      const first = await rawClient(one.port);
      first.resume().on("end", () => first.end());
      const firstEnded = once(first, "close");
      if (spoken === "http2") {
        first.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        first.write(settings());
      }
      await expect.poll(() => one.proxy.listeners[0]!.connections).toBe(1);
      let late: Promise<string>;
      if (spoken === "http1") {
        const socket = await rawClient(one.port);
        let text = "";
        socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
        late = once(socket, "end").then(() => repliesIn(text)[0]!.body);
        socket.write(GET);
      } else late = ask2(client2(one.port)).then(({ body }) => String(body));
      await expect.poll(() => answer).toBeDefined();
      breakOnce(owner, part);
      const drained = one.proxy.close(10_000);
      await firstEnded;
      answer!();
      expect(await late).toBe("late");
      await drained;
      expect(one.defects()).toHaveLength(1);
      expect(one.proxy.listeners[0]!.connections).toBe(0);
    },
  );
});
