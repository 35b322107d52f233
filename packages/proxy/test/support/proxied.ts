/** A proxy on a port of its own, and what talks to it: for tests on real sockets. */
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { createMesh, type Mesh, type MeshOptions } from "@inmesh/core";
import { onTestFinished } from "vitest";
import {
  startProxy,
  type ListenerOptions,
  type RunningProxy,
  type SpokenProtocol,
} from "../../src/index.ts";

export interface Proxied {
  readonly mesh: Mesh;
  readonly proxy: RunningProxy;
  readonly port: number;
}

export interface ProxiedOptions {
  readonly mesh?: MeshOptions;
  readonly listener?: Partial<ListenerOptions>;
  readonly spoken?: SpokenProtocol;
}

/** One listener over a mesh with these services; by name, the addresses of their endpoints. */
export async function proxied(
  services: Readonly<Record<string, readonly string[] | object>>,
  { mesh: meshOptions = {}, listener = {}, spoken = "http1" }: ProxiedOptions = {},
): Promise<Proxied> {
  const config = Object.fromEntries(
    Object.entries(services).map(([name, given]) => [
      name,
      Array.isArray(given) ? { discovery: { static: given } } : given,
    ]),
  );
  const mesh = createMesh({ env: {}, ...meshOptions, config: { services: config } });
  return await proxyOver(mesh, { listener, spoken });
}

/** The same over a mesh that there is; both end with the test. */
export async function proxyOver(
  mesh: Mesh,
  { listener = {}, spoken = "http1" }: ProxiedOptions = {},
): Promise<Proxied> {
  const proxy = startProxy({ mesh, listeners: [{ name: "out", mode: "outbound", ...listener }] });
  const server = createServer({ allowHalfOpen: true }, (socket) =>
    proxy.listeners[0]!.handle(socket, undefined, spoken),
  );
  const port = await listening(server);
  onTestFinished(async () => {
    server.close();
    await proxy.close(0);
    await mesh.close(0);
  });
  return { mesh, proxy, port };
}

export async function listening(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

export interface RawReply {
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

/** Everything that is sent back until the connection ends, or until `quietMs` pass without a byte. */
export async function exchangeRaw(
  port: number,
  payload: string | Buffer,
  { quietMs = 10_000, until }: { quietMs?: number; until?: (all: string) => boolean } = {},
): Promise<{ text: string; closed: boolean }> {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  socket.on("error", () => {});
  let text = "";
  let closed = false;
  await once(socket, "connect");
  socket.write(typeof payload === "string" ? Buffer.from(payload, "latin1") : payload);
  await new Promise<void>((resolve) => {
    let timer = setTimeout(resolve, quietMs);
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
      clearTimeout(timer);
      if (until?.(text) === true) resolve();
      else timer = setTimeout(resolve, quietMs);
    });
    socket.on("close", () => {
      closed = true;
      clearTimeout(timer);
      resolve();
    });
    socket.on("end", () => socket.end());
  });
  socket.destroy();
  return { text, closed };
}

/** Statuses of the replies in a text, in order; bodies with a length are skipped. */
export function repliesIn(text: string): RawReply[] {
  const replies: RawReply[] = [];
  let rest = text;
  for (;;) {
    const end = rest.indexOf("\r\n\r\n");
    const match = /^HTTP\/1\.1 (\d{3})/.exec(rest);
    if (match === null || end < 0) return replies;
    const head = rest.slice(0, end);
    rest = rest.slice(end + 4);
    let body = "";
    const length = /\r\ncontent-length: (\d+)/.exec(head);
    if (length !== null) {
      body = rest.slice(0, Number(length[1]));
      rest = rest.slice(body.length);
    } else if (head.includes("transfer-encoding: chunked")) {
      for (;;) {
        const lineEnd = rest.indexOf("\r\n");
        const size = Number.parseInt(rest.slice(0, lineEnd), 16);
        body += rest.slice(lineEnd + 2, lineEnd + 2 + size);
        rest = rest.slice(lineEnd + 4 + size);
        if (!(size > 0)) break;
      }
    }
    replies.push({ status: Number(match[1]), head, body });
  }
}

/** A client that sends and reads by hand. */
export async function rawClient(port: number): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true, allowHalfOpen: true });
  socket.on("error", () => {});
  await once(socket, "connect");
  onTestFinished(() => void socket.destroy());
  return socket;
}
