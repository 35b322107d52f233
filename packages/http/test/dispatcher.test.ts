/**
 * `mesh.dispatcher` held to undici's own contract, on real sockets: its dispatcher, client and
 * interceptor tests were read as a specification, and rows of faults.md are seen through this door.
 */
import { once } from "node:events";
import { PassThrough, Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { MeshError } from "@inmesh/core/spi";
import { countResources, expectBaseline } from "@inmesh/core/testing";
import fc from "fast-check";
import { Agent, errors, FormData, interceptors, request, stream, type Dispatcher } from "undici";
import { describe, expect, it } from "vitest";
import { createMesh } from "@inmesh/http";
import { doorsOf, httpMeshOf, Recorded, withoutGlobalDispatcher } from "./support/doors.ts";
import { answering, counted, peerOf, serve, until, OK } from "./wire.ts";
import { freeAddress } from "../../../scripts/free-port.ts";

const ONCE = { retry: { attempts: 1 } };

const echo = (): ReturnType<typeof serve> =>
  serve((incoming, outgoing) => {
    outgoing.setHeader("x-method", incoming.method!);
    outgoing.setHeader("x-path", incoming.url!);
    outgoing.setHeader("x-host", incoming.headers.host!);
    outgoing.setHeader("x-got", JSON.stringify(incoming.rawHeaders));
    incoming.pipe(outgoing);
  });

/** Reads requests and never answers. */
const silent = () =>
  peerOf(async (connection) => {
    for (;;) await connection.readRequest();
  });

describe("which origins are known", () => {
  it("a service by name, in any case and as URL, whatever port its endpoints have", async () => {
    const { address } = await echo();
    const mesh = doorsOf([address]);
    for (const origin of ["http://orders", "http://ORDERS", "http://orders:80", "http://orders/"]) {
      expect(mesh.dispatcher.knows(origin)).toBe(true);
      expect(mesh.dispatcher.knows(new URL(origin))).toBe(true);
    }
    const recorded = new Recorded(mesh.dispatcher, { origin: new URL("http://orders/other") });
    expect(await recorded.over).toBeUndefined();
    expect(recorded.headers["x-host"]).toBe("orders");
    expect(counted(mesh, "inmesh.calls")).toBe(1);
  });

  it("https only if the service is https; http leads to it as well", () => {
    const mesh = httpMeshOf({
      orders: { discovery: { static: ["127.0.0.1:1"] } },
      bank: { url: "https://bank.example:8443" },
    });
    const known = (origin: string): boolean => mesh.dispatcher.knows(origin);
    expect(known("https://orders")).toBe(false);
    expect(known("http://bank")).toBe(true);
    expect(known("https://bank")).toBe(true);
    expect(known("https://bank.example:8443")).toBe(true);
    expect(known("http://bank.example:8443")).toBe(false);
    expect(known("https://bank.example")).toBe(false);
    expect(known("https://bank:8443")).toBe(false);
  });

  it("by authority; a name goes before an authority", async () => {
    const [one, two] = [await answering(OK), await answering(OK)];
    const mesh = httpMeshOf({
      a: { url: "http://b", discovery: { static: [one.address] } },
      b: { url: "http://elsewhere:99", discovery: { static: [two.address] } },
    });
    await new Recorded(mesh.dispatcher, { origin: "http://b" }).over;
    expect([one.requests.length, two.requests.length]).toEqual([0, 1]);
    await new Recorded(mesh.dispatcher, { origin: "http://elsewhere:99" }).over;
    expect([one.requests.length, two.requests.length]).toEqual([0, 2]);
  });

  it("others pass through untouched, also one that a client opened by URL", async () => {
    const { address } = await echo();
    const mesh = doorsOf([address]);
    const { meshClient } = await import("@inmesh/http");
    await meshClient(`http://${address}`, { mesh }).fetch("/");
    const before = counted(mesh, "inmesh.calls");
    const headers = { "x-mesh-own": "kept", host: "someone.else" };
    const recorded = new Recorded(mesh.dispatcher, {
      origin: `http://${address}`,
      path: "/x",
      headers,
    });
    expect(await recorded.over).toBeUndefined();
    expect(recorded.headers["x-host"]).toBe("someone.else");
    expect(recorded.headers["x-got"]).toContain("x-mesh-own");
    expect(counted(mesh, "inmesh.calls")).toBe(before);
  });

  it("passes on what the plain Agent says of connections, where there is no global dispatcher", async () => {
    withoutGlobalDispatcher();
    const { address } = await echo();
    const mesh = doorsOf([address]);
    const connected = once(mesh.dispatcher, "connect");
    await new Recorded(mesh.dispatcher, { origin: `http://${address}` }).over;
    const [origin] = (await connected) as [URL];
    expect(origin.host).toBe(address);
  });

  it("no origin at all is undici's error", () => {
    const recorded = new Recorded(doorsOf(["127.0.0.1:1"]).dispatcher, { origin: "" });
    expect(recorded.returned).toBe(false);
    expect(recorded.error).toBeInstanceOf(errors.InvalidArgumentError);
  });

  it("those of a configuration that changes", async () => {
    const peer = await answering(OK);
    const mesh = doorsOf(["127.0.0.1:1"]);
    expect(mesh.dispatcher.knows("http://bank")).toBe(false);
    mesh.update({ services: { bank: { discovery: { static: [peer.address] } } } });
    expect(mesh.dispatcher.knows("http://orders")).toBe(false);
    expect(await new Recorded(mesh.dispatcher, { origin: "http://bank" }).over).toBeUndefined();
    expect(peer.requests).toHaveLength(1);
  });

  it("remembers a bounded number of spellings", async () => {
    const mesh = doorsOf(["127.0.0.1:1"]);
    for (let i = 0; i < 2_500; i++) expect(mesh.dispatcher.knows(`http://host${i}`)).toBe(false);
    expect(mesh.dispatcher.knows("http://orders")).toBe(true);
  });
});

describe("the callbacks", () => {
  it("come in undici's order, with everything they bring", async () => {
    const peer = await peerOf(async (connection) => {
      await connection.readRequest();
      await connection.write("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
      await connection.write(
        "HTTP/1.1 201 Made\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nTransfer-Encoding: chunked\r\n" +
          "Trailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\nauthorization: no\r\n\r\n",
      );
    });
    const mesh = doorsOf([peer.address]);
    const rawEnds: string[][] = [];
    const recorded = new Recorded(
      mesh.dispatcher,
      { method: "POST", path: "/made", body: "four" },
      {
        onResponseStart(controller, status, _headers, statusText) {
          if (status < 200) return;
          expect(statusText).toBe("Made");
          const raw = (controller.rawHeaders as Buffer[]).map(String);
          expect(raw.slice(0, 4)).toEqual(["Set-Cookie", "a=1", "Set-Cookie", "b=2"]);
        },
        onResponseEnd: ({ rawTrailers }) =>
          void rawEnds.push((rawTrailers as Buffer[]).map(String)),
      },
    );
    expect(recorded.returned).toBe(true);
    expect(recorded.events).toEqual(["start"]);
    expect(await recorded.over).toBeUndefined();
    expect(recorded.events).toEqual([
      "start",
      "sent 4",
      "request sent",
      "reply started",
      "head 103",
      "reply started",
      "head 201",
      "data",
      "end",
    ]);
    expect(recorded.headers["set-cookie"]).toEqual(["a=1", "b=2"]);
    expect(recorded.trailers).toEqual({ "x-sum": "7" });
    expect(rawEnds).toEqual([["x-sum", "7"]]);
    expect(counted(mesh, "inmesh.calls", { outcome: "success" })).toBe(1);
  });

  it("that are optional may be missing", async () => {
    const { address } = await echo();
    const { dispatcher } = doorsOf([address]);
    const body = await new Promise<string>((resolve, reject) => {
      const chunks: Buffer[] = [];
      dispatcher.dispatch(
        { origin: "http://orders", path: "/", method: "PUT", body: Readable.from(["a", "b"]) },
        {
          onRequestStart() {},
          onResponseStart() {},
          onResponseData: (_controller, chunk) => void chunks.push(chunk),
          onResponseEnd: () => resolve(Buffer.concat(chunks).toString()),
          onResponseError: (_controller, error) => reject(error),
        },
      );
    });
    expect(body).toBe("ab");
  });

  it("that are none, or lack a method, are refused as undici does", () => {
    const { dispatcher } = doorsOf(["127.0.0.1:1"]);
    const options = { origin: "http://orders", path: "/", method: "GET" } as const;
    const seen: Error[] = [];
    expect(() => dispatcher.dispatch(options, undefined as never)).toThrow(
      "handler must be an object",
    );
    const half = {
      onRequestStart() {},
      onResponseError: (_c: unknown, e: Error) => void seen.push(e),
    };
    expect(dispatcher.dispatch(options, half)).toBe(false);
    expect(seen.map(({ message }) => message)).toEqual(["invalid onResponseStart method"]);
  });

  for (const name of [
    "onRequestStart",
    "onBodySent",
    "onRequestSent",
    "onResponseStarted",
    "onResponseStart",
    "onResponseData",
    "onResponseEnd",
  ] as const) {
    it(`what ${name} throws comes back once, and no other attempt is made`, async () => {
      const peer = await answering(OK);
      const { dispatcher } = doorsOf([peer.address]);
      const wrong = new Error("the handler's own");
      const options = { method: "PUT", body: "x" } as const;
      const recorded = new Recorded(dispatcher, options, {
        [name]() {
          throw wrong;
        },
      });
      expect(await recorded.over).toBe(wrong);
      expect(recorded.events.filter((event) => event === "error")).toHaveLength(1);
      expect(recorded.events.at(-1)).toBe("error");
      await new Recorded(dispatcher, options).over; // the way is free again
      expect(peer.requests.length).toBeLessThanOrEqual(2);
    });
  }
});

describe("pausing and resuming", () => {
  it("holds the body back from the first byte, and gives all of it in order", async () => {
    const { address } = await serve((_incoming, outgoing) => outgoing.end("abc".repeat(50_000)));
    const recorded = new Recorded(
      doorsOf([address]).dispatcher,
      {},
      {
        onResponseStart: (controller) => controller.pause(),
      },
    );
    await until(() => recorded.status === 200);
    expect(recorded.controller!.paused).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(recorded.bytes).toBe(0);
    recorded.controller!.resume();
    expect(await recorded.over).toBeUndefined();
    expect(recorded.text).toBe("abc".repeat(50_000));
  });

  it("inside of onResponseStart is as if nothing was said", async () => {
    const { address } = await serve((_incoming, outgoing) => outgoing.end("all"));
    const recorded = new Recorded(
      doorsOf([address]).dispatcher,
      {},
      {
        onResponseStart(controller) {
          controller.pause();
          controller.resume();
        },
      },
    );
    expect(await recorded.over).toBeUndefined();
    expect(recorded.text).toBe("all");
  });

  it("after every chunk, from inside and from outside of the callback", async () => {
    const size = 300_000;
    const { address } = await serve((_incoming, outgoing) => outgoing.end(Buffer.alloc(size, "x")));
    let turn = 0;
    const recorded = new Recorded(
      doorsOf([address]).dispatcher,
      {},
      {
        onResponseData(controller) {
          controller.pause();
          if (++turn % 2 === 0) controller.resume();
          else setImmediate(() => controller.resume());
        },
      },
    );
    expect(await recorded.over).toBeUndefined();
    expect(recorded.bytes).toBe(size);
  });

  it("loses, repeats and reorders nothing, whenever the reader pauses", async () => {
    const { address } = await serve((incoming, outgoing) => void incoming.pipe(outgoing));
    const { dispatcher } = doorsOf([address]);
    const piece = fc.uint8Array({ minLength: 1, maxLength: 40_000 });
    const turn = fc.constantFrom("go", "pause", "pause and resume", "resume twice");
    await fc.assert(
      fc.asyncProperty(
        fc.array(piece, { maxLength: 12 }),
        fc.array(turn, { minLength: 1, maxLength: 8 }),
        async (pieces, turns) => {
          let at = 0;
          const next = (controller: Dispatcher.DispatchController): void => {
            const now = turns[at++ % turns.length];
            if (now === "go") return;
            controller.pause();
            if (now === "pause") setImmediate(() => controller.resume());
            else controller.resume();
            if (now === "resume twice") controller.resume();
          };
          const recorded = new Recorded(
            dispatcher,
            { method: "POST", body: Readable.from(pieces.map((one) => Buffer.from(one))) },
            { onResponseStart: next, onResponseData: next },
          );
          expect(await recorded.over).toBeUndefined();
          expect(Buffer.concat(recorded.chunks).equals(Buffer.concat(pieces))).toBe(true);
          expect(recorded.events.filter((event) => event === "end")).toHaveLength(1);
        },
      ),
      { numRuns: 40 },
    );
  });

  it("H22 LC: a paused reader of the dispatcher stops the peer", async () => {
    let written = 0;
    const peer = await peerOf(async (connection) => {
      await connection.readRequest();
      await connection.write("HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n");
      const piece = Buffer.alloc(100_000);
      for (; written < 1_000; written++) await connection.write(piece);
    });
    const recorded = new Recorded(
      doorsOf([peer.address]).dispatcher,
      {},
      {
        onResponseStart: (controller) => controller.pause(),
      },
    );
    await until(() => recorded.status === 200);
    let before = -1;
    while (before !== written) {
      before = written;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(written).toBeLessThan(500); // what the kernel's buffers hold
    const gone = new Error("enough");
    recorded.controller!.abort(gone);
    expect(await recorded.over).toBe(gone);
  });
});

describe("H20 LC: abort through the controller", () => {
  const reason = new Error("no longer wanted");

  it("H20 LC: in onRequestStart: nothing is sent, the error comes inside dispatch", async () => {
    const peer = await answering(OK);
    const { dispatcher } = doorsOf([peer.address]);
    const recorded = new Recorded(
      dispatcher,
      {},
      { onRequestStart: (controller) => controller.abort(reason) },
    );
    expect(recorded.events).toEqual(["start", "error"]);
    expect(recorded.error).toBe(reason);
    expect(recorded.controller!.aborted).toBe(true);
    expect(recorded.controller!.reason).toBe(reason);
    expect(peer.requests).toHaveLength(0);
  });

  it("H20 LC: while queued behind a silent peer: at once, and it is never sent", async () => {
    const peer = await silent();
    const mesh = doorsOf([peer.address], { limits: { maxConnectionsPerEndpoint: 1 } });
    const first = new Recorded(mesh.dispatcher, {});
    await until(() => peer.requests.length === 1);
    const queued = new Recorded(mesh.dispatcher, { path: "/queued" });
    await new Promise((resolve) => setTimeout(resolve, 20));
    queued.controller!.abort(reason);
    expect(queued.events.at(-1)).toBe("error");
    expect(queued.error).toBe(reason);
    first.controller!.abort(reason);
    await first.over;
    expect(peer.requests).toHaveLength(1);
    await until(() => counted(mesh, "inmesh.calls", { reason: "caller" }) === 2);
  });

  it("H20 LC: while the peer is silent, at the head, and in the body: the connection is closed", async () => {
    const peer = await silent();
    const waiting = new Recorded(doorsOf([peer.address]).dispatcher, {});
    await until(() => peer.requests.length === 1);
    waiting.controller!.abort(reason);
    expect(waiting.error).toBe(reason);

    for (const at of ["onResponseStart", "onResponseData"] as const) {
      const gone = Promise.withResolvers<void>();
      const half = await peerOf(async (connection) => {
        await connection.readRequest();
        connection.socket.once("close", () => gone.resolve());
        await connection.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
      });
      const recorded = new Recorded(
        doorsOf([half.address]).dispatcher,
        {},
        {
          [at]: (controller: Dispatcher.DispatchController) => controller.abort(reason),
        },
      );
      expect(await recorded.over).toBe(reason);
      await gone.promise;
      expect(recorded.events.filter((event) => event === "error")).toHaveLength(1);
    }
  });

  it("H20 LC: after the end: without effect, and without a reason it is RequestAbortedError", async () => {
    const { address } = await echo();
    const { dispatcher } = doorsOf([address]);
    const done = new Recorded(dispatcher, {});
    await done.over;
    done.controller!.abort(reason);
    expect(done.events.at(-1)).toBe("end");
    const recorded = new Recorded(dispatcher, {});
    recorded.controller!.abort(undefined as never);
    expect(recorded.error).toBeInstanceOf(errors.RequestAbortedError);
  });

  it("H20 LC: a signal of undici's request, before, while waiting and in the body", async () => {
    const peer = await silent();
    const { dispatcher } = doorsOf([peer.address]);
    const before = AbortSignal.abort(reason);
    await expect(request("http://orders/", { dispatcher, signal: before })).rejects.toBe(reason);
    const abort = new AbortController();
    const waiting = request("http://orders/", { dispatcher, signal: abort.signal });
    await until(() => peer.requests.length === 1);
    abort.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    expect(peer.requests).toHaveLength(1);
  });
});

describe("wrong arguments", () => {
  const cases: [string, Record<string, unknown>, string][] = [
    ["a path that is no text", { path: 1 }, "path must be a string"],
    ["a path in absolute form", { path: "http://a/b" }, "path must start with a slash"],
    ["a path with a blank", { path: "/a b" }, "invalid request path"],
    ["a method that is no text", { method: 1 }, "method must be a string"],
    ["a method that is no token", { method: "GE T" }, "invalid request method"],
    ["a header name with a blank", { headers: { "a b": "c" } }, "invalid header key"],
    ["a header value with a line break", { headers: { a: "b\r\nc: d" } }, "invalid a header"],
    ["an array of headers that is not even", { headers: ["a"] }, "headers array must be even"],
    ["headers that are no headers", { headers: 5 }, "headers must be an object or an array"],
    ["pairs that are no pairs", { headers: [["a"]] }, "headers must be in key-value pair format"],
    [
      "transfer-encoding",
      { headers: { "transfer-encoding": "chunked" } },
      "invalid transfer-encoding header",
    ],
    ["another host", { headers: { host: "other" } }, "the host header belongs to the service"],
    ["a body of no kind", { method: "PUT", body: 5 }, "body must be"],
    ["throwOnError", { throwOnError: true }, "invalid throwOnError"],
    ["maxRedirections", { maxRedirections: 3 }, "use the redirect interceptor"],
  ];
  it.each(cases)(
    "%s is undici's InvalidArgumentError, and nothing is sent",
    async (_what, options, message) => {
      const peer = await answering(OK);
      const recorded = new Recorded(doorsOf([peer.address]).dispatcher, options);
      await recorded.over;
      expect(recorded.error).toBeInstanceOf(errors.InvalidArgumentError);
      expect(String(recorded.error)).toContain(message);
      expect(peer.requests).toHaveLength(0);
    },
  );

  it.each<[string, Record<string, unknown>]>([
    ["reset", { reset: 0 }],
    ["expectContinue", { expectContinue: 0 }],
    ["headersTimeout", { headersTimeout: -1 }],
    ["bodyTimeout", { bodyTimeout: "1s" }],
  ])("R8 LC: %s is said to be wrong, whatever the service speaks or has", async (name, options) => {
    const peer = await answering(OK);
    for (const input of [{}, { http2: true }, { discovery: { static: [await freeAddress()] } }]) {
      const recorded = new Recorded(doorsOf([peer.address], input).dispatcher, options);
      await recorded.over;
      expect(recorded.error).toBeInstanceOf(errors.InvalidArgumentError);
      expect(String(recorded.error)).toContain(name);
    }
    expect(peer.requests).toHaveLength(0);
  });

  it("opts.dispatcher is refused", () => {
    const { dispatcher } = doorsOf(["127.0.0.1:1"]);
    expect(String(new Recorded(dispatcher, { dispatcher } as never).error)).toContain(
      "opts.dispatcher",
    );
  });
});

describe("headers", () => {
  async function sent(headers: unknown): Promise<string> {
    const peer = await answering(OK);
    const recorded = new Recorded(doorsOf([peer.address]).dispatcher, { headers } as never);
    expect(await recorded.over).toBeUndefined();
    return peer.requests[0]!.head.toLowerCase();
  }

  it.each<[string, unknown]>([
    ["flat array", ["a", "1", "b", "2", "b", "3"]],
    [
      "pairs",
      [
        ["a", "1"],
        ["b", ["2", "3"]],
      ],
    ],
    [
      "Map",
      new Map<string, unknown>([
        ["a", "1"],
        ["b", ["2", "3"]],
      ]),
    ],
    [
      "Headers",
      new Headers([
        ["a", "1"],
        ["b", "2"],
        ["b", "3"],
      ]),
    ],
    ["record", { a: 1, b: ["2", "3"], none: undefined }],
  ])("as %s", async (_form, headers) => {
    const head = await sent(headers);
    expect(head).toContain("a: 1\r\n");
    expect(head).toMatch(/b: 2\r\nb: 3\r\n|b: 2, 3\r\n/);
    expect(head).not.toContain("none");
  });

  it("of ours are not sent; a host that repeats the service may stay", async () => {
    const head = await sent({ "X-Mesh-Attempt": "9", "x-mesh-timeout-ms": "9", Host: "orders" });
    expect(head).not.toContain("x-mesh-attempt");
    expect(head.match(/x-mesh-timeout-ms: \d+/g)).toHaveLength(1);
    expect(head).not.toContain("x-mesh-timeout-ms: 9\r\n");
    expect(head.match(/host:/g)).toHaveLength(1);
  });

  it("query, idempotent and reset have their effect", async () => {
    const peer = await peerOf(async (connection) => {
      await connection.readRequest();
      if (connection.number === 1) return connection.fin();
      await connection.write(OK);
    });
    const mesh = doorsOf([peer.address]);
    const recorded = new Recorded(mesh.dispatcher, {
      method: "POST",
      query: { a: "1 2" },
      idempotent: true,
      reset: true,
    });
    expect(await recorded.over).toBeUndefined();
    expect(peer.requests).toHaveLength(2);
    expect(peer.requests[1]!.head).toMatch(/^POST \/\?a=1(\+|%20)2 /);
    expect(peer.requests[1]!.head.toLowerCase()).toContain("connection: close");
  });
});

describe("bodies", () => {
  async function* pieces(): AsyncGenerator<Buffer> {
    yield Buffer.from("bo");
    yield Buffer.from("dy");
  }
  it.each<[string, () => unknown]>([
    ["text", () => "body"],
    ["Buffer", () => Buffer.from("body")],
    ["Uint8Array", () => new TextEncoder().encode("body")],
    ["ArrayBuffer", () => new TextEncoder().encode("body").buffer],
    ["Blob", () => new Blob(["body"])],
    ["Readable", () => Readable.from([Buffer.from("bo"), Buffer.from("dy")])],
    ["iterable", () => [Buffer.from("bo"), Buffer.from("dy")]],
    ["async generator", pieces],
    ["web stream", () => new Blob(["body"]).stream()],
  ])("%s", async (_kind, make) => {
    const { address } = await echo();
    const recorded = new Recorded(doorsOf([address]).dispatcher, {
      method: "POST",
      body: make() as never,
    });
    expect(await recorded.over).toBeUndefined();
    expect(recorded.text).toBe("body");
  });

  it("FormData, undici's own", async () => {
    const { address } = await echo();
    const form = new FormData();
    form.set("field", "value");
    const { dispatcher } = doorsOf([address]);
    const reply = await request("http://orders/", { dispatcher, method: "POST", body: form });
    expect(await reply.body.text()).toContain('name="field"');
  });

  it("a stream that fails is the caller's own error", async () => {
    const peer = await peerOf(async (connection) => void (await connection.readHead()));
    const body = new PassThrough();
    const recorded = new Recorded(doorsOf([peer.address]).dispatcher, { method: "POST", body });
    body.write("x");
    await until(() => recorded.events.includes("sent 1"));
    const broken = new Error("disk");
    body.destroy(broken);
    expect(await recorded.over).toBe(broken);
  });

  it("C1 LC: a refused connection sends any body of the dispatcher to the next endpoint", async () => {
    const peer = await answering(OK);
    const mesh = doorsOf([await freeAddress(), peer.address]);
    for (let i = 0; i < 10; i++) {
      const body = i % 2 === 0 ? pieces() : "body";
      expect(
        await new Recorded(mesh.dispatcher, { method: "POST", body } as never).over,
      ).toBeUndefined();
    }
    expect(peer.requests.map(({ body }) => String(body))).toEqual(Array(10).fill("body"));
  });

  it("H18 LC: a stream that was begun is not sent again by the dispatcher", async () => {
    const peer = await peerOf(async (connection) => {
      await connection.readRequest();
      connection.rst();
    });
    const mesh = doorsOf([peer.address]);
    const recorded = new Recorded(mesh.dispatcher, { method: "PUT", body: pieces() } as never);
    expect(await recorded.over).toMatchObject({ code: "connection_lost" });
    expect(peer.requests).toHaveLength(1);
    expect(counted(mesh, "inmesh.retry.decisions", { decision: "not_replayable" })).toBe(1);
  });
});

describe("the pipeline behind it", () => {
  it("retries, and the handler sees the last reply alone", async () => {
    const peer = await peerOf(async (connection) => {
      for (let i = 0; ; i++) {
        await connection.readRequest();
        const status = i === 0 ? "503 Busy" : "200 OK";
        await connection.write(`HTTP/1.1 ${status}\r\ncontent-length: 2\r\n\r\nok`);
      }
    });
    const mesh = doorsOf([peer.address]);
    const recorded = new Recorded(mesh.dispatcher, {});
    expect(await recorded.over).toBeUndefined();
    expect(recorded.events.filter((event) => event.startsWith("head"))).toEqual(["head 200"]);
    expect(recorded.events.filter((event) => event === "start")).toHaveLength(1);
    expect(counted(mesh, "inmesh.attempts")).toBe(2);
  });

  it("its deadline covers the body", async () => {
    const peer = await answering("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
    const recorded = new Recorded(
      doorsOf([peer.address], { timeouts: { request: "300ms" } }).dispatcher,
      {},
    );
    const error = await recorded.over;
    expect(error).toBeInstanceOf(MeshError);
    expect(error).toMatchObject({ code: "deadline_exceeded" });
    expect(recorded.text).toBe("half");
  });

  it("C11 LC: a body cut by a reset is an error behind the dispatcher", async () => {
    const peer = await peerOf(async (connection) => {
      await connection.readRequest();
      await connection.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
      await connection.pause(20);
      connection.rst();
    });
    const recorded = new Recorded(doorsOf([peer.address]).dispatcher, {});
    expect(await recorded.over).toMatchObject({
      code: "connection_lost",
      reason: "reset_mid_response",
    });
  });

  it("L9 LC: after the mesh was closed a service is closed, other origins go on", async () => {
    const { address } = await echo();
    const mesh = doorsOf([address]);
    await mesh.close(0);
    expect(await new Recorded(mesh.dispatcher, {}).over).toMatchObject({ code: "closed" });
    expect(
      await new Recorded(mesh.dispatcher, { origin: `http://${address}` }).over,
    ).toBeUndefined();
  });
});

describe("undici's methods and interceptors", () => {
  it("request, stream and pipeline, as methods and as functions", async () => {
    const { address } = await echo();
    const { dispatcher } = doorsOf([address]);
    const options = { origin: "http://orders", path: "/x", method: "POST", body: "body" } as const;
    expect(await (await dispatcher.request(options)).body.text()).toBe("body");
    const reply = await request("http://orders/x?y=1", { dispatcher });
    expect(reply.headers["x-path"]).toBe("/x?y=1");
    await reply.body.dump();
    const sink = new PassThrough();
    await stream(
      "http://orders/",
      { dispatcher, method: "PUT", body: "up", opaque: 1 },
      () => sink,
    );
    expect(await text(sink)).toBe("up");
    const duplex = dispatcher.pipeline({ ...options, body: null }, ({ body }) => body);
    duplex.end("through");
    expect(await text(duplex)).toBe("through");
  });

  it("redirect follows, each hop a call", async () => {
    const { address } = await serve((incoming, outgoing) => {
      if (incoming.url === "/old") outgoing.writeHead(302, { location: "/new" });
      outgoing.end(incoming.url);
    });
    const mesh = doorsOf([address]);
    const dispatcher = mesh.dispatcher.compose(interceptors.redirect({ maxRedirections: 2 }));
    const reply = await request("http://orders/old", { dispatcher });
    expect(await reply.body.text()).toBe("/new");
    expect(counted(mesh, "inmesh.calls")).toBe(2);
  });

  it("retry, dump, decompress and dns compose over it", async () => {
    let asked = 0;
    const { address } = await serve((_incoming, outgoing) => {
      if (++asked === 1) outgoing.writeHead(500).end();
      else outgoing.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync("unpacked"));
    });
    const { dispatcher } = doorsOf([address], ONCE);
    const composed = dispatcher.compose(
      interceptors.decompress(),
      interceptors.retry({ minTimeout: 1, statusCodes: [500] }),
    );
    const reply = await composed.request({ origin: "http://orders", path: "/", method: "GET" });
    expect(await reply.body.text()).toBe("unpacked");
    expect(asked).toBe(2);
    const dumping = dispatcher.compose(interceptors.dump({ maxSize: 1_000 }));
    const dumped = await dumping.request({ origin: "http://orders", path: "/", method: "GET" });
    expect(await dumped.body.text()).toBe("");
  });
});

describe("H7 LC: upgrade and CONNECT of a service", () => {
  /** Agrees to `echo`, then sends back what it gets. */
  const agreeing = () =>
    peerOf(async (connection) => {
      const { head } = await connection.readRequest();
      if (!/upgrade: echo/i.test(head) && !head.startsWith("CONNECT")) {
        return connection.write("HTTP/1.1 426 No\r\ncontent-length: 0\r\n\r\n");
      }
      const agreed = head.startsWith("CONNECT")
        ? "HTTP/1.1 200 Go\r\n\r\n"
        : "HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
      await connection.write(`${agreed}early`);
      for (;;) await connection.write(await connection.readBytes(4));
    });

  it("H7 LC: the socket is the caller's, from a picked endpoint, and no longer a call", async () => {
    const peer = await agreeing();
    const mesh = doorsOf([await freeAddress(), peer.address]);
    for (let i = 0; i < 4; i++) {
      const { socket, headers } = await mesh.dispatcher.upgrade({
        origin: "http://orders",
        path: "/chat",
        protocol: "echo",
      } as never);
      expect(headers["upgrade"]).toBe("echo");
      socket.setEncoding("utf8");
      let got = "";
      socket.on("data", (chunk: string) => (got += chunk));
      socket.write("ping");
      await until(() => got === "earlyping");
      expect(mesh.snapshot().services[0]!.callsInFlight).toBe(0);
      socket.destroy();
    }
    expect(counted(mesh, "inmesh.calls", { outcome: "success" })).toBe(4);
  });

  it("H7 LC: a refusal, an abort and a reset end it as undici does", async () => {
    const peer = await agreeing();
    const mesh = doorsOf([peer.address], ONCE);
    const options = { origin: "http://orders", path: "/chat", protocol: "other" };
    await expect(mesh.dispatcher.upgrade(options as never)).rejects.toThrow("bad upgrade");
    const waiting = doorsOf([(await silent()).address]);
    const abort = new AbortController();
    const aborted = waiting.dispatcher.upgrade({ ...options, signal: abort.signal } as never);
    abort.abort(new Error("changed my mind"));
    await expect(aborted).rejects.toThrow("changed my mind");
    const reset = await peerOf(async (connection) => {
      await connection.readRequest();
      connection.rst();
    });
    const lost = doorsOf([reset.address], ONCE).dispatcher.upgrade(options as never);
    await expect(lost).rejects.toMatchObject({ code: "connection_lost" });
  });

  it("H7 LC: what onRequestUpgrade throws comes back, and the socket is closed", async () => {
    const closed = Promise.withResolvers<void>();
    const peer = await peerOf(async (connection) => {
      await connection.readRequest();
      connection.socket.once("close", () => closed.resolve());
      await connection.write("HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
    });
    const wrong = new Error("the handler's own");
    const recorded = new Recorded(
      doorsOf([peer.address]).dispatcher,
      { upgrade: "echo" },
      {
        onRequestUpgrade() {
          throw wrong;
        },
      },
    );
    expect(await recorded.over).toBe(wrong);
    await closed.promise;
  });

  it("H8 LC: CONNECT reaches an endpoint of the service", async () => {
    const peer = await agreeing();
    const { dispatcher } = doorsOf([peer.address]);
    const { statusCode, socket } = await dispatcher.connect({
      origin: "http://orders",
      path: "db.internal:5432",
    });
    expect(statusCode).toBe(200);
    expect(String((await once(socket, "data"))[0])).toBe("early");
    expect(peer.requests[0]!.head).toMatch(/^CONNECT db\.internal:5432 /);
    socket.destroy();
  });

  it("H7 LC: is refused where the service speaks HTTP/2", async () => {
    const mesh = doorsOf(["127.0.0.1:1"], { http2: true });
    const recorded = new Recorded(mesh.dispatcher, { upgrade: "echo" }, { onRequestUpgrade() {} });
    expect(recorded.error).toBeInstanceOf(errors.NotSupportedError);
  });
});

describe("close and destroy", () => {
  it("close waits for what was begun, as promise and with a callback", async () => {
    const release = Promise.withResolvers<void>();
    const { address } = await serve(async (_incoming, outgoing) => {
      await release.promise;
      outgoing.end("late");
    });
    const { dispatcher } = doorsOf([address]);
    const recorded = new Recorded(dispatcher, {});
    const order: string[] = [];
    const closed = dispatcher.close().then(() => order.push("closed"));
    const called = new Promise<void>((resolve) => dispatcher.close(() => resolve()));
    const refused = new Recorded(dispatcher, {});
    expect(refused.error).toBeInstanceOf(errors.ClientClosedError);
    void recorded.over.then(() => order.push("reply"));
    release.resolve();
    await closed;
    await called;
    expect(order).toEqual(["reply", "closed"]);
    expect(recorded.text).toBe("late");
    expect(dispatcher.closed).toBe(true);
  });

  it("destroy ends them with the error, as promise and with a callback", async () => {
    const peer = await silent();
    const mesh = doorsOf([peer.address]);
    const { dispatcher } = mesh;
    const recorded = [new Recorded(dispatcher, {}), new Recorded(dispatcher, {})];
    await until(() => peer.requests.length === 2);
    const why = new Error("over");
    await dispatcher.destroy(why);
    expect(recorded.map(({ error }) => error)).toEqual([why, why]);
    await new Promise<void>((resolve) => dispatcher.destroy(null, () => resolve()));
    expect(new Recorded(dispatcher, {}).error).toBeInstanceOf(errors.ClientDestroyedError);
    expect(mesh.snapshot().services[0]!.callsInFlight).toBe(0);
  });

  it("L4 LC: a mesh and its dispatcher, used, aborted and closed, leave nothing behind", async () => {
    const served = await serve((_incoming, outgoing) => void outgoing.end("x".repeat(100_000)));
    const before = countResources();
    const mesh = createMesh({
      env: {},
      config: { services: { orders: { discovery: { static: [served.address] } } } },
    });
    const { dispatcher } = mesh;
    const origins = ["http://orders", `http://${served.address}`];
    for (let i = 0; i < 40; i++) {
      const recorded = new Recorded(dispatcher, { origin: origins[i % 2]! });
      if (i % 4 === 3) await until(() => recorded.status === 200 || recorded.error !== undefined);
      if (i % 4 >= 2) recorded.controller?.abort(new Error("enough"));
      await recorded.over;
    }
    await mesh.close();
    await dispatcher.close();
    served.server.closeIdleConnections();
    await expectBaseline(before);
  });

  it("works as any Agent does for who asks it things", async () => {
    const { address } = await echo();
    const plain = new Agent();
    const { dispatcher } = doorsOf([address]);
    const [a, b] = await Promise.all(
      [
        { origin: `http://${address}`, dispatcher: plain },
        { origin: "http://orders", dispatcher },
      ].map(async ({ origin, dispatcher: one }) => {
        const reply = await request(`${origin}/same`, {
          dispatcher: one,
          method: "POST",
          body: "b",
        });
        const { date: _date, "x-got": _got, "x-host": _host, ...headers } = reply.headers;
        return { status: reply.statusCode, headers, body: await reply.body.text() };
      }),
    );
    expect(b).toEqual(a);
    await plain.close();
  });
});
