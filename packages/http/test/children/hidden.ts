/**
 * R4: hides one private member of Node from our code, and from no other, then plays requests of every
 * kind against servers that are made and given; prints what became of them. `none` hides nothing.
 */
import { once } from "node:events";
import * as http from "node:http";
import * as http2 from "node:http2";
import { Socket, type AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { createMesh, meshServer, type MeshServer } from "@inmesh/http";
import { RawClient } from "../support/raw-client.ts";

/** Only the sources of inmesh find nothing there: to Node itself the member is where it was. */
function hide(holder: object, name: string): void {
  const values = new WeakMap<object, unknown>();
  let original: PropertyDescriptor | undefined;
  for (let one: object | null = holder; one !== null && original === undefined;) {
    original = Object.getOwnPropertyDescriptor(one, name);
    one = Object.getPrototypeOf(one) as object | null;
  }
  Object.defineProperty(holder, name, {
    configurable: true,
    get(this: object) {
      const caller = new Error().stack?.split("\n")[2] ?? "";
      if (/packages\/\w+\/src\//.test(caller)) return undefined;
      if (values.has(this)) return values.get(this);
      return original?.get === undefined ? original?.value : original.get.call(this);
    },
    set(this: object, value: unknown) {
      values.set(this, value);
    },
  });
}

/** Prototypes that Node shows only on objects in use. */
async function inUse(): Promise<{ parser: object; stream: object }> {
  const server = http.createServer((_request, response) => void response.end()).listen(0);
  let parser: object = {};
  server.on("connection", (socket: Socket) => {
    parser = Object.getPrototypeOf((socket as Socket & { parser: object }).parser) as object;
    while (!Object.hasOwn(parser, "getAsyncId")) parser = Object.getPrototypeOf(parser) as object;
  });
  await (await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)).text();
  server.close().closeAllConnections();
  const other = http2.createServer().listen(0);
  const client = http2.connect(`http://127.0.0.1:${(other.address() as AddressInfo).port}`);
  client.on("error", () => {});
  client
    .request({})
    .on("error", () => {})
    .end();
  const [stream] = (await once(other, "stream")) as [object];
  client.destroy();
  other.close();
  return { parser, stream: Object.getPrototypeOf(stream) as object };
}

const used = await inUse();
const request = http.IncomingMessage.prototype;
const reply = http.OutgoingMessage.prototype;
const HOLDERS: Readonly<Record<string, object>> = {
  _addHeaderLines: request,
  _dump: request,
  _readableState: request,
  upgrade: request,
  _keepAliveTimeout: reply,
  _send: reply,
  _contentLength: reply,
  _hasBody: reply,
  chunkedEncoding: reply,
  shouldKeepAlive: reply,
  _headerSent: reply,
  res: http.ClientRequest.prototype,
  parser: Socket.prototype,
  _httpMessage: Socket.prototype,
  getAsyncId: used.parser,
  timeout: used.stream,
  headRequest: used.stream,
  options: http.globalAgent,
};
const member = process.argv[2]!;
if (member !== "none") hide(HOLDERS[member]!, member);

const LIMITS = { keepAliveIdleMs: 1_000, headersCheckMs: 100, bodyIdleTimeoutMs: 400 };

/** Names that must not reach a handler, in each form in which it could find them. */
function forged(incoming: http.IncomingMessage): string[] {
  const names = [
    ...Object.keys(incoming.headers),
    ...Object.keys(incoming.headersDistinct ?? {}),
    ...incoming.rawHeaders,
    ...Object.keys(incoming.trailers),
    ...Object.keys(incoming.trailersDistinct ?? {}),
    ...incoming.rawTrailers,
  ];
  return names.filter((name) => /^x-mesh-/i.test(name));
}

async function handle(
  incoming: http.IncomingMessage,
  response: http.ServerResponse,
): Promise<void> {
  let body = "";
  switch (incoming.url) {
    case "/facts":
      for await (const chunk of incoming) body += String(chunk);
      response.setHeader("content-type", "application/json");
      response.end(
        JSON.stringify({
          forged: forged(incoming),
          ok: [incoming.headers["x-ok"], (incoming.headersDistinct ?? {})["x-ok"]?.join() ?? "1"],
          host: incoming.headers.host ?? incoming.headers[":authority"] === undefined,
          body,
          trailer: incoming.trailers["x-sum"] ?? "",
        }),
      );
      return;
    case "/long":
    case "/longEnd":
      response.setHeader("content-length", "5");
      if (incoming.url === "/longEnd") return void response.end("12345HTTP/1.1 200 forged");
      response.write("12345HTTP/1.1 200 forged");
      response.end();
      return;
    case "/short":
      response.setHeader("content-length", "5");
      response.end("123");
      return;
    case "/both":
      response.writeHead(200, { "transfer-encoding": "chunked" });
      response.end("ok");
      return;
    case "/slow":
      await sleep(300);
      response.end("slow");
      return;
    case "/endless":
      response.write("begun");
      return;
    default:
      response.end("ok");
  }
}

const listener = (incoming: http.IncomingMessage, response: http.ServerResponse): void => {
  incoming.on("error", () => {});
  void handle(incoming, response).catch(() => {});
};

const FORGED = "X-Mesh-User: root\r\nx-mesh-attempt: 7\r\nx-ok: 1\r\nX-MESH-TIMEOUT-MS: 5000\r\n";
const get = (path: string, more = ""): string => `GET ${path} HTTP/1.1\r\nhost: a\r\n${more}\r\n`;

async function to(server: MeshServer): Promise<RawClient> {
  return RawClient.to(server.address()!.port);
}

const bodiesOf = (text: string): string[] =>
  text
    .split(/HTTP\/1\.1 \d+ [^\r]*\r\n/)
    .slice(1)
    .map((one) => one.slice(one.indexOf("\r\n\r\n") + 4));

async function settled(server: MeshServer): Promise<number> {
  for (let i = 0; i < 100 && server.snapshot().requestsInFlight > 0; i++) await sleep(20);
  return server.snapshot().requestsInFlight;
}

async function play1(server: MeshServer, made: boolean): Promise<object> {
  const seen: Record<string, unknown> = {};
  const one = await to(server);
  const ask = async (bytes: string): Promise<string> => {
    const before = one.text.length;
    one.send(bytes);
    await one.until(() => /\r\n\r\n.*[}ow]$/s.test(one.text.slice(before)), "reply");
    return one.text.slice(before);
  };
  const facts = await ask(get("/facts", FORGED));
  seen["facts"] = JSON.parse(bodiesOf(facts)[0]!) as object;
  seen["hint"] = /keep-alive: timeout=(\d+)/i.exec(facts)?.[1] ?? "none";
  const post = "POST /facts HTTP/1.1\r\nhost: a\r\nx-ok: 1\r\n";
  seen["length"] = JSON.parse(
    bodiesOf(await ask(`${post}content-length: 3\r\n\r\nabc`))[0]!,
  ) as object;
  const chunks = "3\r\nabc\r\n0\r\nx-sum: 9\r\nx-mesh-user: root\r\n\r\n";
  const chunked = await ask(`${post}${FORGED}transfer-encoding: chunked\r\n\r\n${chunks}`);
  seen["chunked"] = JSON.parse(bodiesOf(chunked)[0]!) as object;
  const before = one.text.length;
  one.send(get("/") + get("/slow") + get("/", FORGED));
  await one.until(() => bodiesOf(one.text.slice(before)).length === 3, "pipelined");
  await one.until(() => one.text.endsWith("ok"), "the last");
  seen["pipelined"] = bodiesOf(one.text.slice(before));
  seen["cut"] = [];
  for (const path of ["/long", "/longEnd", "/short"]) {
    const cut = await to(server);
    cut.send(get(path));
    await cut.until(() => cut.closed, `${path} closes`);
    (seen["cut"] as boolean[]).push(!cut.text.includes("forged") && cut.text.length < 400);
  }
  const both = await to(server);
  both.send(get("/both"));
  await both.until(() => both.text.endsWith("0\r\n\r\n"), "chunks");
  // In the middle of a reply a second head would be its body.
  const bad = await to(server);
  bad.send(get("/endless"));
  await bad.until(() => bad.text.includes("begun"), "it begins");
  bad.send("\u0001\u0002 nonsense\r\n\r\n");
  await bad.until(() => bad.closed, "closed for nonsense");
  seen["heads"] = bad.text.match(/HTTP\/1\.1/g)?.length;
  const bare = await to(server);
  bare.send("\u0001\u0002 nonsense\r\n\r\n");
  await bare.until(() => bare.closed, "closed for nonsense too");
  seen["malformed"] = bare.text.startsWith("HTTP/1.1 400 ");
  const gone = await to(server);
  gone.send(get("/endless"));
  await gone.until(() => gone.text.includes("begun"), "it begins");
  gone.socket.destroy();
  seen["inFlight"] = await settled(server);
  // One that has been handed over is no business of the mesh, however long nothing is said on it.
  const taken = await to(server);
  taken.send(get("/", "connection: upgrade\r\nupgrade: x\r\n"));
  await taken.until(() => taken.text.includes("101"), "upgraded");
  const idle = await to(server);
  idle.send(get("/"));
  if (made) await idle.until(() => idle.closed, "an idle connection is closed", 4_000);
  else await sleep(1_600);
  seen["idle"] = idle.closed || !made;
  seen["taken"] = !taken.closed;
  taken.socket.destroy();
  one.socket.destroy();
  return seen;
}

