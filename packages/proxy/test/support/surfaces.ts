/** The proxy between clients and servers of each version of HTTP: the columns `P11`, `P12`, `P21` and `P22` of docs/faults.md. */
import http from "node:http";
import { FaultPeer, type FaultConnection } from "@inmesh/core/testing";
import { onTestFinished } from "vitest";
import {
  data,
  frame,
  goaway,
  h2Peer,
  head,
  ok,
  settings,
  words,
  WINDOW_UPDATE,
  type H2Connection,
} from "../../../http/test/support/h2-peer.ts";
import { ask2, client2 } from "./http2.ts";
import { proxied, type Proxied, type ProxiedOptions } from "./proxied.ts";

const INITIAL_WINDOW_SIZE = 4;

export type Surface = "P11" | "P12" | "P21" | "P22";
export const SURFACES: readonly Surface[] = ["P11", "P12", "P21", "P22"];
/** Those whose servers speak HTTP/1. */
export const TO_HTTP1: readonly Surface[] = ["P11", "P21"];

export const downOf = (surface: Surface): 1 | 2 => (surface[1] === "1" ? 1 : 2);
export const upOf = (surface: Surface): 1 | 2 => (surface[2] === "1" ? 1 : 2);

/** A reply as its client sees it. */
export interface Seen {
  readonly status: number | undefined;
  readonly body: string;
  /** It has come to its end: the client may believe in all of it. */
  readonly whole: boolean;
  readonly headers: http.IncomingHttpHeaders;
}

export interface Through extends Proxied {
  ask(method?: string, headers?: Record<string, string>, body?: string): Promise<Seen>;
}

/** `addresses`: endpoints of the service `orders`; one attempt, if `more` does not say otherwise. */
export async function through(
  surface: Surface,
  addresses: readonly string[],
  more: object = {},
  options: ProxiedOptions = {},
): Promise<Through> {
  const spoken = downOf(surface) === 1 ? "http1" : "http2";
  const orders = {
    http2: upOf(surface) === 2,
    discovery: { static: addresses },
    retry: { attempts: 1 },
    ...more,
  };
  const one = await proxied({ orders }, { ...options, spoken });
  if (downOf(surface) === 1) {
    const agent = new http.Agent({ keepAlive: true });
    onTestFinished(() => agent.destroy());
    return {
      ...one,
      ask: (method = "GET", headers = {}, body = undefined) =>
        ask1(agent, one.port, method, headers, body),
    };
  }
  const session = client2(one.port);
  return {
    ...one,
    ask: async (method = "GET", headers = {}, body = undefined) => {
      const reply = await ask2(session, { ":method": method, ...headers }, body);
      return {
        status: reply.headers[":status"],
        body: String(reply.body),
        whole: reply.code === 0 && reply.headers[":status"] !== undefined,
        headers: reply.headers,
      };
    },
  };
}

function ask1(
  agent: http.Agent,
  port: number,
  method: string,
  headers: Record<string, string>,
  body: string | undefined,
): Promise<Seen> {
  return new Promise((resolve) => {
    const length = body === undefined ? {} : { "content-length": String(body.length) };
    // Named as HTTP/2 does, so that a test says the same on every surface.
    const { ":path": path = "/", ...fields } = headers;
    const request = http.request({
      agent,
      port,
      host: "127.0.0.1",
      method,
      path,
      headers: { host: "orders", ...length, ...fields },
    });
    request.on("error", () => resolve({ status: undefined, body: "", whole: false, headers: {} }));
    request.on("response", (reply) => {
      let text = "";
      reply.on("error", () => {});
      reply.setEncoding("latin1").on("data", (chunk: string) => (text += chunk));
      reply.on("close", () =>
        resolve({
          status: reply.statusCode,
          body: text,
          whole: reply.complete,
          headers: reply.headers,
        }),
      );
    });
    request.end(body);
  });
}

/** One request of a server that follows a script, whichever version it speaks. */
export interface Served {
  readonly raw: FaultConnection;
  /** 1 for the first connection. */
  readonly connection: number;
  readonly head: string;
  answer(body?: string): Promise<void>;
  /** The same, and the connection takes no further request: as a server that leaves. */
  answerAndLeave(): Promise<void>;
  /** A head, and the start of a body that is longer. */
  begin(body: string): Promise<void>;
  /** More of it. */
  more(body: string): Promise<void>;
}

export interface Peer {
  readonly address: string;
  readonly connections: number;
  /** Requests that have come. */
  readonly requests: number;
}

/** Calls `serve` for each request, one after the other on each connection. */
export async function peerOf(
  surface: Surface,
  serve: (request: Served) => Promise<void> | void,
): Promise<Peer> {
  let requests = 0;
  const serve1 = async (raw: FaultConnection): Promise<void> => {
    for (;;) {
      const { head: text } = await raw.readRequest();
      requests++;
      await serve({
        raw,
        connection: raw.number,
        head: text,
        answer: (body = "ok") =>
          raw.write(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`),
        answerAndLeave: async () => {
          await raw.write("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
          raw.fin();
        },
        begin: (body) => raw.write(`HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n${body}`),
        more: (body) => raw.write(body),
      });
    }
  };
  const serve2 = async (connection: H2Connection): Promise<void> => {
    await connection.open(settings(INITIAL_WINDOW_SIZE, 0x7fff_ffff));
    await connection.write(frame(WINDOW_UPDATE, 0, 0, words(0x7000_0000)));
    for (;;) {
      const id = await connection.request();
      if ((connection.frames.at(-1)!.flags & 1) === 0) await bodyOf(connection, id);
      requests++;
      await serve({
        raw: connection.raw,
        connection: connection.number,
        head: "",
        answer: (body = "ok") => connection.write(ok(id, body)),
        // The first GOAWAY of a graceful end (RFC 9113 §6.8): what is on its way is still served.
        answerAndLeave: () => connection.write(ok(id), goaway(0x7fff_ffff, 0)),
        begin: (body) => connection.write(head(id, { ":status": "200" }), data(id, body)),
        more: (body) => connection.write(data(id, body)),
      });
    }
  };
  const peer = upOf(surface) === 1 ? await FaultPeer.start(serve1) : await h2Peer(serve2);
  onTestFinished(() => peer.close());
  return {
    address: peer.address,
    get connections() {
      return peer.connections;
    },
    get requests() {
      return requests;
    },
  };
}

/** Reads it to its end. */
async function bodyOf(connection: H2Connection, id: number): Promise<void> {
  for (;;) {
    const got = await connection.next();
    if (got.id === id && got.type === 0 && (got.flags & 1) !== 0) return;
  }
}

/** What the proxy itself has answered: its status and its reason. */
export function own({ status, body }: Seen): string {
  return `${status} ${body.trim()}`;
}
