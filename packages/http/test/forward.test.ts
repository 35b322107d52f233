/** A request that is served and forwarded with `@inmesh/http/spi` alone, as a proxy would. */
import { once } from "node:events";
import { request as httpRequest, type IncomingMessage, type ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import { createMesh, meshServer } from "@inmesh/http";
import {
  forwardedFields,
  HttpRequest,
  Origins,
  startCall,
  type BodySink,
  type HttpReply,
  type RawHeaders,
} from "@inmesh/http/spi";
import { expect, it, onTestFinished } from "vitest";
import { serve } from "./wire.ts";

/** Writes a reply as it comes, and no faster than it is read. */
class Passing implements BodySink {
  paused = false;
  readonly #out: ServerResponse;
  readonly #reply: HttpReply;

  constructor(reply: HttpReply, out: ServerResponse) {
    this.#reply = reply;
    this.#out = out;
    out.on("drain", () => {
      this.paused = false;
      reply.flow();
    });
  }

  data(chunk: Buffer): void {
    this.paused = !this.#out.write(chunk);
  }

  end(trailers: RawHeaders): void {
    const fields = Object.entries(trailers).map(([name, value]) => [name, String(value)]);
    if (fields.length > 0) this.#out.addTrailers(fields as [string, string][]);
    this.#out.end();
  }

  fail(error: Error): void {
    this.#out.destroy(error);
    this.#reply.discard();
  }
}

async function forward(origins: Origins, request: IncomingMessage, out: ServerResponse) {
  const service = origins.serviceOf(`http://${request.headers.host}`);
  if (service === undefined) return void out.writeHead(404).end();
  const hasBody = request.headers["content-length"] ?? request.headers["transfer-encoding"];
  const call = new HttpRequest(
    request.url!,
    request.method!,
    pairs(forwardedFields(request.rawHeaders)),
    hasBody === undefined ? null : request,
  );
  const reply = await startCall(service, call, {});
  const head = [...reply.headers].flat();
  out.writeHead(reply.status, forwardedFields(head));
  reply.sendTo(new Passing(reply, out));
}

const pairs = (list: readonly string[]): [string, string][] =>
  Array.from({ length: list.length / 2 }, (_, i) => [list[2 * i]!, list[2 * i + 1]!]);

it("R4 LC, R4 LS: a proxy passes on head, body and trailers, and keeps what belongs to a connection", async () => {
  const seen: { headers: IncomingMessage["headers"]; body: string; url: string }[] = [];
  const backend = await serve((request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => {
      seen.push({ headers: request.headers, body, url: request.url! });
      response.writeHead(201, { "x-shop": ["a", "b"], trailer: "x-sum", "x-mesh-error": "forged" });
      response.write(Buffer.alloc(300_000, "x"));
      response.addTrailers({ "x-sum": "7" });
      response.end("end");
    });
  });
  const mesh = createMesh({
    env: {},
    config: { services: { orders: { discovery: { static: [backend.address] } } } },
  });
  onTestFinished(() => mesh.close(0));
  const origins = new Origins(mesh);
  const proxy = meshServer((request, response) => void forward(origins, request, response), {
    posture: "mesh",
  });
  const { port } = await proxy.listen(0, "127.0.0.1");
  onTestFinished(() => proxy.close(0));

  const send = async (host: string, headers: object, body: string): Promise<IncomingMessage> => {
    const sent = httpRequest({
      host: "127.0.0.1",
      port,
      method: "POST",
      path: "/a?b=1",
      headers: { host, "content-length": body.length, ...headers },
    });
    sent.end(body);
    const [reply] = (await once(sent, "response")) as [IncomingMessage];
    return reply;
  };
  const said = { connection: "x-hop", "x-hop": "1", "x-mesh-hops": "2", "x-own": "kept" };
  const reply = await send("orders", said, "hello");
  expect(reply.statusCode).toBe(201);
  expect(await text(reply)).toHaveLength(300_003);
  expect(reply.headers["x-shop"]).toBe("a, b");
  expect(reply.headers["x-mesh-error"]).toBeUndefined();
  expect(reply.trailers).toEqual({ "x-sum": "7" });
  expect(seen).toMatchObject([{ url: "/a?b=1", body: "hello" }]);
  const { headers } = seen[0]!;
  expect(headers["x-own"]).toBe("kept");
  expect(headers["x-hop"]).toBeUndefined();
  expect(headers["x-mesh-hops"]).toBe("3");
  expect(headers.host).toBe("orders");

  const none = await send("elsewhere", {}, "");
  none.resume();
  expect(none.statusCode).toBe(404);
});
