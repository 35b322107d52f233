/** What a client may ask of its replies: redirects that are followed, and bodies that are decoded. */
import type { RequestListener } from "node:http";
import { text } from "node:stream/consumers";
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from "node:zlib";
import { meshClient, type ClientOptions, type MeshClient } from "@inmesh/http";
import { describe, expect, it } from "vitest";
import { failureOf, meshOf, rejectionOf, serve } from "./wire.ts";

async function clientOf(listener: RequestListener, options: ClientOptions): Promise<MeshClient> {
  const { address } = await serve(listener);
  const services = { orders: { discovery: { static: [address] }, retry: { attempts: 1 } } };
  return meshClient("orders", { mesh: meshOf({ config: { services } }), ...options });
}

describe("LC: redirects", () => {
  /** `/<status>?to=` redirects there; everything else answers with what it was asked for. */
  const redirecting: RequestListener = (request, response) => {
    void text(request).then((body) => {
      const url = new URL(request.url!, "http://orders");
      const to = url.searchParams.get("to");
      if (to === null) {
        const { method, headers } = request;
        response.end(JSON.stringify({ method, url: request.url, headers, body }));
        return;
      }
      response.writeHead(Number(url.pathname.slice(1)), { location: to });
      response.end("moved");
    });
  };

  interface Seen {
    readonly method: string;
    readonly url: string;
    readonly headers: Record<string, string>;
    readonly body: string;
  }

  it("P20 LC: are the caller's by default", async () => {
    const client = await clientOf(redirecting, {});
    const reply = await client.fetch("/302", { query: { to: "/new" } });
    expect(reply.status).toBe(302);
    expect(reply.headers.get("location")).toBe("/new");
  });

  it.each([
    [301, "GET", "GET", ""],
    [301, "POST", "GET", ""],
    [302, "POST", "GET", ""],
    [302, "PUT", "PUT", '{"a":1}'],
    [303, "PUT", "GET", ""],
    [307, "POST", "POST", '{"a":1}'],
    [308, "PUT", "PUT", '{"a":1}'],
  ])("P20 LC: %i after %s is %s", async (status, method, next, body) => {
    const client = await clientOf(redirecting, { redirects: 3 });
    const init = method === "GET" ? {} : { method, json: { a: 1 } };
    const headers = { authorization: "t" };
    const reply = await client.fetch(`/${status}?to=/new?x=1`, { ...init, headers });
    const seen = await reply.json<Seen>();
    expect([seen.method, seen.url, seen.body]).toEqual([next, "/new?x=1", body]);
    expect(seen.headers["authorization"]).toBe("t");
    expect(seen.headers["content-type"]).toBe(body === "" ? undefined : "application/json");
  });

  it.each(["new", "http://orders/new", "../new"])("P20 LC: %s is at the service", async (to) => {
    const client = await clientOf(redirecting, { redirects: 1 });
    const reply = await client.fetch("/302", { query: { to } });
    expect((await reply.json<Seen>()).url).toBe("/new");
  });

  it.each(["http://elsewhere/new", "//elsewhere/new", "https://orders/new", "http://["])(
    "P20 LC: %s leads away, and is refused",
    async (to) => {
      const client = await clientOf(redirecting, { redirects: 5 });
      const error = await failureOf(client.fetch("/302", { query: { to } }));
      expect(error).toMatchObject({ code: "denied", reason: "policy" });
      expect(error.message).toMatch(/^orders: a redirect leads away from the service, to /);
      // There was a reply, so there was an attempt, and it had an endpoint.
      expect(error).toMatchObject({
        attempts: 1,
        endpoint: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
      });
      await expect.poll(() => client.mesh.snapshot().services[0]!.callsInFlight).toBe(0);
    },
  );

  it("P20 LC: a loop ends, and the stack names the caller", async () => {
    const client = await clientOf(
      (_request, response) => response.writeHead(302, { location: "/again" }).end(),
      { redirects: 3 },
    );
    async function thePlaceOfTheCall(): Promise<void> {
      await client.fetch("/");
    }
    const error = await failureOf(thePlaceOfTheCall());
    expect(error).toMatchObject({ code: "loop" });
    expect(error.message).toContain("more than 3 redirects");
    expect(error.stack).toContain("thePlaceOfTheCall");
  });

  it("P20 LC: a body that was a stream is not sent again", async () => {
    const client = await clientOf(redirecting, { redirects: 3 });
    const body = ReadableStream.from([Buffer.from("x")]);
    const error = await failureOf(client.fetch("/307?to=/new", { method: "POST", body } as never));
    expect(error).toMatchObject({ code: "bad_request", reason: "bad_body" });
  });

  it("P20 LC: all hops share the caller's time", async () => {
    const client = await clientOf(
      (_request, response) => {
        setTimeout(() => response.writeHead(302, { location: "/again" }).end(), 60);
      },
      { redirects: 100 },
    );
    const error = await failureOf(client.fetch("/", { timeoutMs: 200 }));
    expect(error.code).toBe("deadline_exceeded");
  });
});

