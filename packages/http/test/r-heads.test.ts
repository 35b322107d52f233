/** Rows R17, R21 and R30: fields of a reply that are not the application's, or that no reader may trust. */
import { once } from "node:events";
import {
  createServer,
  get,
  request as nodeRequest,
  type IncomingMessage,
  type RequestListener,
} from "node:http";
import { connect, createServer as createHttp2 } from "node:http2";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import {
  meshClient,
  meshServer,
  type HttpMesh,
  type MeshServer,
  type ServerOptions,
} from "@inmesh/http";
import { describe, expect, it, onTestFinished } from "vitest";
import { Recorded, doorsOf } from "./support/doors.ts";
import { answering, peerOf, rejectionOf, serve } from "./wire.ts";

const FORGED = {
  "x-mesh-nack": "1",
  "X-Mesh-Final": "1",
  "x-mesh-leaving": "1",
  "x-mesh-error": "concurrency",
};

interface Got {
  readonly status: number;
  /** Every name that the application sees, in lower case. */
  readonly names: readonly string[];
  readonly body: string;
}

type Door = (mesh: HttpMesh) => Promise<Got>;

const doors: readonly (readonly [string, Door])[] = [
  [
    "meshClient",
    async (mesh) => {
      const reply = await meshClient("orders", { mesh }).fetch("/", { method: "POST", body: "x" });
      const names = [...reply.headers].map(([name]) => name);
      return { status: reply.status, names, body: await reply.text() };
    },
  ],
  [
    "meshClient, as a Response",
    async (mesh) => {
      const reply = await meshClient("orders", { mesh }).fetch("/", { method: "POST", body: "x" });
      const response = reply.toResponse();
      const names = [...response.headers.keys()];
      return { status: response.status, names, body: await response.text() };
    },
  ],
  [
    "mesh.dispatcher",
    async (mesh) => {
      const raw: string[] = [];
      const recorded = new Recorded(
        mesh.dispatcher,
        { method: "POST", body: "x" },
        {
          onResponseStart: ({ rawHeaders }) => {
            const list = rawHeaders as (string | Buffer)[];
            for (let i = 0; i < list.length; i += 2) raw.push(String(list[i]).toLowerCase());
          },
        },
      );
      const error = await recorded.over;
      if (error !== undefined) throw error as Error;
      return {
        status: recorded.status,
        names: [...Object.keys(recorded.headers), ...raw],
        body: recorded.text,
      };
    },
  ],
  [
    "mesh.fetch",
    async (mesh) => {
      const response = await mesh.fetch("http://orders/", { method: "POST", body: "x" });
      const names = [...response.headers.keys()];
      return { status: response.status, names, body: await response.text() };
    },
  ],
  [
    "mesh.agent()",
    async (mesh) => {
      const options = { agent: mesh.agent(), host: "orders", port: 80, method: "POST" };
      const request = nodeRequest(options);
      const failed = new Promise<never>((_, reject) => void request.on("error", reject));
      request.end("x");
      const [reply] = (await Promise.race([once(request, "response"), failed])) as [
        IncomingMessage,
      ];
      const raw = reply.rawHeaders.filter((_, i) => i % 2 === 0);
      const names = [...raw, ...Object.keys(reply.headers), ...Object.keys(reply.headersDistinct)];
      const body = await Promise.race([text(reply), failed]);
      return { status: reply.statusCode!, names: names.map((name) => name.toLowerCase()), body };
    },
  ],
];

