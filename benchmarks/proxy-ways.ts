/**
 * Protocols on both sides of a proxy, with both ends: Node's own HTTP and sockets, and grpc-js. Every transfer has a length,
 * and says how much of it has arrived.
 */
import { once } from "node:events";
import { Agent, createServer, request as httpRequest, type IncomingMessage } from "node:http";
import * as http2 from "node:http2";
import {
  connect,
  createServer as createTcpServer,
  type AddressInfo,
  type Server,
  type Socket,
} from "node:net";
import type { Duplex, Readable, Writable } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import * as grpc from "@grpc/grpc-js";

const PIECE = Buffer.alloc(65_536, "0123456789abcdef");

/** A protocol on both sides of the proxy. */
export interface Way {
  readonly name: string;
  readonly service: object;
  readonly listener: object;
  /** Answers `GET /<bytes>` with so many, and `POST` with how many it got. Gives its port. */
  serve(): Promise<{ port: number; close(): void }>;
  open(port: number): Promise<Client>;
}

export interface Client {
  /** Sends so many bytes; resolves with how many have arrived. */
  up(bytes: number): Promise<number>;
  down(bytes: number): Promise<number>;
  /** Begins a transfer of a megabyte, and breaks it off in its middle. */
  breakOff(direction: Direction): Promise<void>;
  close(): void;
}

export type Direction = "up" | "down";

const BROKEN_BYTES = 1_048_576;
const BREAK_AFTER_MS = 20;

/** Resolves too where its reader has gone. */
async function sendAll(to: Writable, bytes: number): Promise<void> {
  let left = bytes;
  while (left > 0 && !to.destroyed) {
    const length = Math.min(left, PIECE.length);
    left -= length;
    if (!to.write(length === PIECE.length ? PIECE : PIECE.subarray(0, length))) await drained(to);
  }
  if (!to.destroyed) to.end();
}

function drained(to: Writable): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      to.off("drain", done);
      to.off("close", done);
      resolve();
    };
    to.on("drain", done);
    to.on("close", done);
  });
}

/** Resolves where it breaks off, with what came. */
function countOf(from: Readable): Promise<number> {
  return new Promise((resolve) => {
    let bytes = 0;
    from.on("data", (chunk: Buffer) => (bytes += chunk.length));
    from.on("error", () => {});
    from.on("end", () => resolve(bytes));
    from.on("close", () => resolve(bytes));
  });
}

async function textOf(from: Readable): Promise<string> {
  let text = "";
  for await (const chunk of from) text += String(chunk);
  return text;
}

/** Once something has come or gone; resolves when it has closed. */
async function destroySoon(stream: Duplex | IncomingMessage, cut: () => void): Promise<void> {
  stream.on("error", () => {});
  const closed = new Promise<void>((resolve) => stream.once("close", () => resolve()));
  await Promise.race([
    closed,
    new Promise((resolve) => stream.once("data", resolve)),
    pause(BREAK_AFTER_MS),
  ]);
  cut();
  await closed;
}

