/** The server half over HTTP/2, in cleartext and over TLS. */
import { once } from "node:events";
import type { RequestListener } from "node:http";
import {
  connect,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type OutgoingHttpHeaders,
} from "node:http2";
import { request as httpsRequest, type RequestOptions } from "node:https";
import { connect as tcp } from "node:net";
import { connect as tls } from "node:tls";
import { context, type ServedRequest } from "@inmesh/core";
import { meshServer, type MeshServer, type ServerOptions, type ServerTls } from "@inmesh/http";
import { describe, expect, it, onTestFinished } from "vitest";
import { selfSigned } from "./support/ca.ts";
import { RawClient } from "./support/raw-client.ts";
import { clientOf, peerOf, sleep, until } from "./wire.ts";

const OK: RequestListener = (_request, response) => void response.end("ok");

async function start(handler: RequestListener, options: ServerOptions = {}): Promise<MeshServer> {
  const server = meshServer(handler, {
    http2: true,
    discoveryWaitMs: 0,
    idleWaitMs: 20,
    ...options,
  });
  await server.listen(0, "127.0.0.1");
  onTestFinished(() => server.close(0));
  return server;
}

function sessionTo(server: MeshServer, options: object = {}): ClientHttp2Session {
  const session = connect(`http://127.0.0.1:${server.address()!.port}`, options);
  session.on("error", () => {});
  onTestFinished(() => session.destroy());
  return session;
}

interface Answer {
  status: number;
  headers: Record<string, unknown>;
  body: string;
}

function ask(
  session: ClientHttp2Session,
  headers: OutgoingHttpHeaders,
  body?: string,
): Promise<Answer> {
  return answerOf(session.request(headers, { endStream: body === undefined }), body);
}

async function answerOf(stream: ClientHttp2Stream, body?: string): Promise<Answer> {
  if (body !== undefined) stream.end(body);
  const answer: Answer = { status: 0, headers: {}, body: "" };
  stream.on("response", (headers) => {
    answer.status = headers[":status"]!;
    answer.headers = headers;
  });
  stream.on("data", (chunk: Buffer) => (answer.body += chunk.toString()));
  await once(stream, "close");
  return answer;
}

