/** HTTP/2 through the proxy, with clients and servers of node:http2 and node:http around it. */
import { once } from "node:events";
import http from "node:http";
import { constants } from "node:http2";
import { describe, expect, it } from "vitest";
import { proxied } from "./support/proxied.ts";
import { ask2, client2, open2, origin1, origin2, replyOf, type Origin } from "./support/http2.ts";

const spoken = "http2";

function orders({ address }: Pick<Origin, "address">, more: object = {}) {
  return { orders: { http2: true, discovery: { static: [address] }, ...more } };
}

describe("a request over HTTP/2 to a service over HTTP/2", () => {
  it("arrives as it was sent, without what belongs to a connection, and so does its reply", async () => {
    let raw: readonly string[] = [];
    const origin = await origin2((stream, _headers, got) => {
      raw = got;
      stream.resume();
      stream.respond({ ":status": 201, "x-b": "2", "set-cookie": ["a=1", "b=2"] });
      stream.end("made");
    });
    const { port } = await proxied(orders(origin), { spoken });
    const reply = await ask2(
      client2(port),
      {
        ":method": "POST",
        ":path": "/v1?q=%20",
        "x-a": "1",
        te: "trailers",
        cookie: ["c=1", "d=2"],
      },
      "body",
    );
    expect(reply.headers).toMatchObject({
      ":status": 201,
      "x-b": "2",
      "set-cookie": ["a=1", "b=2"],
    });
    expect(String(reply.body)).toBe("made");
    const pairs = raw.flatMap((_, i) => (i % 2 === 0 ? [[raw[i], raw[i + 1]]] : []));
    expect(Object.fromEntries(pairs)).toMatchObject({
      ":method": "POST",
      ":scheme": "http",
      ":authority": "orders",
      ":path": "/v1?q=%20",
      "x-a": "1",
      te: "trailers",
    });
    expect(
      pairs
        .filter(([name]) => name === "cookie")
        .map(([, value]) => value)
        .join("; "),
    ).toBe("c=1; d=2");
  });

  it("H6 P22: trailers go on in both directions", async () => {
    const origin = await origin2((stream) => {
      stream.on("trailers", (trailers) => {
        stream.respond({ ":status": 200 }, { waitForTrailers: true });
        stream.on("wantTrailers", () =>
          stream.sendTrailers({ "x-end": String(trailers["x-sum"]) }),
        );
        stream.end("ok");
      });
      stream.resume();
    });
    const { port } = await proxied(orders(origin), { spoken });
    const stream = open2(
      client2(port),
      { ":method": "POST", te: "trailers" },
      { waitForTrailers: true },
    );
    stream.on("wantTrailers", () => stream.sendTrailers({ "x-sum": "42" }));
    stream.end("x");
    const reply = await replyOf(stream);
    expect(String(reply.body)).toBe("ok");
    expect(reply.trailers).toMatchObject({ "x-end": "42" });
  });

  it("interim replies go on, and a 100 only to a client that asked for it", async () => {
    const origin = await origin2((stream) => {
      stream.additionalHeaders({ ":status": 103, link: "</a.css>" });
      stream.resume();
      stream.respond({ ":status": 200 });
      stream.end("ok");
    });
    const { port } = await proxied(orders(origin), { spoken });
    const reply = await ask2(client2(port));
    expect(reply.interim).toMatchObject([{ ":status": 103, link: "</a.css>" }]);
    expect(reply.headers[":status"]).toBe(200);
  });

  it.each([
    ["HEAD", 200, "5"],
    ["GET", 304, "5"],
    ["GET", 204, undefined],
  ])(
    "H5 P22: %s with %i has no body, and keeps the length that was said",
    async (method, status, length) => {
      const origin = await origin2((stream) => {
        const headers = { ":status": status, ...(length && { "content-length": length }) };
        stream.respond(headers, { endStream: true });
      });
      const { port } = await proxied(orders(origin), { spoken });
      const reply = await ask2(client2(port), { ":method": method });
      expect(reply.headers[":status"]).toBe(status);
      expect(reply.headers["content-length"]).toBe(length);
      expect(reply.body).toHaveLength(0);
      expect(reply.code).toBe(0);
    },
  );

  it("G15 P22: an answer before the end of the upload arrives whole, then NO_ERROR stops the upload", async () => {
    const origin = await origin2((stream) => {
      stream.once("data", () => {
        stream.respond({ ":status": 413 });
        stream.end("too much");
      });
    });
    const { port } = await proxied(orders(origin), { spoken });
    const stream = open2(client2(port), { ":method": "POST" });
    const reply = replyOf(stream);
    const timer = setInterval(() => stream.writable && stream.write(Buffer.alloc(1_000)), 5);
    const { headers, body, code } = await reply;
    clearInterval(timer);
    expect(headers[":status"]).toBe(413);
    expect(String(body)).toBe("too much");
    expect(code).toBe(constants.NGHTTP2_NO_ERROR);
  });

  it("H2 P22: a client that leaves cancels its request at the server", async () => {
    const cancelled = Promise.withResolvers<number>();
    const begun = Promise.withResolvers<void>();
    const origin = await origin2((stream) => {
      stream.on("close", () => cancelled.resolve(stream.rstCode));
      begun.resolve();
    });
    const { port } = await proxied(orders(origin), { spoken });
    const stream = open2(client2(port), {});
    await begun.promise;
    stream.close(constants.NGHTTP2_CANCEL);
    expect(await cancelled.promise).toBe(constants.NGHTTP2_CANCEL);
  });

  it("C11 P22: a reply that breaks off is reset, and not ended", async () => {
    const origin = await origin2((stream) => {
      stream.respond({ ":status": 200 });
      stream.write("part", () => stream.session!.destroy());
    });
    const { port } = await proxied(orders(origin, { retry: { attempts: 1 } }), { spoken });
    const reply = await ask2(client2(port));
    expect(reply.headers[":status"]).toBe(200);
    expect(reply.code).toBe(constants.NGHTTP2_INTERNAL_ERROR);
  });
});