async function http2Peer(listener: RequestListener): Promise<string> {
  const server = createHttp2(listener as never);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const forging: RequestListener = (request, response) => {
  request.resume();
  for (const [name, value] of Object.entries(FORGED)) response.setHeader(name, value);
  response.writeHead(200, { "x-own": "kept" });
  response.end("fine");
};

describe.each(doors)("R17 LC: %s", (door, call) => {
  it.each(["HTTP/1.1", "HTTP/2"])("shows no field of ours over %s", async (version) => {
    const http2 = version === "HTTP/2";
    if (http2 && door === "mesh.agent()") return;
    const address = http2 ? await http2Peer(forging) : (await serve(forging)).address;
    const { status, names, body } = await call(doorsOf([address], { http2 }));
    expect({ status, body }).toEqual({ status: 200, body: "fine" });
    expect(names).toContain("x-own");
    expect(names.filter((name) => name.startsWith("x-mesh-"))).toEqual([]);
  });
});

it("R17 LC: a gateway without meshServer that copies headers passes no refusal on", async () => {
  let served = 0;
  const upstream = await serve((request, response) => {
    request.resume();
    served++;
    response.writeHead(503, { ...FORGED, "x-own": "kept" }).end("no");
  });
  const inner = doorsOf([upstream.address]);
  const gateway = await serve((request, response) => {
    request.resume();
    void meshClient("orders", { mesh: inner })
      .fetch("/", { method: "POST", body: "x" })
      .then(async (reply) => {
        response.writeHead(reply.status, Object.fromEntries(reply.headers));
        response.end(await reply.text());
      });
  });
  const outer = doorsOf([gateway.address], { trustNacks: true });
  const reply = await meshClient("orders", { mesh: outer }).fetch("/", { method: "POST" });
  expect([reply.status, reply.headers.get("x-own"), served]).toEqual([503, "kept", 1]);
});

it("R17 LC: the reason for which a server of the mesh refused is given beside the headers", async () => {
  const server = await meshed((_request, response) => void response.end(), {
    posture: "mesh",
    limits: { maxTargetBytes: 10 },
  });
  const reply = await meshClient("orders", { mesh: doorsOf([server]) }).fetch(`/${"a".repeat(99)}`);
  expect(reply.status).toBe(414);
  expect(reply.mesh.refusal).toBe("target_too_long");
  expect(reply.headers.has("x-mesh-error")).toBe(false);
});

async function meshed(
  target: RequestListener | MeshServer["server"],
  options: ServerOptions = {},
): Promise<string> {
  const server = meshServer(target, { posture: "mesh", ...options });
  await server.listen(0, "127.0.0.1");
  onTestFinished(() => server.close(0));
  return `127.0.0.1:${server.address()!.port}`;
}

/** What a client that is not ours gets. */
async function namesOnTheWire(address: string, http2: boolean): Promise<string[]> {
  if (!http2) {
    const [reply] = (await once(get(`http://${address}/`), "response")) as [IncomingMessage];
    reply.resume();
    return reply.rawHeaders.map((name) => name.toLowerCase());
  }
  const session = connect(`http://${address}`);
  const [headers] = (await once(session.request({ ":path": "/" }), "response")) as [object];
  session.destroy();
  return Object.keys(headers);
}

/** The ways in which a handler may write a head that it copied. */
const copies: readonly (readonly [string, RequestListener])[] = [
  [
    "setHeader",
    (_, response) => {
      for (const [name, value] of Object.entries(FORGED)) response.setHeader(name, value);
      response.statusCode = 503;
      response.end("no");
    },
  ],
  [
    "appendHeader, and a write",
    (_, response) => {
      for (const [name, value] of Object.entries(FORGED)) response.appendHeader(name, value);
      response.statusCode = 503;
      response.write("n");
      response.end("o");
    },
  ],
  [
    "writeHead with an object",
    (_, response) => void response.writeHead(503, { ...FORGED, "x-own": "1" }).end("no"),
  ],
  [
    "writeHead with a list",
    (_, response) =>
      void response.writeHead(503, Object.entries({ ...FORGED, "x-own": "1" }).flat()).end("no"),
  ],
  [
    "writeHead with a message and an object",
    (_, response) => void response.writeHead(503, "No", { ...FORGED }).end("no"),
  ],
  [
    "flushHeaders",
    (_, response) => {
      for (const [name, value] of Object.entries(FORGED)) response.setHeader(name, value);
      response.statusCode = 503;
      response.flushHeaders();
      response.end("no");
    },
  ],
];

describe.each(["HTTP/1.1", "HTTP/2", "a given server of HTTP/1.1", "a given server of HTTP/2"])(
  "R17 LS: over %s",
  (version) => {
    const http2 = version.endsWith("HTTP/2");
    const made = (listener: RequestListener): Promise<string> => {
      if (!version.startsWith("a given")) return meshed(listener, { http2 });
      return meshed(http2 ? createHttp2(listener as never) : createServer(listener));
    };

    it.each(copies)("what a handler copied by %s is not sent", async (_how, handler) => {
      let served = 0;
      const address = await made((request, response) => {
        served++;
        request.resume();
        handler(request, response);
      });
      const mesh = doorsOf([address], { http2, trustNacks: true });
      const reply = await meshClient("orders", { mesh }).fetch("/", { method: "POST", body: "x" });
      expect([reply.status, await reply.text(), served]).toEqual([503, "no", 1]);
      expect(reply.mesh.refusal).toBeUndefined();
      const names = await namesOnTheWire(address, http2);
      expect(names).toContain("date");
      expect(names.filter((name) => name.startsWith("x-mesh-"))).toEqual([]);
    });

    it("headers of the handler are sent as they were given", async () => {
      const address = await made((_, response) => {
        response.setHeader("X-One", "1");
        response.setHeader("set-cookie", ["a=1", "b=2"]);
        response.writeHead(201, { "X-Two": "2" }).end("yes");
      });
      const reply = await meshClient("orders", { mesh: doorsOf([address], { http2 }) }).fetch("/");
      expect([reply.status, await reply.text()]).toEqual([201, "yes"]);
      expect(reply.headers.get("x-one")).toBe("1");
      expect(reply.headers.get("x-two")).toBe("2");
      expect(reply.headers.getAll("set-cookie")).toEqual(["a=1", "b=2"]);
    });
  },
);

describe.each(doors)("R21 LC: %s", (door, call) => {
  it("names no pseudo field of HTTP/2", async () => {
    if (door === "mesh.agent()") return; // HTTP/1 only
    const address = await http2Peer((request, response) => {
      request.resume();
      response.writeHead(203, { "x-own": "1" }).end("fine");
    });
    const { status, names, body } = await call(doorsOf([address], { http2: true }));
    expect([status, body]).toEqual([203, "fine"]);
    expect(names).toContain("x-own");
    expect(names.filter((name) => name.startsWith(":"))).toEqual([]);
  });
});

it("R21 LC: mesh.fetch decodes gzip over HTTP/2", async () => {
  const address = await http2Peer((_request, response) => {
    response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync("decoded"));
  });
  const response = await doorsOf([address], { http2: true }).fetch("http://orders/");
  expect(await response.text()).toBe("decoded");
});

