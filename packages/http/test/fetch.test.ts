/** `mesh.fetch`: WHATWG semantics through the pipeline, on real sockets. */
import { gzipSync } from "node:zlib";
import { MeshError } from "@inmesh/core/spi";
import { FormData as UndiciFormData } from "undici";
import { describe, expect, it } from "vitest";
import { doorsOf, httpMeshOf } from "./support/doors.ts";
import { answering, counted, peerOf, rejectionOf, serve, until } from "./wire.ts";

/** Fetch rejects with a TypeError; why is its cause. */
async function causeOf(promise: Promise<unknown>): Promise<unknown> {
  return ((await rejectionOf(promise)) as Error).cause;
}

it("takes text, URL and init as Fetch does, and gives its Response", async () => {
  const { address } = await serve((incoming, outgoing) => {
    outgoing.setHeader("set-cookie", ["a=1", "b=2"]);
    outgoing.setHeader("x-method", incoming.method!);
    incoming.pipe(outgoing);
  });
  const mesh = doorsOf([address]);
  const reply = await mesh.fetch("http://orders/x?y=1", { method: "POST", body: "body" });
  expect([reply.status, reply.url, reply.redirected]).toEqual([200, "http://orders/x?y=1", false]);
  expect(reply.headers.getSetCookie()).toEqual(["a=1", "b=2"]);
  expect(await reply.text()).toBe("body");
  const body = new Blob(["streamed"]).stream();
  const init = { method: "PUT", body, duplex: "half" } as const;
  expect(await (await mesh.fetch(new URL("http://orders/"), init)).text()).toBe("streamed");
  const head = await mesh.fetch("http://ORDERS/", { method: "HEAD" });
  expect(await head.text()).toBe("");
  expect(counted(mesh, "inmesh.calls", { outcome: "success" })).toBe(3);
});

it("takes Request, FormData and Headers of the built-in fetch, and those of undici", async () => {
  const { address } = await serve((incoming, outgoing) => {
    outgoing.setHeader("x-type", incoming.headers["content-type"] ?? "none");
    outgoing.setHeader("x-own", incoming.headers["x-own"] ?? "none");
    outgoing.setHeader("x-method", incoming.method!);
    incoming.pipe(outgoing);
  });
  const mesh = doorsOf([address]);
  const asked = new Request("http://orders/", {
    method: "PUT",
    body: "of a Request",
    headers: new Headers({ "x-own": "kept" }),
  });
  const reply = await mesh.fetch(asked);
  expect(await reply.text()).toBe("of a Request");
  expect([reply.headers.get("x-method"), reply.headers.get("x-own")]).toEqual(["PUT", "kept"]);

  for (const Form of [FormData, UndiciFormData]) {
    const form = new Form();
    form.set("field", "value");
    const posted = await mesh.fetch("http://orders/", { method: "POST", body: form as never });
    expect(posted.headers.get("x-type")).toMatch(/^multipart\/form-data; ?boundary=/);
    expect(await posted.text()).toMatch(/name="field"\r\n\r\nvalue\r\n/);
  }
});

it("other origins are fetched as ever, and a dispatcher of one's own wins", async () => {
  const { address } = await serve((_incoming, outgoing) => void outgoing.end("plain"));
  const mesh = doorsOf(["127.0.0.1:1"]);
  expect(await (await mesh.fetch(`http://${address}/`)).text()).toBe("plain");
  const { dispatcher } = doorsOf([address]);
  expect(await (await mesh.fetch("http://orders/", { dispatcher })).text()).toBe("plain");
  expect(counted(mesh, "inmesh.calls")).toBe(0);
});

it("retries behind it; what fails in the end is the cause of Fetch's TypeError", async () => {
  let turn = 0;
  const peer = await peerOf(async (connection) => {
    await connection.readRequest();
    if (turn++ === 0) return connection.rst();
    await connection.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
  });
  const mesh = doorsOf([peer.address]);
  expect(await (await mesh.fetch("http://orders/")).text()).toBe("ok");
  expect(counted(mesh, "inmesh.attempts")).toBe(2);
  await mesh.close(0);
  const error = await causeOf(mesh.fetch("http://orders/"));
  expect(error).toBeInstanceOf(MeshError);
  expect(error).toMatchObject({ code: "closed" });
});