describe("flow control", () => {
  it("H12 P22: 16 MiB go through in each direction, whole", async () => {
    const size = 16 << 20;
    const origin = await origin2((stream) => {
      let got = 0;
      stream.respond({ ":status": 200 });
      stream.on("data", (chunk: Buffer) => {
        got += chunk.length;
        if (!stream.write(chunk)) {
          stream.pause();
          stream.once("drain", () => stream.resume());
        }
      });
      stream.on("end", () => stream.end(got === size ? "" : "short"));
    });
    const { port } = await proxied(orders(origin, { timeouts: { request: "1m" } }), { spoken });
    const stream = open2(client2(port), { ":method": "POST" });
    let got = 0;
    stream.on("data", (chunk: Buffer) => (got += chunk.length));
    const chunk = Buffer.alloc(1 << 20, "x");
    for (let i = 0; i < 16; i++) {
      if (!stream.write(chunk)) await once(stream, "drain");
    }
    stream.end();
    await once(stream, "close");
    expect(stream.rstCode).toBe(0);
    expect(got).toBe(size);
  });

  it("H12 P22: a client that does not read holds the server back, and others on its connection go on", async () => {
    let written = 0;
    const chunk = Buffer.alloc(16_384);
    const origin = await origin2((stream, headers) => {
      stream.resume();
      stream.respond({ ":status": 200 });
      if (headers[":path"] === "/small") return stream.end("ok");
      const go = (): void => {
        while (!stream.destroyed) {
          written += chunk.length;
          if (!stream.write(chunk)) return void stream.once("drain", go);
        }
      };
      go();
    });
    const { port } = await proxied(orders(origin), { spoken });
    const session = client2(port);
    const slow = open2(session, { ":path": "/endless" });
    slow.pause();
    await once(slow, "response");
    let before = -1;
    while (before !== written) {
      before = written;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    // Windows of both hops, what the proxy holds between them, and buffers of the kernel.
    expect(written).toBeLessThan(2 << 20);
    expect(String((await ask2(session, { ":path": "/small" })).body)).toBe("ok");
    slow.close(constants.NGHTTP2_CANCEL);
  });
});

describe("streams of a server", () => {
  it("G4 P22: one at a time where it takes one, and all are answered", async () => {
    let now = 0;
    let most = 0;
    const origin = await origin2(
      (stream) => {
        most = Math.max(most, ++now);
        stream.on("close", () => now--);
        stream.resume();
        setTimeout(() => {
          stream.respond({ ":status": 200 });
          stream.end("ok");
        }, 5);
      },
      { maxConcurrentStreams: 1 },
    );
    const { port } = await proxied(orders(origin, { limits: { maxConnectionsPerEndpoint: 1 } }), {
      spoken,
    });
    const session = client2(port);
    const replies = await Promise.all(Array.from({ length: 20 }, () => ask2(session)));
    for (const { headers } of replies) expect(headers[":status"]).toBe(200);
    expect(most).toBe(1);
  });

  it("G3 P22: a stream that was refused is sent again, a POST as well", async () => {
    let tries = 0;
    const origin = await origin2((stream) => {
      if (++tries === 1) return stream.close(constants.NGHTTP2_REFUSED_STREAM);
      stream.resume();
      stream.respond({ ":status": 200 });
      stream.end("ok");
      return undefined;
    });
    const { port } = await proxied(orders(origin), { spoken });
    const reply = await ask2(client2(port), { ":method": "POST" }, "body");
    expect(String(reply.body)).toBe("ok");
    expect(tries).toBe(2);
  });

  it("G1 P22: behind a GOAWAY new requests go to another connection, and what is in progress ends", async () => {
    const held: (() => void)[] = [];
    const origin = await origin2((stream, headers) => {
      stream.resume();
      const answer = (): void => {
        stream.respond({ ":status": 200 });
        stream.end(headers[":path"]);
      };
      if (headers[":path"] === "/held") held.push(answer);
      else answer();
    });
    const { port, mesh } = await proxied(orders(origin), { spoken });
    const session = client2(port);
    const first = ask2(session, { ":path": "/held" });
    await expect.poll(() => held.length).toBe(1);
    const [old] = origin.sessions;
    old!.goaway(0);
    expect(String((await ask2(session, { ":path": "/next" })).body)).toBe("/next");
    held[0]!();
    expect(String((await first).body)).toBe("/held");
    // As the proxy knows of them: Node's server keeps one that said GOAWAY when its client has closed it.
    const open = (): readonly unknown[] =>
      mesh
        .metrics()
        .filter(
          ({ name, labels }) => name === "inmesh.connections" && labels["direction"] === "outbound",
        );
    await expect.poll(open).toMatchObject([{ value: 1 }]);
  });

  it("G21 P22: a head that the server does not take fails, and its connection goes on", async () => {
    const origin = await origin2(
      (stream) => {
        stream.resume();
        stream.respond({ ":status": 200 });
        stream.end("ok");
      },
      { maxHeaderListSize: 1_000 },
    );
    const { port } = await proxied(orders(origin), { spoken });
    const session = client2(port);
    const reply = await ask2(session, { "x-large": "x".repeat(2_000) });
    expect(reply.headers[":status"]).toBe(431);
    expect(String((await ask2(session)).body)).toBe("ok");
    expect(origin.sessions.size).toBe(1);
  });
});

describe("from one version to the other", () => {
  it("H6 P21, H24 P21: HTTP/2 to HTTP/1.1: authority, cookies, length, chunks and trailers", async () => {
    let got: http.IncomingMessage | undefined;
    let body = "";
    const address = await origin1((request, response) => {
      got = request;
      request.on("data", (chunk) => (body += String(chunk)));
      request.on("end", () => {
        response.writeHead(200, { trailer: "x-end", connection: "keep-alive" });
        response.write("part ");
        response.addTrailers({ "x-end": "1" });
        response.end("end");
      });
    });
    const { port } = await proxied({ orders: [address] }, { spoken });
    const session = client2(port);
    const upload = open2(session, {
      ":method": "POST",
      cookie: ["a=1", "b=2"],
      "x-a": "1",
      te: "trailers",
    });
    const replied = replyOf(upload);
    upload.write("chun");
    await expect.poll(() => body).toBe("chun");
    upload.end("ked");
    const reply = await replied;
    expect(got!.headers).toMatchObject({
      host: "orders",
      cookie: "a=1; b=2",
      "x-a": "1",
      "transfer-encoding": "chunked",
    });
    expect(got!.rawHeaders.some((name) => name.startsWith(":"))).toBe(false);
    expect(body).toBe("chunked");
    expect(String(reply.body)).toBe("part end");
    expect(reply.trailers).toMatchObject({ "x-end": "1" });
    expect(reply.headers["transfer-encoding"]).toBeUndefined();
    expect(reply.headers.connection).toBeUndefined();
    await ask2(session, { ":method": "POST", "content-length": "4" }, "four");
    expect(got!.headers["content-length"]).toBe("4");
    expect(got!.headers["transfer-encoding"]).toBeUndefined();
  });

  it("H6 P12: HTTP/1.1 to HTTP/2: Host, chunks, trailers, and nothing of the connection", async () => {
    let raw: readonly string[] = [];
    const origin = await origin2((stream, _headers, all) => {
      raw = all;
      stream.respond({ ":status": 200, "x-b": "2" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "x-end": "1" }));
      stream.pipe(stream);
    });
    const { port } = await proxied(orders(origin));
    const request = http.request({
      port,
      host: "127.0.0.1",
      method: "POST",
      headers: {
        host: "orders",
        connection: "keep-alive, x-hop",
        "x-hop": "1",
        "x-A": "1",
        te: "trailers",
      },
    });
    request.write("one ");
    request.end("two");
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    let body = "";
    for await (const chunk of response) body += String(chunk);
    expect(body).toBe("one two");
    expect(response.headers).toMatchObject({ "x-b": "2", "transfer-encoding": "chunked" });
    expect(response.trailers).toMatchObject({ "x-end": "1" });
    const names = raw.filter((_, i) => i % 2 === 0);
    expect(names).toContain("x-a");
    for (const name of ["connection", "host", "transfer-encoding", "x-hop", "keep-alive"]) {
      expect(names).not.toContain(name);
    }
    expect(raw[raw.indexOf(":authority") + 1]).toBe("orders");
  });

  it("H24 P12: a reply over HTTP/2 with a length keeps it over HTTP/1.1", async () => {
    const origin = await origin2((stream) => {
      stream.resume();
      stream.respond({ ":status": 200, "content-length": 2 });
      stream.end("ok");
    });
    const { port } = await proxied(orders(origin));
    const request = http.get({ port, host: "127.0.0.1", headers: { host: "orders" } });
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    response.resume();
    expect(response.headers["content-length"]).toBe("2");
    expect(response.headers["transfer-encoding"]).toBeUndefined();
  });
});

