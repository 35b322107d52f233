/**
 * The messages of our HTTP/2 servers against Node's own: every script runs over both, and what its
 * handler saw, and what its client got, has to be the same. Where we differ on purpose a test says so.
 */
import { once } from "node:events";
import * as http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { Socket } from "node:net";
import { finished, Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { messageClasses } from "../src/server/http2/messages.ts";

/** As they are; the types of node:http2 do not know all of it. */
type Request = Omit<http2.Http2ServerRequest, "method"> & Readable & { method: string };
type Response = http2.Http2ServerResponse & {
  flushHeaders(): void;
  setTrailer(name: string, value: string): void;
};
type Note = (...what: unknown[]) => void;
type Handler = (request: Request, response: Response, note: Note) => unknown;

interface Script {
  readonly handler: Handler;
  readonly head?: http2.OutgoingHttpHeaders;
  readonly body?: Buffer | string;
  /** Instead of `body`: what the client does with its stream. */
  readonly client?: (stream: http2.ClientHttp2Stream, session: http2.ClientHttp2Session) => unknown;
  /** The request has a body, of which `client` sees to it. */
  readonly open?: boolean;
}

interface Got {
  notes: string[];
  head: unknown;
  informed: unknown[];
  body: string;
  trailers: unknown;
  code: number;
}

const MIB = 1_048_576;

async function play(own: boolean, script: Script): Promise<Got> {
  const notes: string[] = [];
  const note: Note = (...what) => void notes.push(what.map(show).join(" "));
  const server = http2.createServer(own ? messageClasses(http2) : {});
  const handled = Promise.withResolvers<void>();
  server.on("request", (request, response) => {
    Promise.resolve(script.handler(request, response as Response, note)).then(
      () => handled.resolve(),
      (error) => {
        note("threw", codeOf(error));
        response.stream.close(2);
        handled.resolve();
      },
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const session = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  session.on("error", () => {});
  try {
    const endStream = script.body === undefined && script.open !== true;
    const stream = session.request({ ":path": "/a?b", ...script.head }, { endStream });
    const got: Got = {
      notes,
      head: undefined,
      informed: [],
      body: "",
      trailers: undefined,
      code: 0,
    };
    stream.on("response", (headers) => {
      got.head = fieldsOf(headers);
    });
    stream.on("headers", (headers) => got.informed.push(fieldsOf(headers)));
    stream.on("trailers", (headers) => {
      got.trailers = fieldsOf(headers);
    });
    stream.on("error", () => {});
    const closed = new Promise<void>((resolve) => stream.on("close", resolve));
    if (script.client === undefined) {
      stream.on("data", (chunk: Buffer) => (got.body += chunk.toString("latin1")));
      if (!endStream) stream.end(script.body);
    } else await script.client(stream, session);
    await closed;
    await handled.promise;
    got.code = stream.rstCode ?? 0;
    await sleep(20); // what is heard after the end is heard by now
    return got;
  } finally {
    session.destroy();
    server.close();
  }
}

function fieldsOf(headers: object): unknown {
  const { date, ...rest } = { ...headers } as Record<string, unknown>;
  return { ...rest, hasDate: date !== undefined };
}

function show(value: unknown): string {
  if (value instanceof Error) return codeOf(value);
  return typeof value === "string" ? value : JSON.stringify(value);
}

function codeOf(error: unknown): string {
  const { code, constructor } = error as { code?: string; constructor: { name: string } };
  return `${constructor.name.replace("NodeError", "Error")} ${code}`;
}

/** What a call gives, or the code and class of what it throws. */
function attempt(note: Note, name: string, act: () => unknown): void {
  try {
    note(name, act() === undefined ? "" : "gave");
  } catch (error) {
    const base = error instanceof TypeError ? "type" : error instanceof RangeError ? "range" : "";
    note(name, base, (error as { code?: string }).code);
  }
}

function listen(emitter: NodeJS.EventEmitter, name: string, note: Note, events: string[]): void {
  for (const event of events) emitter.on(event, () => note(name, event));
}

/** Notes both messages' events, and their flags at each. */
function watch(request: Request, response: Response, note: Note): void {
  listen(request, "request", note, ["aborted", "close", "error"]);
  listen(response, "response", note, ["finish", "close", "error"]);
  response.on("close", () =>
    note(request.complete, request.aborted, response.writableEnded, response.finished),
  );
}

const SCRIPTS: Record<string, Script> = {
  "head: set, get, have, remove, append": {
    handler(_request, response, note) {
      response.setHeader("X-One", "1");
      response.setHeader(" x-two ", ["a", "b"]);
      response.setHeader("x-gone", "1");
      response.removeHeader("X-GONE");
      response.appendHeader("x-two", "c");
      response.appendHeader("x-three", "1");
      response.appendHeader("x-three", ["2", "3"]);
      note(response.getHeader("X-ONE"), response.getHeader("none"), response.getHeaderNames());
      note({ ...response.getHeaders() }, response.hasHeader("X-Two"), response.hasHeader("no"));
      note(response.headersSent, (response as unknown as { _header: boolean })._header);
      response.statusCode = 201;
      note(response.statusCode, response.statusMessage, response.sendDate);
      response.end("ok");
      note(response.headersSent, response.statusCode, response.writableEnded);
    },
  },
  "head: an object, which overrides what was set": {
    handler(_request, response) {
      response.setHeader("a", "old");
      response.setHeader("b", "kept");
      response.writeHead(202, { A: "new", "set-cookie": ["x=1", "y=2"], n: 5 }).end("ok");
    },
  },
  "head: with a message": {
    handler(_request, response) {
      response.writeHead(200, "Fine", { a: "1" });
      response.end();
    },
  },
  "head: names and values in turn": {
    handler(_request, response) {
      response.setHeader("a", "old");
      response.writeHead(200, ["a", "1", "a", "2", "b", "3"] as never);
      response.end("ok");
    },
  },
  "head: pairs": {
    handler(_request, response) {
      response.setHeader("a", "old");
      response.writeHead(200, [
        ["a", "1"],
        ["a", "2"],
      ] as never);
      response.end("ok");
    },
  },
  "head: no date": {
    handler(_request, response) {
      response.sendDate = false;
      response.end("ok");
    },
  },
  "head: the date removed": {
    handler(_request, response) {
      response.removeHeader("date");
      response.end("ok");
    },
  },
  "head: flushed, and then a body": {
    async handler(_request, response, note) {
      response.flushHeaders();
      note(response.headersSent);
      response.flushHeaders();
      await sleep(5);
      response.end("later");
    },
  },
  "head: connection fields are dropped": {
    handler(_request, response, note) {
      response.setHeader("connection", "close");
      note(response.getHeaderNames());
      response.setHeader("te", "trailers");
      response.end("ok");
    },
  },
  "head: what is refused": {
    handler(_request, response, note) {
      const any = response as unknown as Record<string, (...args: unknown[]) => unknown>;
      attempt(note, "no name", () => any["setHeader"]!("", "1"));
      attempt(note, "spaces", () => any["setHeader"]!("a b", "1"));
      attempt(note, "number", () => any["setHeader"]!(5, "1"));
      attempt(note, "undefined", () => any["setHeader"]!("a", undefined));
      attempt(note, "null", () => any["appendHeader"]!("a", null));
      attempt(note, "pseudo", () => any["setHeader"]!(":status", "200"));
      attempt(note, "pseudo trailer", () => any["setTrailer"]!(":path", "200"));
      attempt(note, "trailer", () => any["setTrailer"]!("a", undefined));
      attempt(note, "get", () => any["getHeader"]!(5));
      attempt(note, "has", () => any["hasHeader"]!(undefined));
      attempt(note, "remove", () => any["removeHeader"]!({}));
      attempt(note, "uneven list", () => any["writeHead"]!(200, ["a"]));
      attempt(note, "100", () => (response.statusCode = 100));
      attempt(note, "700", () => (response.statusCode = 700));
      attempt(note, "20", () => (response.statusCode = 20));
      attempt(note, "push", () => any["createPushResponse"]!({}));
      attempt(note, "hints", () => any["writeEarlyHints"]!("a"));
      attempt(note, "link", () => any["writeEarlyHints"]!({ link: "no link" }));
      response.end("ok");
      attempt(note, "late set", () => any["setHeader"]!("a", "1"));
      attempt(note, "late append", () => any["appendHeader"]!("a", "1"));
      attempt(note, "late remove", () => any["removeHeader"]!("a"));
      attempt(note, "late head", () => any["writeHead"]!(200));
    },
  },
  "1xx": {
    async handler(_request, response, note) {
      note(response.writeContinue() ?? true);
      const hints = {
        link: ["</a.css>; rel=preload; as=style", "</b.js>; rel=preload"],
        "x-y": "1",
      };
      response.writeEarlyHints(hints);
      response.writeEarlyHints({ link: [] });
      await sleep(5);
      response.end("ok");
    },
  },
  "body: text, bytes and codings": {
    handler(_request, response, note) {
      response.write("a", () => note("written"));
      response.write("6262", "hex");
      response.write(Buffer.from("c"));
      response.write("ZGQ=", "base64", () => note("written too"));
      note(response.writableEnded, response.writableFinished);
      response.end("6565", "hex", () => note("ended"));
    },
  },
  "body: end of a callback only": {
    handler(_request, response, note) {
      response.end(() => note("ended"));
    },
  },
  "body: end of a text and a callback": {
    handler(_request, response, note) {
      response.end("text", () => note("ended"));
    },
  },
  "body: null for what is left out": {
    async handler(_request, response, note) {
      const any = response as unknown as Record<string, (...args: unknown[]) => unknown>;
      any["write"]!("a", null, null);
      any["write"]!("b", undefined, undefined);
      any["end"]!(null, null, null);
      await once(response, "close");
      note(any["end"]!("late", null, null) === response);
    },
  },
  "body: ended twice": {
    async handler(_request, response, note) {
      response.end("one");
      response.end("two", () => note("second"));
      await once(response, "close");
      response.end(() => note("third"));
    },
  },
  "body: empty": {
    handler(request, response, note) {
      watch(request, response, note);
      response.end();
    },
  },
  "body: in corked pieces": {
    handler(_request, response, note) {
      response.writeHead(200);
      response.cork();
      response.write("a");
      response.write("b");
      note(response.writableCorked, response.writableLength, response.writableHighWaterMark > 0);
      response.uncork();
      response.end();
    },
  },
  "body: a large one by pipe": {
    handler(request, response, note) {
      watch(request, response, note);
      Readable.from([Buffer.alloc(MIB, 97), Buffer.alloc(MIB, 98)]).pipe(response as never);
    },
  },
  "body: a large one by pipeline": {
    async handler(_request, response, note) {
      await pipeline(Readable.from([Buffer.alloc(MIB, 97)]), response as never);
      note("done", response.writableFinished);
    },
  },
  "body: a full buffer drains": {
    async handler(_request, response, note) {
      let full = 0;
      for (let i = 0; i < 20; i++) {
        if (response.write(Buffer.alloc(65_536, 97))) continue;
        full++;
        await once(response, "drain");
      }
      note(full > 0);
      response.end();
    },
  },
  "body: written after the end": {
    async handler(_request, response, note) {
      response.end("ok");
      note(response.write("more", (error) => note("cb", (error as { code?: string }).code)));
      await sleep(5);
    },
  },
  "body: written after the close": {
    async handler(request, response, note) {
      response.write("a");
      await once(response, "close");
      note(request.complete, response.headersSent, response.socket === undefined);
      note(response.write("b", (error) => note("cb", (error as { code?: string }).code)));
      response.end("c", () => note("ended"));
      response.destroy();
      response.setTimeout(5);
      response.flushHeaders();
      response.createPushResponse({}, (error) => note("push", (error as { code?: string }).code));
      await sleep(5);
    },
    client: async (stream) => {
      await once(stream, "response");
      stream.close(8);
    },
  },
  HEAD: {
    async handler(request, response, note) {
      watch(request, response, note);
      response.writeHead(200, { "content-length": "5" });
      response.write("hello");
      await sleep(5);
      response.end("hello", () => note("ended"));
    },
    head: { ":method": "HEAD" },
  },
  "HEAD: ended at once": {
    handler(request, response, note) {
      watch(request, response, note);
      response.end("hello");
    },
    head: { ":method": "HEAD" },
  },
  "204": {
    handler(request, response, note) {
      watch(request, response, note);
      response.writeHead(204).end();
    },
  },
  "304": {
    handler(_request, response) {
      response.statusCode = 304;
      response.setHeader("etag", '"a"');
      response.end();
    },
  },
  "trailers: before the body": {
    handler(_request, response) {
      response.setTrailer("X-Sum", "1");
      response.write("body");
      response.end();
    },
  },
  "trailers: between head and end": {
    handler(_request, response) {
      response.writeHead(200);
      response.write("body");
      response.addTrailers({ "x-sum": "1", "x-other": "2" });
      response.end();
    },
  },
  "trailers: announced behind a known length": {
    handler(_request, response) {
      response.writeHead(200, { "content-length": "4", trailer: "x-sum" });
      response.addTrailers({ "x-sum": "1" });
      response.end("body");
    },
  },
  "request: what it says": {
    handler(request, response, note) {
      note(request.method, request.url, request.httpVersion, request.httpVersionMajor);
      note(request.httpVersionMinor, request.scheme, request.headers["x-a"], request.aborted);
      note(request.authority === request.headers[":authority"], request.rawHeaders.includes("x-a"));
      note(request.trailers, request.rawTrailers, request.stream === response.stream);
      note((response as unknown as { req: unknown }).req === request, request.complete);
      request.url = "/other";
      request.method = "PUT";
      note(request.url, request.method, request.headers[":path"], request.headers[":method"]);
      attempt(note, "method", () => (request.method = " "));
      attempt(note, "method", () => (request.method = 5 as never));
      response.end();
    },
    head: { "x-a": "1" },
  },
  "request: its socket": {
    async handler(request, response, note) {
      const { socket } = request;
      note(socket === response.socket, socket === request.connection, socket instanceof Socket);
      note(typeof socket.remotePort, socket.remoteAddress, "encrypted" in socket, "on" in socket);
      note("remoteAddress" in socket, "nothing" in socket, socket.destroyed, socket.readable);
      note(socket.writable, "port" in socket.address(), typeof socket.setTimeout);
      for (const name of ["write", "read", "pause", "resume"] as const) {
        attempt(note, name, () => socket[name]);
      }
      (socket as unknown as { mark: number }).mark = 1;
      note((socket as unknown as { mark: number }).mark);
      socket.once("close", () => note("socket closed"));
      response.end("ok");
      await once(response, "close");
      note(response.socket === undefined, response.connection === undefined);
      note(socket.destroyed, socket.readable, typeof request.socket.remotePort);
    },
  },
  "request: destroyed by its socket": {
    handler(request, response, note) {
      watch(request, response, note);
      request.socket.destroy();
    },
  },
  "request: read to the end, with trailers": {
    async handler(request, response, note) {
      let read = "";
      for await (const chunk of request) read += String(chunk);
      note(read.length, { ...request.trailers }, request.rawTrailers, request.complete);
      response.end("ok");
    },
    open: true,
    client(stream) {
      stream.resume();
      stream.on("wantTrailers", () => stream.sendTrailers({ "x-sum": "1" }));
      stream.end("a body");
    },
    head: { ":method": "POST" },
  },
  "request: echoed by pipe": {
    handler(request, response) {
      request.pipe(response as never);
    },
    head: { ":method": "POST" },
    body: Buffer.alloc(300_000, 97),
  },
  "request: paused and resumed": {
    async handler(request, response, note) {
      let bytes = 0;
      request.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        request.pause();
        setTimeout(() => request.resume(), 1);
      });
      await once(request, "end");
      note(bytes, request.readableEnded);
      response.end("ok");
    },
    head: { ":method": "POST" },
    body: Buffer.alloc(200_000, 97),
  },
  "request: read in paused mode": {
    async handler(request, response, note) {
      let bytes = 0;
      request.on("readable", () => {
        for (let chunk = request.read() as Buffer; chunk; chunk = request.read() as Buffer) {
          bytes += chunk.length;
        }
      });
      await once(request, "end");
      note(bytes);
      response.end("ok");
    },
    head: { ":method": "POST" },
    body: Buffer.alloc(100_000, 97),
  },
  "request: a body that is never read": {
    handler(request, response, note) {
      watch(request, response, note);
      listen(request, "request", note, ["end"]);
      response.end("ok");
    },
    head: { ":method": "POST" },
    body: "not read",
  },
  "request: none to read": {
    async handler(request, response, note) {
      request.on("data", () => note("data"));
      await once(request, "end");
      note("end", request.readableEnded, request.complete);
      response.end("ok");
    },
  },
  "request: the end is heard without reading": {
    handler(request, response, note) {
      listen(request, "request", note, ["end"]);
      response.end("ok");
    },
  },
  "request: finished() of both": {
    handler(request, response, note) {
      finished(request, (error) => note("request", error === undefined ? "well" : "badly"));
      finished(response as never, (error) =>
        note("response", error === undefined ? "well" : "badly"),
      );
      request.resume();
      response.end("ok");
    },
  },
  "timeout: both hear of it, once set": {
    async handler(request, response, note) {
      listen(request, "request", note, ["timeout"]);
      listen(response, "response", note, ["timeout"]);
      request.setTimeout(10, () => note("set"));
      await once(response, "timeout");
      response.setTimeout(0);
      await sleep(30);
      response.end("ok");
    },
  },
  "aborted by the client in the middle of a body": {
    async handler(request, response, note) {
      watch(request, response, note);
      request.resume();
      await once(request, "close");
      note(request.complete, request.aborted);
    },
    open: true,
    head: { ":method": "POST" },
    async client(stream) {
      stream.write("a");
      await sleep(20);
      stream.close(8);
    },
  },
  "aborted by the client before a reply": {
    async handler(request, response, note) {
      watch(request, response, note);
      await once(request, "close");
      note(response.headersSent);
      response.setHeader("a", "1");
      response.end("too late");
    },
    async client(stream) {
      await sleep(20);
      stream.close(8);
    },
  },
  "aborted by the client in the middle of a reply": {
    async handler(request, response, note) {
      watch(request, response, note);
      response.write("a");
      await once(response, "close");
    },
    async client(stream) {
      await once(stream, "response");
      stream.close(8);
    },
  },
  "the connection goes in the middle of a reply": {
    async handler(request, response, note) {
      watch(request, response, note);
      response.write("a");
      await once(response, "close");
      note(request.socket.remotePort === undefined, response.writableFinished);
    },
    async client(stream, session) {
      await once(stream, "response");
      session.destroy();
    },
  },
  "destroyed by the handler": {
    async handler(request, response, note) {
      watch(request, response, note);
      response.destroy();
      response.destroy();
      await once(response, "close"); // Node's tells of an abort a tick earlier
      note(response.write("a"));
    },
  },
  "destroyed by the handler, with an error": {
    async handler(request, response, note) {
      watch(request, response, note);
      response.write("a");
      await sleep(5);
      response.destroy(new Error("no more"));
    },
  },
  "closed by its stream": {
    handler(request, response, note) {
      watch(request, response, note);
      request.stream.close(11);
    },
  },
  pushed: {
    async handler(_request, response, note) {
      const pushed = Promise.withResolvers<void>();
      response.createPushResponse({ ":path": "/style.css" }, (error, push) => {
        note(error === null ? "pushed" : error);
        push.on("close", () => pushed.resolve());
        push.setHeader("content-type", "text/css");
        push.end("a{}");
      });
      await pushed.promise;
      response.end("ok");
    },
    client(stream, session) {
      session.on("stream", (push) => push.resume());
      stream.resume();
    },
  },
};

describe("the messages of an HTTP/2 server made here", () => {
  it.each(Object.entries(SCRIPTS))("%s: as Node's", async (_name, script) => {
    const [theirs, ours] = await Promise.all([play(false, script), play(true, script)]);
    expect(ours).toEqual(theirs);
  });

  it("have whatever Node's have: nothing falls through to methods that know other fields", () => {
    const classes = messageClasses(http2);
    for (const name of ["Http2ServerRequest", "Http2ServerResponse"] as const) {
      const theirs = Object.getOwnPropertyNames(http2[name].prototype);
      const ours = new Set(Object.getOwnPropertyNames(classes[name].prototype));
      const assigned = new Set(["stream", "headers", "rawHeaders"]);
      expect(theirs.filter((one) => !ours.has(one) && !assigned.has(one))).toEqual([]);
      expect(classes[name].prototype instanceof http2[name]).toBe(true);
    }
  });

  it("trailers: behind a known length they have to be announced, as over HTTP/1", async () => {
    const got = await play(true, {
      handler(_request, response) {
        response.writeHead(200, { "content-length": "4" });
        response.addTrailers({ "x-sum": "1" });
        response.end("body");
      },
    });
    expect(got).toMatchObject({ body: "body", trailers: undefined, code: 0 });
  });

  it("trailers: of an empty body are sent, which Node's forget", async () => {
    const handler: Handler = (_request, response) => {
      response.setTrailer("x-sum", "1");
      response.end();
    };
    expect((await play(true, { handler })).trailers).toMatchObject({ "x-sum": "1" });
    expect((await play(false, { handler })).trailers).toBeUndefined();
  });

  it("a name that is no token is thrown out, where Node resets the reply", async () => {
    const handler: Handler = (_request, response, note) => {
      attempt(note, "set", () => response.setHeader("a(b", "1"));
      response.end("ok");
    };
    expect(await play(true, { handler })).toMatchObject({
      notes: ["set type ERR_INVALID_HTTP_TOKEN"],
      body: "ok",
    });
  });
});
