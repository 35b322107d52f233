/** Handlers that look at the end of a request: before, while and after it is answered, as over bare Node. */
import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { finished } from "node:stream";
import { meshServer } from "@inmesh/http";
import { describe, it } from "vitest";
import { RawClient } from "./support/raw-client.ts";
import { sleep, until } from "./wire.ts";

type Note = (what: string) => void;
type Script = (request: IncomingMessage, reply: () => void, note: Note) => void;

const GET = "GET / HTTP/1.1\r\nhost: svc\r\n\r\n";
const EMPTY = "POST / HTTP/1.1\r\nhost: svc\r\ncontent-length: 0\r\n\r\n";
const POST = "POST / HTTP/1.1\r\nhost: svc\r\ncontent-length: 3\r\n\r\nabc";
const CHUNKED =
  "POST / HTTP/1.1\r\nhost: svc\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";

async function body(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request) text += String(chunk);
  return text;
}

const SCRIPTS: Readonly<Record<string, Script>> = {
  "answered at once": (_request, reply) => reply(),
  "answered later": (_request, reply) => void setTimeout(reply, 5),
  "ends heard, answered at once"(request, reply, note) {
    for (const event of ["end", "close"]) request.on(event, () => note(event));
    reply();
  },
  "close heard, answered later"(request, reply, note) {
    request.on("close", () => note("close"));
    setTimeout(reply, 5);
  },
  "read, then answered"(request, reply, note) {
    void body(request).then((text) => (note(text), reply()));
  },
  "answered, then read"(request, reply, note) {
    reply();
    void body(request).then(note, (error: Error) => note(error.message));
  },
  "answered, read a while later"(request, reply, note) {
    reply();
    const read = async () => body(request).then(note, (error: Error) => note(error.message));
    setTimeout(() => void read(), 10);
  },
  "answered, finished() a while later"(request, reply, note) {
    reply();
    setTimeout(() => finished(request, (error) => note(`finished ${error?.message}`)), 10);
  },
  "resumed, answered at once"(request, reply, note) {
    request.resume();
    request.on("end", () => note("end"));
    reply();
  },
  "paused, answered"(request, reply) {
    request.pause();
    reply();
  },
  "answered, resumed a while later"(request, reply, note) {
    reply();
    setTimeout(() => {
      request.on("end", () => note("late end"));
      request.on("data", () => note("late data"));
    }, 10);
  },
  "destroyed a while after its reply"(request, reply, note) {
    reply();
    setTimeout(() => request.destroy().on("error", ({ message }) => note(message)), 10);
  },
};

function listenerOf(script: Script, notes: string[]): RequestListener {
  return (request, response) => {
    script(
      request,
      () => response.end("ok"),
      (what) => void notes.push(what),
    );
    response.on("close", () => {
      setTimeout(() => {
        const { complete, readable, readableEnded, destroyed, closed, aborted, errored } = request;
        const state = { complete, readable, readableEnded, destroyed, closed, aborted, errored };
        notes.push(JSON.stringify({ ...state, alive: !request.socket.destroyed }));
      }, 30);
    });
  };
}

/** What the handler saw of a request, and of the same once more behind it. */
async function play(server: Server, bytes: string, notes: string[]): Promise<string[]> {
  using client = await RawClient.to((server.address() as AddressInfo).port);
  for (let replies = 1; replies <= 2; replies++) {
    client.send(bytes);
    await until(() => client.text.split("ok").length > replies);
    await sleep(50);
  }
  return notes;
}

const REQUESTS = [
  ["GET", GET],
  ["POST of nothing", EMPTY],
  ["POST", POST],
  ["chunked POST", CHUNKED],
] as const;

/** Each sleeps most of its time. */
describe.concurrent("the end of a request", () => {
  for (const [name, script] of Object.entries(SCRIPTS)) {
    for (const [kind, bytes] of REQUESTS) {
      it(`${name}: ${kind}`, async ({ expect, onTestFinished }) => {
        const [bare, ours] = await Promise.all(
          [false, true].map(async (wrapped) => {
            const notes: string[] = [];
            const listener = listenerOf(script, notes);
            const mesh = wrapped ? meshServer(listener) : undefined;
            const server = (mesh?.server as Server | undefined) ?? createServer(listener);
            server.listen(0, "127.0.0.1");
            await once(server, "listening");
            onTestFinished(() => void (mesh?.close(0) ?? server.close()));
            return play(server, bytes, notes);
          }),
        );
        expect(bare!.length).toBeGreaterThanOrEqual(2);
        expect(ours).toEqual(bare);
      });
    }
  }
});