describe("a drain", () => {
  it("G1 P22: GOAWAY first lets in what is on its way, then names the last; the connection ends with its last stream", async () => {
    const held: (() => void)[] = [];
    const origin = await origin2((stream) => {
      stream.resume();
      held.push(() => {
        stream.respond({ ":status": 200 });
        stream.end("ok");
      });
    });
    const { port, proxy } = await proxied(orders(origin), { spoken });
    const session = client2(port);
    const goaways: number[] = [];
    session.on("goaway", (_code, last) => goaways.push(last));
    const first = ask2(session);
    await expect.poll(() => held.length).toBe(1);
    const drained = proxy.close(10_000);
    await expect.poll(() => goaways).toEqual([2 ** 31 - 1, 1]);
    expect(session.closed || session.destroyed).toBe(true);
    held[0]!();
    expect(String((await first).body)).toBe("ok");
    await drained;
  });
});

describe("windows that are opened by settings while bodies wait: what they let through comes behind the acknowledgement", () => {
  const body = Buffer.alloc(20_000, "x");
  const waits = (): Promise<Origin> =>
    origin2((stream) => {
      stream.respond();
      stream.end(body);
    });

  it("of a client, as nghttp2 insists", async () => {
    const { port } = await proxied(orders(await waits()), {
      spoken,
    });
    const session = client2(port);
    session.settings({ initialWindowSize: 0 });
    await once(session, "localSettings");
    const stream = open2(session, {});
    const reply = replyOf(stream);
    await once(stream, "response");
    session.settings({ initialWindowSize: 65_535 });
    const { body: got, code } = await reply;
    expect([got.length, code]).toEqual([body.length, 0]);
  });

  it("of a server", async () => {
    const origin = await origin2(
      (stream) => {
        let bytes = 0;
        stream.on("data", (chunk: Buffer) => (bytes += chunk.length));
        stream.on("end", () => {
          stream.respond();
          stream.end(String(bytes));
        });
        stream.session!.settings({ initialWindowSize: 65_535 });
      },
      { initialWindowSize: 0 },
    );
    const { port } = await proxied(orders(origin), { spoken });
    const reply = await ask2(client2(port), { ":method": "POST" }, body);
    expect(String(reply.body)).toBe(String(body.length));
  });
});
