/** Long bodies: whole at the other end, and never held by the proxy. The proxy is a process of its own, whose memory is read. */
import { spawn, type ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, request as httpRequest, type IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { describe, expect, it, onTestFinished } from "vitest";
import { listening } from "./support/proxied.ts";

const PIECE = Buffer.from(Array.from({ length: 65_536 }, (_, n) => (n * 31 + (n >> 8)) & 255));
const PIECES = 800; // 50 MiB

function* pieces(): Generator<Buffer> {
  for (let n = 0; n < PIECES; n++) yield PIECE;
}
const DIGEST = ((): string => {
  const hash = createHash("sha1");
  for (const piece of pieces()) hash.update(piece);
  return hash.digest("hex");
})();

async function proxyProcess(address: string): Promise<{ port: number; child: ChildProcess }> {
  const file = new URL("support/proxy-process.ts", import.meta.url);
  const child = spawn(
    process.execPath,
    ["--conditions=inmesh-source", "--max-semi-space-size=4", file.pathname, address],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  onTestFinished(() => void child.kill());
  const [line] = (await once(child.stdout!, "data")) as [Buffer];
  return { port: Number(String(line)), child };
}

function rssMb({ pid }: ChildProcess): number {
  const [, kb] = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))!;
  return Number(kb) / 1_024;
}

async function digest(stream: Readable): Promise<string> {
  const hash = createHash("sha1");
  await pipeline(stream, hash);
  return hash.digest("hex");
}

/** Takes a body and answers with its digest; gives one under `/down`. `slow`: its reader takes pauses. */
async function backend(): Promise<string> {
  const server = createServer((request, response) => {
    if (request.method === "GET") {
      const isChunked = request.url === "/chunks";
      if (!isChunked) response.setHeader("content-length", PIECE.length * PIECES);
      Readable.from(pieces(), { objectMode: false }).pipe(response);
      return;
    }
    void digest(request).then(
      (text) => response.end(text),
      () => response.destroy(),
    );
  });
  const port = await listening(server);
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `127.0.0.1:${port}`;
}

describe.skipIf(process.platform !== "linux")("bodies of 50 MiB", () => {
  it("H12 P11: go through in both directions, and memory does not grow with them", async () => {
    const { port, child } = await proxyProcess(await backend());
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
    // What is read of accepted sockets is new memory for each read, and V8 collects 64 MB of it at a time.
    expect(peak - before).toBeLessThan(90);
  }, 60_000);

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
    const proxy = await proxyProcess(`127.0.0.1:${port}`);
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