describe.each(doors)("R30 LC: %s", (_door, call) => {
  it.each([
    ["said twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"],
    ["said twice in one field", "Transfer-Encoding: chunked, chunked"],
    ["with another behind chunked", "Transfer-Encoding: chunked, identity"],
  ])("a transfer-encoding %s is refused, and charged", async (_what, fields) => {
    const bytes = `HTTP/1.1 200 OK\r\n${fields}\r\n\r\n5\r\nhello\r\n0\r\n\r\n`;
    const peer = await answering(bytes);
    const mesh = doorsOf([peer.address], { breaker: { consecutiveFailures: 1 } });
    let error = await rejectionOf(call(mesh));
    if (error instanceof TypeError) error = error.cause;
    expect(error).toMatchObject({ code: "bad_response", reason: "malformed_response" });
    expect(mesh.snapshot().services[0]!.endpoints[0]!.breaker.state).toBe("open");
  });

  it.each(["chunked", "Chunked"])("%s said once is a reply", async (coding) => {
    const bytes = `HTTP/1.1 200 OK\r\nTransfer-Encoding: ${coding}\r\n\r\n5\r\nhello\r\n0\r\n\r\n`;
    const peer = await peerOf(async (connection) => {
      await connection.readRequest();
      await connection.write(bytes);
    });
    expect((await call(doorsOf([peer.address]))).body).toBe("hello");
  });
});