async function portOf(server: Server | http2.Http2Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

/** `chunked`: lengths are not said. */
export function http1(name: string, chunked: boolean): Way {
  return {
    name,
    service: {},
    listener: {},
    async serve() {
      const server = createServer((request, response) => {
        if (request.method === "GET") {
          const bytes = Number(request.url!.slice(1));
          if (!chunked) response.setHeader("content-length", bytes);
          void sendAll(response, bytes);
        } else void countOf(request).then((bytes) => response.end(String(bytes)));
      });
      server.keepAliveTimeout = 60_000;
      const port = await portOf(server);
      return {
        port,
        close: () => {
          server.close();
          server.closeAllConnections();
        },
      };
    },
    open: (port) => {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      const ask = (method: string, path: string, length?: number) =>
        httpRequest({
          host: "127.0.0.1",
          port,
          agent,
          method,
          path,
          headers: length === undefined ? {} : { "content-length": length },
        });
      return Promise.resolve({
        async up(bytes) {
          const request = ask("POST", "/", chunked ? undefined : bytes);
          const answered = once(request, "response") as Promise<[IncomingMessage]>;
          await sendAll(request, bytes);
          const [reply] = await answered;
          return Number(await textOf(reply));
        },
        async down(bytes) {
          const request = ask("GET", `/${bytes}`);
          request.end();
          const [reply] = (await once(request, "response")) as [IncomingMessage];
          return countOf(reply);
        },
        async breakOff(direction) {
          const isUp = direction === "up";
          const request = isUp ? ask("POST", "/", BROKEN_BYTES) : ask("GET", `/${BROKEN_BYTES}`);
          request.on("error", () => {});
          const closed = new Promise((resolve) => request.once("close", resolve));
          if (isUp) request.write(PIECE);
          else request.end();
          const cut = (): void => void request.destroy();
          request.on("response", (reply) => {
            reply.on("error", () => {});
            reply.once("data", cut);
          });
          if (isUp) setTimeout(cut, BREAK_AFTER_MS);
          await closed;
        },
        close: () => agent.destroy(),
      });
    },
  };
}

export const HTTP2: Way = {
  name: "http2",
  service: { http2: true },
  listener: {},
  async serve() {
    const server = http2.createServer();
    server.on("stream", (stream, headers) => {
      stream.on("error", () => {});
      // One whose request is not read ends Node's stream with a reset, in the place of its end (NO_ERROR).
      if (headers[":method"] === "GET") stream.resume();
      stream.respond({ ":status": 200 });
      if (headers[":method"] === "GET") void sendAll(stream, Number(headers[":path"]!.slice(1)));
      else void countOf(stream).then((bytes) => stream.destroyed || stream.end(String(bytes)));
    });
    const port = await portOf(server);
    return { port, close: () => void server.close() };
  },
  async open(port) {
    const session = http2.connect(`http://127.0.0.1:${port}`);
    await once(session, "connect");
    return {
      async up(bytes) {
        const stream = session.request({ ":method": "POST", ":path": "/" });
        const [, text] = await Promise.all([sendAll(stream, bytes), textOf(stream)]);
        return Number(text);
      },
      down: (bytes) => countOf(session.request({ ":path": `/${bytes}` })),
      async breakOff(direction) {
        const isUp = direction === "up";
        const stream = session.request(
          isUp ? { ":method": "POST", ":path": "/" } : { ":path": `/${BROKEN_BYTES}` },
        );
        if (isUp) stream.write(PIECE);
        await destroySoon(stream, () => stream.close(http2.constants.NGHTTP2_CANCEL));
      },
      close: () => session.destroy(),
    };
  },
};

/** A connection for each transfer: `<bytes>` and a line end ask for so many, anything else is counted. */
export const TCP: Way = {
  name: "tcp",
  service: {},
  listener: { protocol: "tcp" },
  async serve() {
    const sockets = new Set<Socket>();
    const server = createTcpServer({ allowHalfOpen: true }, (socket) => {
      sockets.add(socket);
      socket.once("close", () => sockets.delete(socket));
      socket.on("error", () => {});
      socket.once("data", (first: Buffer) => {
        const [, asked] = /^(\d+)\n$/.exec(first.subarray(0, 32).toString()) ?? [];
        if (asked !== undefined) return void sendAll(socket, Number(asked));
        return void countOf(socket).then((rest) => socket.end(String(first.length + rest)));
      });
    });
    const port = await portOf(server);
    return {
      port,
      close: () => {
        server.close();
        for (const socket of sockets) socket.destroy();
      },
    };
  },
  open: (port) => {
    const dial = (): Socket => connect({ host: "127.0.0.1", port, allowHalfOpen: true });
    return Promise.resolve({
      async up(bytes) {
        const socket = dial();
        const [, text] = await Promise.all([sendAll(socket, bytes), textOf(socket)]);
        return Number(text);
      },
      async down(bytes) {
        const socket = dial();
        socket.write(`${bytes}\n`);
        const got = await countOf(socket);
        socket.end();
        return got;
      },
      async breakOff(direction) {
        const socket = dial();
        socket.write(direction === "up" ? PIECE : `${BROKEN_BYTES}\n`);
        await destroySoon(socket, () => void socket.resetAndDestroy());
      },
      close: () => {},
    });
  },
};

const bytesOf = { serialize: (bytes: Buffer) => bytes, deserialize: (bytes: Buffer) => bytes };
const METHOD = {
  requestSerialize: bytesOf.serialize,
  requestDeserialize: bytesOf.deserialize,
  responseSerialize: bytesOf.serialize,
  responseDeserialize: bytesOf.deserialize,
};
const SERVICE: grpc.ServiceDefinition = {
  up: { ...METHOD, path: "/bytes.Bytes/Up", requestStream: true, responseStream: false },
  down: { ...METHOD, path: "/bytes.Bytes/Down", requestStream: false, responseStream: true },
};

/** A stream of messages in each direction; what is asked for, and what is answered, is a message of its own. */
export const GRPC: Way = {
  name: "grpc",
  service: { http2: true },
  listener: {},
  async serve() {
    const server = new grpc.Server({ "grpc.enable_channelz": 0 });
    server.addService(SERVICE, {
      up(
        call: grpc.ServerReadableStream<Buffer, Buffer>,
        answer: grpc.sendUnaryData<Buffer>,
      ): void {
        void countOf(call).then((bytes) => answer(null, Buffer.from(String(bytes))));
      },
      down(call: grpc.ServerWritableStream<Buffer, Buffer>): void {
        call.on("error", () => {});
        void sendAll(call, Number(String(call.request)));
      },
    });
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      ),
    );
    return { port, close: () => server.forceShutdown() };
  },
  open: (port) => {
    // Without subchannels of its own every client would share one connection.
    const options = { "grpc.use_local_subchannel_pool": 1, "grpc.enable_channelz": 0 };
    const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), options);
    const { serialize, deserialize } = bytesOf;
    const up = (done: grpc.requestCallback<Buffer>) =>
      client.makeClientStreamRequest(SERVICE["up"]!.path, serialize, deserialize, done);
    const down = (bytes: number) =>
      client.makeServerStreamRequest(
        SERVICE["down"]!.path,
        serialize,
        deserialize,
        Buffer.from(String(bytes)),
      );
    return Promise.resolve({
      up: (bytes) =>
        new Promise((resolve, reject) => {
          const call = up((error, reply) =>
            error === null ? resolve(Number(String(reply))) : reject(error),
          );
          void sendAll(call, bytes);
        }),
      down: (bytes) => countOf(down(bytes)),
      async breakOff(direction) {
        const cancelled = Promise.withResolvers<void>();
        if (direction === "up") {
          const call = up(() => cancelled.resolve());
          call.write(PIECE);
          setTimeout(() => call.cancel(), BREAK_AFTER_MS);
        } else {
          const call = down(BROKEN_BYTES);
          call.once("data", () => call.cancel());
          call.on("error", () => cancelled.resolve());
        }
        await cancelled.promise;
      },
      close: () => client.close(),
    });
  },
};