describe("requests", () => {
  it("streams of one connection, their bodies and what comes later each see their own context", async () => {
    const seen: string[] = [];
    const paths = new Map<ServedRequest | undefined, string>();
    const arrived: (ServedRequest | undefined)[] = [];
    const note = (what: string): void => {
      seen.push(`${what} ${paths.get(context.getStore())}`);
    };
    const server = await start((request, response) => {
      paths.set(context.getStore(), request.url!);
      request.on("data", () => note(`data of ${request.url}:`));
      request.on("end", () => {
        setImmediate(() => {
          note(`later of ${request.url}:`);
          response.end("ok");
        });
      });
    });
    // Before the handler of a stream, and between streams, there is no context.
    server.server.prependListener("stream", () => arrived.push(context.getStore()));
    const session = sessionTo(server);
    const all = ["/a", "/b", "/c", "/d"].map((path) =>
      ask(session, { ":path": path, ":method": "POST" }, "abc"),
    );
    for (const { status } of await Promise.all(all)) expect(status).toBe(200);
    expect(paths.size).toBe(4);
    expect(arrived).toEqual([undefined, undefined, undefined, undefined]);
    for (const line of seen) expect(line).toMatch(/ of (\/\w): \1$/);
    expect(seen.filter((line) => line.startsWith("later"))).toHaveLength(4);
  });

  it("deadline and trace are in the context, claims are gone, calls are cancelled by a reset", async () => {
    const hanging = await peerOf(async (connection) => void (await connection.readRequest()));
    const inner = clientOf([hanging.address]);
    let served: ServedRequest | undefined;
    let names: string[] = [];
    let failure: unknown;
    let leftAt = Infinity;
    let endedAt = 0;
    const server = await start((request, response) => {
      response.on("close", () => (leftAt = performance.now()));
      served = context.getStore();
      names = [
        ...Object.keys(request.headers),
        ...request.rawHeaders.filter((_, i) => i % 2 === 0),
      ];
      inner.fetch("/").catch((error: unknown) => {
        endedAt = performance.now();
        failure = error;
      });
    });
    const stream = sessionTo(server).request({
      ":path": "/a",
      "x-mesh-timeout-ms": "9000",
      "x-mesh-client-id": "root",
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    });
    stream.on("error", () => {});
    await until(() => hanging.requests.length === 1);
    expect(served!.deadlineAt).toBeLessThan(performance.now() + 9_000);
    expect(served!.traceparent).toMatch(/^00-0af7/);
    expect(names.filter((name) => name.startsWith("x-mesh-"))).toEqual([]);
    stream.close(8);
    await until(() => failure !== undefined);
    expect(endedAt - leftAt).toBeLessThan(100);
    expect(failure).toMatchObject({ code: "cancelled", reason: "caller" });
    expect(server.snapshot().requestsInFlight).toBe(0);
  });

  it.each([
    ["a fragment", { ":path": "/a#b" }, 400],
    ["another scheme", { ":path": "/", ":scheme": "ftp" }, 400],
    ["https on cleartext", { ":path": "/", ":scheme": "https" }, 400],
    ["a host that differs", { ":path": "/", ":authority": "a", host: "b" }, 400],
    ["TRACE", { ":path": "/", ":method": "TRACE" }, 405],
    ["a target too long", { ":path": `/${"a".repeat(8_192)}` }, 414],
    ["a value too long", { ":path": "/", a: "1".repeat(8_193) }, 431],
    ["expired on arrival", { ":path": "/", "x-mesh-timeout-ms": "0" }, 504],
    ["too many hops", { ":path": "/", "x-mesh-hops": "17" }, 508],
    ["at the target limit", { ":path": `/${"a".repeat(8_191)}` }, 200],
    ["OPTIONS *", { ":path": "*", ":method": "OPTIONS" }, 200],
  ])("%s: answered on its stream, the connection goes on", async (_name, headers, status) => {
    let ran = 0;
    const server = await start((_request, response) => {
      ran++;
      response.end("ok");
    });
    const session = sessionTo(server);
    expect((await ask(session, headers)).status).toBe(status);
    expect(ran).toBe(status === 200 ? 1 : 0);
    expect((await ask(session, { ":path": "/" })).status).toBe(200);
  });

  it.each([
    [100, 200],
    [101, 431],
  ])("%i fields: %i", async (count, status) => {
    const server = await start(OK);
    const fields: OutgoingHttpHeaders = { ":path": "/" };
    for (let i = 0; i < count - 4; i++) fields[`a${i}`] = "1";
    expect((await ask(sessionTo(server), fields)).status).toBe(status);
  });

  it("H6 LS: over HTTP/2 too, trailers arrive without claims", async () => {
    let trailers: unknown;
    const server = await start((request, response) => {
      request.resume();
      request.on("end", () => {
        trailers = Object.entries(request.trailers);
        response.end();
      });
    });
    const stream = sessionTo(server).request({ ":path": "/", ":method": "POST" }, {
      endStream: false,
      waitForTrailers: true,
    } as object);
    stream.on("wantTrailers", () => stream.sendTrailers({ a: "1", "x-mesh-client-id": "root" }));
    expect((await answerOf(stream, "body")).status).toBe(200);
    expect(trailers).toEqual([["a", "1"]]);
  });

  it("overload: 503, Retry-After and a nack on the stream", async () => {
    const held: (() => void)[] = [];
    const server = await start((_request, response) => void held.push(() => response.end()), {
      limits: { maxInFlight: 1 },
    });
    const session = sessionTo(server);
    const first = ask(session, { ":path": "/" });
    await until(() => held.length === 1);
    const { status, headers } = await ask(session, { ":path": "/" });
    expect(status).toBe(503);
    expect(headers).toMatchObject({ "retry-after": "1", "x-mesh-nack": "1" });
    held[0]!();
    expect((await first).status).toBe(200);
  });

  it("G15 LS: a refusal of an upload arrives whole, then the stream is closed", async () => {
    const server = await start(OK);
    for (let i = 0; i < 20; i++) {
      const stream = sessionTo(server).request(
        { ":path": "/#x", ":method": "POST" },
        { endStream: false },
      );
      stream.write("x");
      const answer = await answerOf(stream);
      expect(answer).toMatchObject({ status: 400, body: "bad_target\n" });
    }
  });

  it("C9 LS: over HTTP/2, a body that stalls: 408, and the stream ends", async () => {
    const server = await start(
      (request) => {
        request.resume();
        request.on("error", () => {});
      },
      { limits: { bodyIdleTimeoutMs: 200 } },
    );
    const stream = sessionTo(server).request(
      { ":path": "/", ":method": "POST" },
      { endStream: false },
    );
    stream.on("error", () => {});
    stream.write("abc");
    expect((await answerOf(stream)).status).toBe(408);
    await until(() => server.snapshot().requestsInFlight === 0);
  });

  it("H22 LS, G5 LS: a window that never opens: the stream is closed, others go on", async () => {
    const server = await start(
      (request, response) =>
        void response.end(request.url === "/big" ? Buffer.alloc(1 << 20) : "ok"),
      { limits: { writeStallTimeoutMs: 200 } },
    );
    const session = sessionTo(server, { settings: { initialWindowSize: 1_000 } });
    const stream = session.request({ ":path": "/big" });
    stream.on("error", () => {});
    await once(stream, "response");
    stream.pause();
    await until(() => server.snapshot().refused["write_stall"] === 1, 5_000);
    await until(() => server.snapshot().requestsInFlight === 0);
    expect((await ask(session, { ":path": "/" })).status).toBe(200);
  });
});