describe("H19 LC: redirects of fetch", () => {
  it("H19 LC: each hop is a call; authorization stays with its origin, x-mesh-* is sent to no other origin", async () => {
    const seen: Record<string, unknown>[] = [];
    const bank = await serve((incoming, outgoing) => {
      seen.push(incoming.headers);
      outgoing.end("at the bank");
    });
    const orders = await serve((incoming, outgoing) => {
      seen.push(incoming.headers);
      const location = incoming.url === "/old" ? "/new" : "http://bank/";
      outgoing.writeHead(302, { location }).end();
    });
    const mesh = httpMeshOf({
      orders: { discovery: { static: [orders.address] } },
      bank: { discovery: { static: [bank.address] } },
    });
    const reply = await mesh.fetch("http://orders/old", {
      headers: { authorization: "secret", "x-mesh-attempt": "5" },
    });
    expect(await reply.text()).toBe("at the bank");
    expect([reply.url, reply.redirected]).toEqual(["http://bank/", true]);
    expect(seen.map(({ authorization }) => authorization)).toEqual(["secret", "secret", undefined]);
    expect(seen.some((headers) => "x-mesh-attempt" in headers)).toBe(false);
    expect(counted(mesh, "inmesh.calls", { service: "orders" })).toBe(2);
    expect(counted(mesh, "inmesh.calls", { service: "bank" })).toBe(1);
  });

  it("H19 LC: none leads out of the mesh; into it, and by manual, they may", async () => {
    const outside = await serve((incoming, outgoing) => {
      if (incoming.url === "/in") outgoing.writeHead(307, { location: "http://orders/" });
      outgoing.end("outside");
    });
    const orders = await serve((incoming, outgoing) => {
      if (incoming.url === "/out") {
        outgoing.writeHead(302, { location: `http://${outside.address}/` });
      }
      outgoing.end("inside");
    });
    const mesh = doorsOf([orders.address]);
    const error = await causeOf(mesh.fetch("http://orders/out"));
    expect(error).toMatchObject({ code: "denied", reason: "policy" });
    expect(outside.connections).toBe(0);
    const manual = await mesh.fetch("http://orders/out", { redirect: "manual" });
    expect(manual.headers.get("location")).toBe(`http://${outside.address}/`);
    expect(await (await mesh.fetch(`http://${outside.address}/in`)).text()).toBe("inside");
  });
});

describe("H17 LC: codings of fetch", () => {
  const packed = (body: Buffer, coding: string) =>
    serve((_incoming, outgoing) => {
      outgoing.writeHead(200, { "content-encoding": coding }).end(body);
    });

  it("H17 LC: fetch decodes as Fetch demands, and the Response says what it is", async () => {
    const { address } = await packed(gzipSync(gzipSync("twice")), "gzip, gzip");
    const reply = await doorsOf([address]).fetch("http://orders/x");
    expect(reply.headers.get("content-encoding")).toBe("gzip, gzip");
    expect([reply.status, reply.url, reply.ok, reply.type]).toEqual([
      200,
      "http://orders/x",
      true,
      "basic",
    ]);
    expect(await reply.clone().text()).toBe("twice");
    expect(await reply.text()).toBe("twice");
  });

  it("H17 LC: three codings over each other are refused", async () => {
    const { address } = await packed(Buffer.from("x"), "gzip, gzip, gzip");
    const error = await causeOf(doorsOf([address]).fetch("http://orders/"));
    expect(error).toMatchObject({ code: "bad_response" });
  });

  it("H17 LC: a bomb ends at the ratio, long before its size", async () => {
    const bomb = gzipSync(Buffer.alloc(50_000_000)); // about 1,000 to 1
    const { address } = await packed(bomb, "gzip");
    const reply = await doorsOf([address]).fetch("http://orders/");
    let bytes = 0;
    const reading = (async (): Promise<void> => {
      for await (const chunk of reply.body!) bytes += (chunk as Uint8Array).length;
    })();
    expect(await rejectionOf(reading)).toMatchObject({ code: "bad_response" });
    expect(bytes).toBeLessThan(10_000_000);
  });

  it("H17 LC: what is small, or large and dense, may be", async () => {
    const repetitive = Buffer.alloc(1_000_000);
    const { address } = await packed(gzipSync(repetitive), "gzip");
    const reply = await doorsOf([address]).fetch("http://orders/");
    expect((await reply.arrayBuffer()).byteLength).toBe(1_000_000);
  });
});

describe("H20 LC: abort of fetch", () => {
  it("H20 LC: rejects with the reason before, while waiting and in the body", async () => {
    const peer = await answering("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
    const silent = await peerOf(async (connection) => void (await connection.readRequest()));
    const reason = new Error("no longer wanted");
    const mesh = doorsOf([peer.address]);
    await expect(mesh.fetch("http://orders/", { signal: AbortSignal.abort(reason) })).rejects.toBe(
      reason,
    );
    expect(peer.requests).toHaveLength(0);
    const waiting = new AbortController();
    const other = doorsOf([silent.address]);
    const promise = other.fetch("http://orders/", { signal: waiting.signal });
    await until(() => silent.requests.length === 1);
    waiting.abort(reason);
    await expect(promise).rejects.toBe(reason);
    const reading = new AbortController();
    const reply = await mesh.fetch("http://orders/", { signal: reading.signal });
    const text = reply.text();
    reading.abort(reason);
    await expect(text).rejects.toBe(reason);
    await until(() => mesh.snapshot().services[0]!.callsInFlight === 0);
  });
});
