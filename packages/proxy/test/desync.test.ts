/**
 * The corpus of desynchronisation: every payload has exactly the replies that the corpus says, and exactly those
 * requests reach the upstream that the proxy has seen. The upstream is Node's own HTTP server, whose parser,
 * llhttp, is another reader of the same bytes.
 */
import { createServer } from "node:http";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { CORPUS } from "./support/desync-corpus.ts";
import { exchangeRaw, listening, proxied, repliesIn } from "./support/proxied.ts";

interface Seen {
  readonly request: string;
  readonly host: string | undefined;
}

/** Records what it serves. `malformed`: what its parser refuses. */
async function upstream(): Promise<{ port: number; seen: Seen[]; malformed: string[] }> {
  const seen: Seen[] = [];
  const malformed: string[] = [];
  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("latin1");
    request.on("data", (chunk: string) => (body += chunk));
    request.on("end", () => {
      seen.push({
        request: `${request.method} ${request.url} ${body}`,
        host: request.headers.host,
      });
      response.end("ok");
    });
  });
  server.on("clientError", (error, socket) => {
    malformed.push(error.message);
    socket.destroy();
  });
  const port = await listening(server);
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port, seen, malformed };
}

describe("the desync corpus", () => {
  let through = 0;
  beforeAll(() => expect(CORPUS.length).toBeGreaterThanOrEqual(120));
  afterAll(() => {
    console.log(`proxy.desync.payloads = ${CORPUS.length}, proxy.desync.through = ${through}`);
  });

  it("has no id twice", () => {
    expect(new Set(CORPUS.map(({ id }) => id)).size).toBe(CORPUS.length);
  });

  it.each(["whole", "a byte at a time"] as const)(
    "no payload, sent %s, reaches the upstream as another request than the proxy saw",
    async (how) => {
      const backend = await upstream();
      const { mesh, port } = await proxied({ orders: [`127.0.0.1:${backend.port}`] });
      const routed: string[] = [];
      mesh.observe({
        callStarted: ({ method, path, query }) =>
          void routed.push(`${method} ${path}${query === "" ? "" : `?${query}`}`),
      });
      const wrong: unknown[] = [];
      const isSlow = how !== "whole";
      for (const payload of CORPUS) {
        const { id, bytes } = payload;
        const { statuses, upstream: wanted } = (isSlow && payload.slowly) || payload;
        backend.seen.length = backend.malformed.length = routed.length = 0;
        // A long head a byte at a time proves nothing more, and takes long.
        if (isSlow && bytes.length > 2_000) continue;
        const text = await sent(port, bytes, how, statuses.length);
        const got = repliesIn(text).map(({ status }) => status);
        const seen = backend.seen.map(({ request }) => request);
        const hosts = new Set(backend.seen.map(({ host }) => host));
        const isAsSaid =
          JSON.stringify(got) === JSON.stringify(statuses) &&
          JSON.stringify(seen) === JSON.stringify(wanted);
        // What broke off in its body has been routed, and reached no handler.
        const heads = seen.map((one) => one.split(" ").slice(0, 2).join(" "));
        const isAsRouted = heads.every((one, n) => routed[n] === one);
        // A body that is broken off while it is sent on is an end that the upstream did not expect.
        const isMalformed = !isSlow && backend.malformed.length > 0 && statuses[0] !== 502;
        if (seen.length > wanted.length || !isAsRouted) through++;
        if (isAsSaid && isAsRouted && !isMalformed && hosts.size <= 1) continue;
        const malformed = [...backend.malformed];
        wrong.push({ id, got, statuses, seen, wanted, routed: [...routed], malformed });
      }
      expect(wrong).toEqual([]);
      expect(through).toBe(0);
    },
    120_000,
  );
});

async function sent(
  port: number,
  bytes: string,
  how: "whole" | "a byte at a time",
  replies: number,
): Promise<string> {
  const isDone = (all: string): boolean => repliesIn(all).length >= replies;
  if (how === "whole") {
    // What comes too late to be counted would be counted with the next: a moment is given to it.
    const { text } = await exchangeRaw(port, bytes, { until: isDone });
    await new Promise((resolve) => setTimeout(resolve, 2));
    return text;
  }
  const { connect } = await import("node:net");
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  socket.on("error", () => {});
  let text = "";
  await new Promise<void>((resolve) => {
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
      if (isDone(text)) resolve();
    });
    socket.on("close", () => resolve());
    socket.on("end", () => socket.end());
    let at = 0;
    const next = (): void => {
      if (at >= bytes.length || socket.destroyed || !socket.writable) return;
      socket.write(Buffer.from(bytes[at++]!, "latin1"), () => setImmediate(next));
    };
    next();
  });
  socket.destroy();
  return text;
}