const BODY = JSON.stringify({ text: "ü".repeat(5_000) });
const codings: [string, Buffer][] = [
  ["gzip", gzipSync(BODY)],
  ["x-gzip", gzipSync(BODY)],
  ["br", brotliCompressSync(BODY)],
  ["deflate", deflateSync(BODY)],
  ["gzip, br", brotliCompressSync(gzipSync(BODY))],
  ["identity", Buffer.from(BODY)],
];

const encoded =
  (coding: string, body: Buffer): RequestListener =>
  (_request, response) => {
    response.setHeader("content-encoding", coding);
    response.end(body);
  };

describe("LC: encoded bodies", () => {
  it.each(codings)(
    "H17 LC: %s is decoded in every form, where the client asks for it",
    async (coding, body) => {
      const client = await clientOf(encoded(coding, body), { decompress: true });
      expect(await (await client.fetch("/")).text()).toBe(BODY);
      expect(await (await client.fetch("/")).json()).toEqual(JSON.parse(BODY));
      expect(Buffer.from(await (await client.fetch("/")).bytes()).toString()).toBe(BODY);
      expect(await text((await client.fetch("/")).body)).toBe(BODY);
      expect(await (await client.fetch("/")).toResponse().text()).toBe(BODY);
    },
  );

  it("H17 LC: is asked for by such a client alone, and the call's own word wins", async () => {
    const echo: RequestListener = (request, response) =>
      void response.end(request.headers["accept-encoding"] ?? "none");
    const client = await clientOf(echo, { decompress: true });
    expect(await (await client.fetch("/")).text()).toBe("gzip, br");
    const own = { headers: { "accept-encoding": "identity" } };
    expect(await (await client.fetch("/", own)).text()).toBe("identity");
    expect(await (await meshClient("orders", client).fetch("/")).text()).toBe("none");
  });

  it("H17 LC: without it text and json decode what comes encoded, bytes and body are as received", async () => {
    const gzip = gzipSync(BODY);
    const client = await clientOf(encoded("gzip", gzip), {});
    expect(await (await client.fetch("/")).text()).toBe(BODY);
    expect(Buffer.from(await (await client.fetch("/")).bytes()).equals(gzip)).toBe(true);
  });

  it("H17 LC: deflate without its wrapper, an unknown coding, and no body", async () => {
    const raw = await clientOf(encoded("deflate", deflateRawSync(BODY)), { decompress: true });
    expect(await (await raw.fetch("/")).text()).toBe(BODY);
    const other = await clientOf(encoded("aws-chunked", Buffer.from("x")), { decompress: true });
    expect(await (await other.fetch("/")).text()).toBe("x");
    const none = await clientOf(encoded("gzip", Buffer.alloc(0)), { decompress: true });
    expect(await (await none.fetch("/")).text()).toBe("");
    expect(await text((await none.fetch("/")).body)).toBe("");
  });

  const faults: [string, string, Buffer, RegExp][] = [
    ["is no gzip", "gzip", Buffer.from("plain text"), /is not the gzip that its content-encoding/],
    ["is cut", "gzip", gzipSync(BODY).subarray(0, 60), /is not the gzip that its content-encoding/],
    [
      "becomes 100 times larger",
      "gzip",
      gzipSync(Buffer.alloc(20_000_000)),
      /not decoded: more than/,
    ],
    ["has three codings", "gzip, gzip, gzip", gzipSync(BODY), /not decoded: 3 codings/],
  ];
  it.each(faults)(
    "H17 LC: one that %s is an error, read in any form",
    async (_what, coding, body, message) => {
      const client = await clientOf(encoded(coding, body), { decompress: true });
      for (const read of [
        async () => (await client.fetch("/")).text(),
        async () => (await client.fetch("/")).bytes(),
        async () => text((await client.fetch("/")).body),
      ]) {
        const error = await rejectionOf(read());
        expect(error).toMatchObject({ code: "bad_response", reason: "malformed_response" });
        expect((error as Error).message).toMatch(message);
      }
      await expect.poll(() => client.mesh.snapshot().services[0]!.callsInFlight).toBe(0);
    },
  );
});