describe("limits", () => {
  it("G4 LS: announces 100 streams, small tables, no push", async () => {
    const session = sessionTo(await start(OK));
    const [settings] = (await once(session, "remoteSettings")) as [Record<string, unknown>];
    expect(settings).toMatchObject({
      maxConcurrentStreams: 100,
      headerTableSize: 4_096,
      maxHeaderListSize: 16_384,
      enableConnectProtocol: false,
    });
  });

  it("G3 LS: a flood of resets ends the session, not the server", async () => {
    const limits = { maxStreamResets: 50, maxResetRatio: 1 };
    const server = await start(() => {}, { limits });
    const session = sessionTo(server);
    await once(session, "connect");
    for (let i = 0; i < 3_000 && !session.destroyed && !session.closed; i++) {
      const stream = session.request({ ":path": "/" });
      stream.on("error", () => {});
      stream.close(8);
      if (i % 20 === 0) await sleep(1);
    }
    await until(() => session.closed || session.destroyed, 5_000);
    expect((await ask(sessionTo(await start(OK)), { ":path": "/" })).status).toBe(200);
    await until(() => server.snapshot().requestsInFlight === 0, 5_000);
  });

  it("G17 LS: garbage for a preface, or none: closed", async () => {
    const server = await start(OK, { limits: { handshakeTimeoutMs: 200 } });
    const client = await RawClient.to(server.address()!.port);
    onTestFinished(() => void client.socket.destroy());
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    await client.end();
    expect((await ask(sessionTo(server), { ":path": "/" })).status).toBe(200);
  });

  it("a session that dies on one reset causes no uncaught exception", async () => {
    const server = await start(() => {});
    const session = sessionTo(server);
    session.request({ ":path": "/" }).on("error", () => {});
    await until(() => server.snapshot().requestsInFlight === 1);
    (session.socket as unknown as { resetAndDestroy?: () => void }).resetAndDestroy?.();
    session.destroy();
    await until(() => server.snapshot().requestsInFlight === 0);
    await until(() => server.snapshot().sessions === 0);
  });
});

describe("drain", () => {
  it("G1 LS, G12 LS, L1 LS: replies ask to go, streams opened meanwhile are served, then GOAWAY", async () => {
    const held: (() => void)[] = [];
    const server = await start((request, response) => {
      if (request.url === "/slow") held.push(() => response.end("slow"));
      else response.end("ok");
    });
    const session = sessionTo(server);
    let goaway: number[] | undefined;
    session.on("goaway", (code: number, last: number) => (goaway ??= [code, last]));
    const slow = ask(session, { ":path": "/slow" });
    await until(() => held.length === 1);
    expect((await ask(session, { ":path": "/" })).headers).not.toHaveProperty("x-mesh-leaving");
    const drained = server.drain(10_000);
    await until(() => server.state === "closing");
    const between = await ask(session, { ":path": "/between" });
    expect(between).toMatchObject({ body: "ok", headers: { "x-mesh-leaving": "1" } });
    await until(() => goaway !== undefined, 5_000);
    expect(goaway).toEqual([0, 5]);
    held[0]!();
    expect(await slow).toMatchObject({ body: "slow", headers: { "x-mesh-leaving": "1" } });
    await drained;
    expect(server.state).toBe("closed");
    expect(server.snapshot()).toMatchObject({ sessions: 0, connections: 0, requestsInFlight: 0 });
  });

  it("L1 LS: our client opens no further stream where a reply asks to go; uploads are not lost", async () => {
    const servers = await Promise.all(
      [1, 2].map(() =>
        start((request, response) => {
          let bytes = 0;
          request.on("data", (chunk: Buffer) => (bytes += chunk.length));
          request.on("end", () => response.end(String(bytes)));
        }),
      ),
    );
    const client = clientOf(
      servers.map((server) => `127.0.0.1:${server.address()!.port}`),
      { http2: true },
    );
    const load = { stopped: false };
    const results = new Set<string>();
    let calls = 0;
    async function* upload(): AsyncGenerator<Buffer> {
      for (let i = 0; i < 3; i++) {
        yield Buffer.alloc(1_000);
        await sleep(2);
      }
    }
    const workers = Array.from({ length: 10 }, async () => {
      while (!load.stopped) {
        results.add(
          await client
            .fetch("/", { method: "POST", body: upload() })
            .then((reply) => reply.text())
            .catch((error: Error) => error.message),
        );
        calls++;
      }
    });
    await until(() => calls > 50, 5_000);
    await servers[0]!.drain(10_000);
    const before = calls;
    await until(() => calls > before + 50, 5_000);
    load.stopped = true;
    await Promise.all(workers);
    expect([...results]).toEqual(["3000"]);
  });

  it("L3 LS: a hung stream is destroyed at the grace", async () => {
    const server = await start(() => {});
    const stream = sessionTo(server).request({ ":path": "/" });
    stream.on("error", () => {});
    await until(() => server.snapshot().requestsInFlight === 1);
    await server.close(100);
    await until(() => stream.destroyed);
    await until(() => server.snapshot().requestsInFlight === 0);
  });
});