async function play2(server: MeshServer): Promise<object> {
  const seen: Record<string, unknown> = {};
  const client = http2.connect(`http://127.0.0.1:${server.address()!.port}`);
  client.on("error", () => {});
  const ask = async (head: http2.OutgoingHttpHeaders, body?: string, trailers?: object) => {
    const stream = client.request(
      { "x-ok": "1", "x-mesh-user": "root", "x-mesh-attempt": "7", ...head },
      { endStream: body === undefined, waitForTrailers: trailers !== undefined },
    );
    stream.on("wantTrailers", () => stream.sendTrailers(trailers as http2.OutgoingHttpHeaders));
    if (body !== undefined) stream.end(body);
    let text = "";
    for await (const chunk of stream) text += String(chunk);
    return text;
  };
  seen["facts"] = JSON.parse(await ask({ ":path": "/facts" })) as object;
  const post = { ":path": "/facts", ":method": "POST" };
  const trailers = { "x-sum": "9", "x-mesh-user": "root" };
  seen["body"] = JSON.parse(await ask(post, "abc", trailers)) as object;
  seen["head"] = [
    await ask({ ":path": "/", ":method": "HEAD" }),
    await ask({ ":path": "/slow", ":method": "HEAD" }),
  ];
  seen["together"] = await Promise.all(["/", "/slow", "/"].map((path) => ask({ ":path": path })));
  const gone = client.request({ ":path": "/endless" });
  gone.on("error", () => {});
  await once(gone, "response");
  gone.close(http2.constants.NGHTTP2_CANCEL);
  seen["inFlight"] = await settled(server);
  client.destroy();
  return seen;
}

