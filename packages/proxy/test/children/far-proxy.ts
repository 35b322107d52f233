/**
 * A proxy of this process between its clients and servers on another host (`OtherHost`), for every pair of versions of HTTP
 * and for TCP: what rows with lost packets need. Nothing of a test runner is in it.
 */
import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import type { AddressInfo, Server } from "node:net";
import { createMesh, type Mesh } from "@inmesh/core";
import { listenProxy, proxySection, type ListeningProxy } from "../../src/index.ts";
import { portOf } from "../support/port-of.ts";

const PORT1 = 8_080;
const PORT2 = 8_082;
const FAR_IP = "10.99.0.2";

export const FAR1 = `${FAR_IP}:${PORT1}`;
export const FAR2 = `${FAR_IP}:${PORT2}`;

/** For `OtherHost.start`: the same over HTTP/1.1 and over HTTP/2, which counts what it is sent, says much at `/large`, and is late at `/slow`. */
export const SERVER = `(() => {
  const handler = (request, response) => {
    if (request.url === "/large") return response.end(Buffer.alloc(100_000, "x"));
    if (request.url === "/slow") return setTimeout(() => response.end("slow"), 200);
    let bytes = 0;
    request.on("data", (chunk) => (bytes += chunk.length));
    request.on("end", () => response.end(String(bytes)));
    request.on("error", () => {});
  };
  const second = require("node:http2").createServer(handler);
  second.on("session", (session) => session.on("error", () => {}));
  second.listen(${PORT2}, "0.0.0.0");
  return require("node:http").createServer(handler);
})()`;

export const PAIRS = ["P11", "P12", "P21", "P22"] as const;
export type Pair = (typeof PAIRS)[number];

export interface FarProxy {
  readonly mesh: Mesh;
  readonly proxy: ListeningProxy;
  /** Status and text of the reply, `whole` for a long one; `cut`: it came to no end. */
  call(pair: Pair, method: string, path: string, body?: Buffer): Promise<string>;
  portOf(listener: string): number;
  close(): Promise<void>;
}

/** A listener and a service for each pair, of which `serviceOf` says where it is, and `db` for TCP. */
export async function farProxy(
  serviceOf: (pair: Pair) => object,
  tcp: object = {},
): Promise<FarProxy> {
  const listen = "127.0.0.1:0";
  const services = {
    ...Object.fromEntries(
      PAIRS.map((pair) => [pair, { http2: pair[2] === "2", ...serviceOf(pair) }]),
    ),
    db: { discovery: { static: [FAR1] } },
  };
  const listeners = {
    ...Object.fromEntries(PAIRS.map((pair) => [pair, { listen, service: pair }])),
    db: { listen, service: "db", protocol: "tcp", ...tcp },
  };
  const mesh = createMesh({
    env: {},
    sections: [proxySection],
    config: { services, proxy: { listeners } } as object,
  });
  const proxy = await listenProxy(mesh);
  const agent = new http.Agent({ keepAlive: true });
  const sessions = new Map<string, http2.ClientHttp2Session>();
  const call = (pair: Pair, method: string, path: string, body?: Buffer): Promise<string> => {
    if (pair[1] === "1") return ask1(agent, portOf(proxy, pair), method, path, body);
    let session = sessions.get(pair);
    if (session === undefined || session.closed) {
      session = http2.connect(`http://127.0.0.1:${portOf(proxy, pair)}`);
      session.on("error", () => {});
      sessions.set(pair, session);
    }
    return ask2(session, method, path, body);
  };
  return {
    mesh,
    proxy,
    portOf: (name) => portOf(proxy, name),
    call,
    close: async () => {
      agent.destroy();
      for (const session of sessions.values()) session.destroy();
      await proxy.close(0);
      await mesh.close(0);
    },
  };
}

/**
 * A timeout that this process notices late says nothing about endpoints and connections (B5), and a busy machine makes it
 * late: asks again, a few times, until it is this.
 */
export async function until(wanted: string, ask: () => Promise<string>): Promise<string> {
  let end = await ask();
  for (let tries = 0; tries < 3 && end !== wanted; tries++) end = await ask();
  return end;
}

function said(status: number | undefined, text: string): string {
  return `${status} ${text.length === 100_000 ? "whole" : text.trim()}`;
}

/** `agent` false: on a connection of its own. */
export function ask1(
  agent: http.Agent | false,
  port: number,
  method: string,
  path: string,
  body?: Buffer,
): Promise<string> {
  return new Promise((resolve) => {
    const length = body === undefined ? {} : { "content-length": body.length };
    const headers = { host: "any", ...length };
    const request = http.request({ agent, port, host: "127.0.0.1", method, path, headers });
    request.on("error", () => resolve("cut"));
    request.on("response", (reply) => {
      let text = "";
      reply.on("error", () => {});
      reply.setEncoding("latin1").on("data", (chunk: string) => (text += chunk));
      reply.on("close", () => resolve(reply.complete ? said(reply.statusCode, text) : "cut"));
    });
    request.end(body);
  });
}

function ask2(
  session: http2.ClientHttp2Session,
  method: string,
  path: string,
  body?: Buffer,
): Promise<string> {
  return new Promise((resolve) => {
    const stream = session.request(
      { ":method": method, ":path": path, ":authority": "any" },
      { endStream: body === undefined },
    );
    let status: number | undefined;
    let text = "";
    stream.on("error", () => {});
    stream.on("response", (headers) => (status = headers[":status"]));
    stream.setEncoding("latin1").on("data", (chunk: string) => (text += chunk));
    stream.on("close", () =>
      resolve(stream.rstCode === 0 && status !== undefined ? said(status, text) : "cut"),
    );
    if (body !== undefined) stream.end(body);
  });
}

/** A server near by; `make`: `createServer` of node:http or node:http2. */
export async function near(
  make: (handler: never) => object,
  seen: (method: string) => void,
): Promise<{ port: number; server: Server }> {
  const handler = (
    request: { method?: string; resume(): void },
    response: { end(text: string): void },
  ): void => {
    seen(request.method!);
    request.resume();
    response.end("near");
  };
  const server = make(handler as never) as Server;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  server.unref();
  return { port: (server.address() as AddressInfo).port, server };
}