describe("TLS", () => {
  const pem = selfSigned();

  it("offers h2 and http/1.1; both are served, and drained", async () => {
    const server = await start(
      (request, response) =>
        void response.end(`${request.httpVersion} ${context.getStore()!.deadlineAt < Infinity}`),
      { tls: pem },
    );
    const { port } = server.address()!;
    const session = connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
    onTestFinished(() => session.destroy());
    const two = await ask(session, { ":path": "/", "x-mesh-timeout-ms": "1000" });
    expect(two.body).toBe("2.0 true");
    const one = await new Promise<string>((resolve, reject) => {
      httpsRequest(
        {
          port,
          rejectUnauthorized: false,
          ALPNProtocols: ["http/1.1"],
          headers: { "x-mesh-timeout-ms": "1000" },
        } as RequestOptions,
        (response) => {
          let text = "";
          response.on("data", (chunk: Buffer) => (text += chunk.toString()));
          response.on("end", () => resolve(text));
        },
      )
        .on("error", reject)
        .end();
    });
    expect(one).toBe("1.1 true");
    await server.drain(3_000);
    expect(server.snapshot()).toMatchObject({ sessions: 0, connections: 0 });
  });

  it("HTTP/1.1 only, when HTTP/2 is not asked for", async () => {
    const server = await start(OK, { tls: pem, http2: false });
    const socket = tls({
      port: server.address()!.port,
      host: "127.0.0.1",
      rejectUnauthorized: false,
      ALPNProtocols: ["h2", "http/1.1"],
    });
    onTestFinished(() => void socket.destroy());
    await once(socket, "secureConnect");
    expect(socket.alpnProtocol).not.toBe("h2");
    socket.write("GET https://svc/ HTTP/1.1\r\nhost: svc\r\n\r\n");
    const [data] = (await once(socket, "data")) as [Buffer];
    expect(data.toString()).toMatch(/^HTTP\/1\.1 200/);
  });

  it.each([
    ["an empty certificate", { ...pem, cert: "" }],
    ["an empty key", { ...pem, key: "" }],
    ["an empty CA", { ...pem, ca: "" }],
    ["no CA in a list", { ...pem, ca: [] }],
    ["garbage", { ...pem, ca: "garbage" }],
    ["a key of another certificate", { ...pem, key: selfSigned().key }],
  ])("T9 LS, T8 LS: refuses to start with %s", (_name, bad) => {
    expect(() => meshServer(OK, { tls: bad as ServerTls })).toThrow(TypeError);
  });

  it("T6 LS, C17 LS: plaintext, silence or a cut handshake end that connection only", async () => {
    const server = await start(OK, { tls: pem, limits: { handshakeTimeoutMs: 200 } });
    const { port } = server.address()!;
    const plain = await RawClient.to(port);
    onTestFinished(() => void plain.socket.destroy());
    plain.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    await plain.end();
    const silent = await RawClient.to(port);
    onTestFinished(() => void silent.socket.destroy());
    await silent.end();
    const cut = tcp(port, "127.0.0.1");
    await once(cut, "connect");
    cut.resetAndDestroy();
    const session = connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
    onTestFinished(() => session.destroy());
    expect((await ask(session, { ":path": "/" })).status).toBe(200);
  });

  it.each([
    [3, 0],
    [5, 2],
    [20, 17],
  ])("T12 LS: %i handshakes begun where 3 may be: %i refused", async (begun, refused) => {
    const server = await start(OK, { tls: pem, limits: { maxHandshakes: 3 } });
    const clients: RawClient[] = [];
    for (let i = 0; i < begun; i++) {
      const client = await RawClient.to(server.address()!.port);
      onTestFinished(() => void client.socket.destroy());
      clients.push(client);
      await sleep(5);
    }
    await until(() => clients.filter(({ closed }) => closed).length === refused);
    await sleep(20);
    expect(clients.filter(({ closed }) => closed)).toHaveLength(refused);
  });
});