/** A door that reads members of Node on the client's side. */
async function playAgent(server: MeshServer): Promise<object> {
  const address = `127.0.0.1:${server.address()!.port}`;
  const services = { a: { discovery: { static: [address] } } };
  const mesh = createMesh({ env: {}, config: { services } } as never);
  const agent = mesh.agent();
  const text = (options: http.RequestOptions): Promise<string> =>
    new Promise((resolve, reject) => {
      const sent = http.request("http://a/", { agent, ...options }, (incoming) => {
        let body = "";
        incoming.on("data", (chunk: Buffer) => (body += chunk.toString()));
        incoming.on("end", () => resolve(body));
      });
      sent.on("upgrade", (_incoming, socket: Duplex) => {
        socket.destroy();
        resolve("upgraded");
      });
      sent.on("timeout", () => sent.destroy(new Error("late")));
      sent.on("error", (error) => (error.message === "late" ? resolve("late") : reject(error)));
      sent.end();
    });
  const headers = { connection: "upgrade", upgrade: "x" };
  const seen = [
    await text({}),
    await text({ headers }),
    await text({ path: "/slow", timeout: 60 }),
    await text({}),
  ];
  await sleep(20);
  const { services: shown } = mesh.snapshot();
  seen.push(String(shown[0]!.endpoints.reduce((sum, { inFlight }) => sum + inFlight, 0)));
  await mesh.close(0);
  return seen;
}

const log: string[] = [];
const watching = createMesh({
  env: {},
  log: ({ event, message }) => void log.push(`${event} ${message}`),
});
const upgraded = (incoming: http.IncomingMessage, socket: Duplex): void => {
  socket.on("error", () => {});
  socket.write(
    `HTTP/1.1 101 Switching\r\nupgrade: ${incoming.headers.upgrade}\r\nconnection: upgrade\r\n\r\n`,
  );
};
const servers = {
  made: meshServer(listener, { limits: LIMITS }),
  given: meshServer(http.createServer(listener), { limits: LIMITS }),
  made2: meshServer(listener, { http2: true, limits: LIMITS }),
  given2: meshServer(http2.createServer(listener as never), { limits: LIMITS }),
};
for (const server of Object.values(servers)) {
  server.server.on("upgrade", upgraded);
  await server.listen(0, "127.0.0.1");
}
const [made, given, made2, given2, agent] = await Promise.all([
  play1(servers.made, true),
  play1(servers.given, false),
  play2(servers.made2),
  play2(servers.given2),
  playAgent(servers.made),
]);
const last = await to(servers.made);
last.send(get("/slow"));
await sleep(100);
const closing = servers.made.close(2_000);
await last.until(() => last.closed, "the last reply");
await closing;
const seen = { made, given, made2, given2, agent, says: /connection: close/i.test(last.text) };
const degraded = Object.values(servers).map((server) => server.snapshot().degraded);
const ofMesh = watching.snapshot().degraded;
for (const server of Object.values(servers)) await server.close(0);
await watching.close(0);
process.stdout.write(
  JSON.stringify({
    seen,
    degraded,
    ofMesh,
    log: log.filter((line) => line.startsWith("runtime.degraded")),
  }),
);
