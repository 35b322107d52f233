/** Long bodies: whole at the other end, and never held by the proxy. The proxy is a process of its own, whose memory is read. */
import type { ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import {
  createServer as createHttp2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from "node:http2";
import type { Server } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { describe, expect, it, onTestFinished } from "vitest";
import { client2, open2 } from "./support/http2.ts";
import { listening } from "./support/proxied.ts";
import { proxyChild } from "./support/proxy-child.ts";

const PIECE = Buffer.from(Array.from({ length: 65_536 }, (_, n) => (n * 31 + (n >> 8)) & 255));
const PIECES = 2_048; // 128 MiB
/** Nothing of a body is held, and what has gone on is freed at once: without that it is 50 to 90. V8 compiles meanwhile. */
const MAX_GROWTH_MB = 30;

function* pieces(): Generator<Buffer> {
  for (let n = 0; n < PIECES; n++) yield PIECE;
}
const DIGEST = ((): string => {
  const hash = createHash("sha1");
  for (const piece of pieces()) hash.update(piece);
  return hash.digest("hex");
})();

const proxyOf = (address: string) =>
  proxyChild({ service: { discovery: { static: [address] } } }, ["--max-semi-space-size=4"]);

function rssMb({ pid }: ChildProcess): number {
  const [, kb] = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))!;
  return Number(kb) / 1_024;
}

async function digest(stream: Readable): Promise<string> {
  const hash = createHash("sha1");
  await pipeline(stream, hash);
  return hash.digest("hex");
}

/** Takes a body and answers with its digest; to a GET it gives one, of a byte at a time under `/tiny`. */
function serve(
  request: IncomingMessage | Http2ServerRequest,
  response: ServerResponse | Http2ServerResponse,
): void {
  if (request.url === "/tiny") {
    for (const letter of TINY) (response as ServerResponse).write(letter);
    response.end();
  } else if (request.method === "GET") {
    if (request.url !== "/chunks") response.setHeader("content-length", PIECE.length * PIECES);
    Readable.from(pieces(), { objectMode: false }).pipe(response as ServerResponse);
  } else {
    void digest(request).then(
      (text) => response.end(text),
      () => response.destroy(),
    );
  }
}

async function backend(): Promise<string> {
  const server = createServer(serve);
  const port = await listening(server);
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `127.0.0.1:${port}`;
}

/** The same over HTTP/2. */
async function backend2(): Promise<string> {
  const server = createHttp2Server(serve);
  const sessions = new Set<ServerHttp2Session>();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("error", () => {});
  });
  const port = await listening(server as unknown as Server);
  onTestFinished(() => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  return `127.0.0.1:${port}`;
}

const TINY = Array.from({ length: 3_000 }, (_, i) => String.fromCharCode(97 + (i % 26))).join("");

describe.skipIf(process.platform !== "linux")("bodies of 128 MiB", () => {
  it("H12 P11: go through in both directions, and memory does not grow with them", async () => {
    const { port, child } = await proxyOf(await backend());
    const ask = (method: string, path: string, headers: Record<string, string> = {}) =>
      httpRequest({
        port,
        host: "127.0.0.1",
        path,
        method,
        headers: { host: "orders", ...headers },
      });
    const down = async (path: string): Promise<string> => {
      const request = ask("GET", path);
      request.end();
      const [reply] = (await once(request, "response")) as [IncomingMessage];
      return digest(reply);
    };
    const up = async (headers: Record<string, string>): Promise<string> => {
      const request = ask("PUT", "/up", headers);
      const answered = once(request, "response") as Promise<[IncomingMessage]>;
      await pipeline(Readable.from(pieces(), { objectMode: false }), request);
      const [reply] = await answered;
      let text = "";
      for await (const chunk of reply) text += String(chunk);
      return text;
    };
    const long = { "content-length": String(PIECE.length * PIECES) };
    expect(await down("/length")).toBe(DIGEST);
    const before = rssMb(child);
    let peak = before;
    const watch = setInterval(() => (peak = Math.max(peak, rssMb(child))), 20);
    onTestFinished(() => clearInterval(watch));
    expect([await down("/chunks"), await up(long), await up({})]).toEqual(Array(3).fill(DIGEST));
    expect(peak - before).toBeLessThan(MAX_GROWTH_MB);
  }, 60_000);

  it.each(["P12", "P21"] as const)(
    "H12 P12, H12 P21: go through in both directions, %s, and memory does not grow with them; a byte at a time, too",
    async (surface) => {
      const isFrom2 = surface === "P21";
      const address = isFrom2 ? await backend() : await backend2();
      const { port, child } = await proxyChild(
        {
          service: { discovery: { static: [address] }, http2: !isFrom2 },
          spoken: isFrom2 ? "http2" : "http1",
        },
        ["--max-semi-space-size=4"],
      );
      const session = isFrom2 ? client2(port) : undefined;
      const ask = async (path: string, body?: Iterable<Buffer>): Promise<Readable> => {
        const method = body === undefined ? "GET" : "PUT";
        const request =
          session === undefined
            ? httpRequest({ port, host: "127.0.0.1", path, method, headers: { host: "orders" } })
            : open2(
                session,
                { ":path": path, ":method": method },
                { endStream: body === undefined },
              );
        const answered = once(request, "response") as Promise<[IncomingMessage]>;
        if (body === undefined) request.end();
        else await pipeline(Readable.from(body, { objectMode: false }), request);
        const [reply] = await answered;
        return session === undefined ? reply : (request as Readable);
      };
      const text = async (reply: Readable): Promise<string> => {
        let all = "";
        for await (const chunk of reply) all += String(chunk);
        return all;
      };
      expect(await digest(await ask("/chunks"))).toBe(DIGEST);
      const before = rssMb(child);
      let peak = before;
      const watch = setInterval(() => (peak = Math.max(peak, rssMb(child))), 20);
      onTestFinished(() => clearInterval(watch));
      expect(await digest(await ask("/length"))).toBe(DIGEST);
      expect(await text(await ask("/up", pieces()))).toBe(DIGEST);
      // As for P11 above.
      expect(peak - before).toBeLessThan(MAX_GROWTH_MB);
      expect(await text(await ask("/tiny"))).toBe(TINY);
      const letters = Array.from(TINY, (letter) => Buffer.from(letter));
      const whole = createHash("sha1").update(TINY).digest("hex");
      expect(await text(await ask("/up", letters))).toBe(whole);
    },
    60_000,
  );

  it("H22 P11: a client that does not read holds its server back, and the proxy keeps little", async () => {
    let written = 0;
    const server = createServer((_, response) => {
      response.setHeader("content-length", PIECE.length * PIECES);
      const source = Readable.from(pieces(), { objectMode: false });
      source.on("data", (chunk: Buffer) => (written += chunk.length));
      source.pipe(response);
    });
    const port = await listening(server);
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    const proxy = await proxyOf(`127.0.0.1:${port}`);
    const request = httpRequest({
      port: proxy.port,
      host: "127.0.0.1",
      headers: { host: "orders" },
    });
    request.end();
    const [reply] = (await once(request, "response")) as [IncomingMessage];
    reply.pause();
    // Until nothing more is taken.
    for (let last = -1; ; last = written) {
      await new Promise((resolve) => setTimeout(resolve, 300));
      if (written > 0 && written === last) break;
    }
    // What the kernel holds of three connections, and some hundred kilobytes here.
    expect(written).toBeLessThan(PIECE.length * PIECES * 0.6);
    expect(await digest(reply)).toBe(DIGEST);
  }, 60_000);
});
