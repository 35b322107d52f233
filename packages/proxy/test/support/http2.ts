/** Real servers and clients of HTTP/2 around a proxy. */
import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

export interface Reply {
  readonly headers: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader;
  readonly interim: readonly http2.IncomingHttpHeaders[];
  readonly trailers: http2.IncomingHttpHeaders | undefined;
  readonly body: Buffer;
  /** Code of the reset that ended it; 0: none, or NO_ERROR. */
  readonly code: number;
}

type Handler = (
  stream: http2.ServerHttp2Stream,
  headers: http2.IncomingHttpHeaders,
  raw: readonly string[],
) => void;

export interface Origin {
  readonly address: string;
  readonly server: http2.Http2Server;
  readonly sessions: Set<http2.ServerHttp2Session>;
}

/** A server of node:http2, by prior knowledge. Ends with the test. */
export async function origin2(handler: Handler, settings: http2.Settings = {}): Promise<Origin> {
  const server = http2.createServer({ settings });
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("error", () => {});
    session.on("close", () => sessions.delete(session));
  });
  server.on("stream", (stream, headers, _flags, raw) => {
    stream.on("error", () => {});
    handler(stream, headers, raw as unknown as readonly string[]);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  return { address: addressOf(server), server, sessions };
}

/** The same of node:http. */
export async function origin1(handler: http.RequestListener): Promise<string> {
  const server = http.createServer(handler);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return addressOf(server);
}

function addressOf(server: { address(): AddressInfo | string | null }): string {
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

export function client2(port: number, settings: http2.Settings = {}): http2.ClientHttp2Session {
  const session = http2.connect(`http://127.0.0.1:${port}`, { settings });
  session.on("error", () => {});
  onTestFinished(() => session.destroy());
  return session;
}

/** A stream by hand. */
export function open2(
  session: http2.ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders,
  options: http2.ClientSessionRequestOptions = {},
): http2.ClientHttp2Stream {
  const stream = session.request({ ":authority": "orders", ...headers }, options);
  stream.on("error", () => {});
  return stream;
}

export async function replyOf(stream: http2.ClientHttp2Stream): Promise<Reply> {
  const interim: http2.IncomingHttpHeaders[] = [];
  const chunks: Buffer[] = [];
  let headers: Reply["headers"] = {};
  let trailers: http2.IncomingHttpHeaders | undefined;
  stream.on("headers", (one) => interim.push(one));
  stream.on("response", (one) => (headers = one));
  stream.on("trailers", (one) => (trailers = one));
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  await new Promise<void>((resolve) => stream.on("close", resolve));
  return { headers, interim, trailers, body: Buffer.concat(chunks), code: stream.rstCode };
}

export async function ask2(
  session: http2.ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders = {},
  body?: string | Buffer,
): Promise<Reply> {
  const stream = open2(session, headers, { endStream: body === undefined });
  const reply = replyOf(stream);
  if (body !== undefined) stream.end(body);
  return reply;
}
