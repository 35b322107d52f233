/** The client's interface, and rows of L, B, D and P5 that need real sockets. */
import { AsyncLocalStorage } from "node:async_hooks";
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { join } from "node:path";
import { Readable } from "node:stream";
import { ConfigError, context, createMesh, ServedRequest, type ServiceInput } from "@inmesh/core";
import { meshClient, type MeshClient, type RequestBody } from "@inmesh/http";
import { FormData } from "undici";
import { afterEach, describe, expect, it, vi } from "vitest";
import { discovered, infoOf, TestDiscovery } from "./support/discovery.ts";
import {
  answering,
  clientOf,
  counted,
  endpointsOf,
  failureOf,
  meshOf,
  peerOf,
  rejectionOf,
  SeededRuntime,
  serve,
  type Served,
  sleep,
  until,
  OK,
} from "./wire.ts";

async function read(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) text += chunk as string;
  return text;
}

/** Sends back what it was sent. */
const echo = (): Promise<Served> =>
  serve((request, response) => {
    void read(request).then((body) => {
      const { method, url, headers } = request;
      response.end(JSON.stringify({ method, url, headers, body }));
    });
  });

interface Echoed {
  readonly method: string;
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly body: string;
}

describe("reading a reply", () => {
  it("gives status, headers and how it came about", async () => {
    const peer = await answering(
      "HTTP/1.1 201 Made\r\nX-A: 1\r\nx-a: 2\r\ncontent-length: 0\r\n\r\n",
    );
    const reply = await clientOf([peer.address]).fetch("/");
    expect(reply).toMatchObject({ status: 201, statusText: "Made", ok: true, bodyUsed: false });
    expect(reply.headers.get("X-A")).toBe("1");
    expect(reply.headers.getAll("x-a")).toEqual(["1", "2"]);
    expect(reply.headers.has("x-b")).toBe(false);
    expect([...reply.headers]).toEqual([
      ["x-a", "1"],
      ["x-a", "2"],
      ["content-length", "0"],
    ]);
    expect(reply.mesh).toMatchObject({
      service: "orders",
      route: "default",
      endpoint: peer.address,
      attempts: 1,
      tried: [],
    });
    expect(reply.mesh.timings.headMs).toBeGreaterThanOrEqual(reply.mesh.timings.attemptMs);
  });

  it("in every form, once", async () => {
    const peer = await answering(
      'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n\xef\xbb\xbf{"a":1}',
    );
    const client = clientOf([peer.address]);
    expect(await (await client.fetch("/")).json()).toEqual({ a: 1 });
    expect(await (await client.fetch("/")).text()).toBe('{"a":1}');
    expect((await (await client.fetch("/")).bytes()).length).toBe(10);
    let count = 0;
    for await (const chunk of (await client.fetch("/")).body) count += (chunk as Buffer).length;
    expect(count).toBe(10);
    count = 0;
    for await (const chunk of (await client.fetch("/")).webBody) count += chunk.length;
    expect(count).toBe(10);
    const response = (await client.fetch("/")).toResponse();
    expect(response).toBeInstanceOf(Response);
    expect(await response.json()).toEqual({ a: 1 });

    const reply = await client.fetch("/");
    await reply.text();
    expect(reply.bodyUsed).toBe(true);
    expect(await failureOf(reply.json())).toMatchObject({ reason: "body_used" });
    expect(() => reply.body).toThrow("read or discarded before");
    const dropped = await client.fetch("/");
    dropped.discard();
    dropped.discard();
    expect(await failureOf(dropped.bytes())).toMatchObject({ reason: "body_used" });
  });

  it("that was asked for is not dropped by a late discard", async () => {
    const server = await serve((_request, response) => {
      response.write("slow ");
      setTimeout(() => response.end("body"), 30);
    });
    const client = clientOf([server.address]);
    const collected = await client.fetch("/");
    const text = collected.text();
    collected.discard();
    expect(await text).toBe("slow body");
    const streamed = await client.fetch("/");
    const { body } = streamed;
    streamed.discard();
    let whole = "";
    for await (const chunk of body) whole += String(chunk);
    expect(whole).toBe("slow body");
  });

  it("as a Response without a body for 204 and 304", async () => {
    for (const status of [204, 304]) {
      const peer = await answering(
        `HTTP/1.1 ${status} X\r\nset-cookie: a\r\nset-cookie: b\r\n\r\n`,
      );
      const response = (await clientOf([peer.address]).fetch("/")).toResponse();
      expect(response.status).toBe(status);
      expect(response.body).toBeNull();
      expect(response.headers.getSetCookie()).toEqual(["a", "b"]);
    }
  });

  it("that is no JSON throws SyntaxError", async () => {
    const peer = await answering(OK);
    const error = await rejectionOf((await clientOf([peer.address]).fetch("/")).json());
    expect(error).toBeInstanceOf(SyntaxError);
  });

  it("late: the body waits", async () => {
    const peer = await answering(OK);
    const reply = await clientOf([peer.address]).fetch("/");
    await sleep(30);
    expect(await reply.text()).toBe("ok");
  });
});

describe("making a request", () => {
  it("sends every kind of body", async () => {
    const { address } = await echo();
    const client = clientOf([address]);
    const send = async (body: RequestBody): Promise<Echoed> =>
      (await client.fetch("/", { method: "POST", body })).json<Echoed>();
    const bytes = new TextEncoder().encode("äb");
    for (const body of [
      "äb",
      bytes,
      bytes.buffer,
      new Blob(["äb"]),
      Readable.from([Buffer.from("ä"), Buffer.from("b")]),
      new Blob(["äb"]).stream(),
      [bytes.subarray(0, 2), bytes.subarray(2)],
      (async function* () {
        yield await Promise.resolve(bytes);
      })(),
    ] as RequestBody[]) {
      expect((await send(body)).body).toBe("äb");
    }
    const form = await send(new URLSearchParams({ a: "1 2", b: "ä" }));
    expect(form.body).toBe("a=1+2&b=%C3%A4");
    expect(form.headers["content-type"]).toBe("application/x-www-form-urlencoded;charset=UTF-8");
    const data = new FormData();
    data.append("field", "value");
    const multipart = await send(data);
    expect(multipart.headers["content-type"]).toMatch(/^multipart\/form-data; boundary=/);
    expect(multipart.body).toContain('name="field"\r\n\r\nvalue');
  });

  it("drops x-mesh-* of the application and refuses host", async () => {
    const { address } = await echo();
    const client = clientOf([address], { authority: "orders.shop:8080" });
    const reply = await client.request({
      path: "/p?q",
      headers: { "X-Mesh-Attempt": "7", "x-mesh-nack": "1", "x-own": ["a", "b"], none: undefined },
    });
    const { headers, url } = await reply.json<Echoed>();
    expect(url).toBe("/p?q");
    expect(Object.keys(headers).filter((name) => name.startsWith("x-mesh-"))).toEqual([
      "x-mesh-timeout-ms",
    ]);
    expect(headers["x-own"]).toBe("a, b");
    expect(headers["host"]).toBe("orders.shop:8080");
    const error = await failureOf(client.fetch("/", { headers: { Host: "evil" } }));
    expect(error).toMatchObject({
      code: "bad_request",
      reason: "bad_header",
      progress: "not-sent",
    });
  });

  it("ends with its own timeoutMs, which does not extend the route's", async () => {
    const peer = await peerOf(async (connection) => {
      await connection.readRequest();
      await connection.hold();
    });
    const client = clientOf([peer.address], { timeouts: { requestMs: 200 } });
    for (const [timeoutMs, atMost] of [
      [60, 150],
      [5_000, 350],
    ] as const) {
      const startedAt = performance.now();
      const error = await failureOf(client.fetch("/", { timeoutMs }));
      expect(error).toMatchObject({ code: "deadline_exceeded", reason: "call_deadline" });
      expect(performance.now() - startedAt).toBeLessThan(atMost);
    }
  });

  it("of an unknown service is an error at once", () => {
    expect(() => meshClient("absent", { mesh: meshOf({}) })).toThrow(ConfigError);
  });

  it("by URL needs no configuration", async () => {
    const peer = await answering(OK);
    const client = meshClient(`http://${peer.address}`, { mesh: meshOf({}) });
    expect(await (await client.fetch("/")).text()).toBe("ok");
    expect(peer.requests[0]!.head).toContain(`host: ${peer.address}\r\n`);
  });
});

describe("retries", () => {
  /** Resets the first attempts, then answers; counts by id. */
  async function failingFirst(count: number): Promise<{ address: string; heads: string[] }> {
    const heads: string[] = [];
    const peer = await peerOf(async (connection) => {
      for (;;) {
        heads.push((await connection.readRequest()).head);
        if (heads.length <= count) return connection.rst();
        await connection.write(OK);
      }
    });
    return { address: peer.address, heads };
  }

  it("GET is sent again, with x-mesh-attempt on the second only", async () => {
    const { address, heads } = await failingFirst(1);
    const reply = await clientOf([address]).fetch("/");
    expect(reply.mesh.attempts).toBe(2);
    expect(reply.mesh.tried).toEqual([address]);
    expect(heads[0]).not.toContain("x-mesh-attempt");
    expect(heads[1]).toContain("x-mesh-attempt: 2\r\n");
  });

  it("POST is never sent again after bytes have left", async () => {
    const { address, heads } = await failingFirst(1);
    const client = clientOf([address]);
    const error = await failureOf(client.fetch("/", { method: "POST", body: "x" }));
    expect(error).toMatchObject({
      code: "connection_lost",
      progress: "maybe-processed",
      attempts: 1,
    });
    await sleep(50);
    expect(heads).toHaveLength(1);
  });

  it("POST is sent again if it is said to be idempotent, or has a key", async () => {
    for (const init of [{ idempotent: true }, { headers: { "Idempotency-Key": "k" } }]) {
      const { address, heads } = await failingFirst(1);
      const reply = await clientOf([address]).fetch("/", { method: "POST", body: "x", ...init });
      expect(reply.status).toBe(200);
      expect(heads).toHaveLength(2);
    }
  });

  it("GET is not sent again if it is said not to be idempotent", async () => {
    const { address, heads } = await failingFirst(1);
    await failureOf(clientOf([address]).fetch("/", { idempotent: false }));
    expect(heads).toHaveLength(1);
  });

  it("a 503 waits as long as Retry-After says; past the deadline it is given back at once", async () => {
    let calls = 0;
    const server = await serve((_request, response) => {
      if (++calls % 2 === 0) return void response.end("ok");
      response.writeHead(503, { "retry-after": "1" }).end();
    });
    const client = clientOf([server.address]);
    let startedAt = performance.now();
    expect((await client.fetch("/")).status).toBe(200);
    expect(performance.now() - startedAt).toBeGreaterThan(950);
    startedAt = performance.now();
    const reply = await client.fetch("/", { timeoutMs: 500 });
    expect(reply.status).toBe(503);
    expect(performance.now() - startedAt).toBeLessThan(100);
    reply.discard();
  });
});

describe("what a call inherits", () => {
  it("G7 over LC: x-mesh-timeout-ms shrinks from hop to hop", async () => {
    const last = await answering(OK);
    const inner = clientOf([last.address]);
    let received = 0;
    const middle = await serve((request, response) => {
      received = Number(request.headers["x-mesh-timeout-ms"]);
      const deadlineAt = performance.now() + received;
      void context.run(new ServedRequest({ deadlineAt }), async () => {
        await sleep(30);
        response.end(await (await inner.fetch("/")).text());
      });
    });
    await (await clientOf([middle.address]).fetch("/", { timeoutMs: 1_000 })).text();
    expect(received).toBeGreaterThan(900);
    expect(received).toBeLessThanOrEqual(1_000);
    const sent = Number(/x-mesh-timeout-ms: (\d+)/.exec(last.requests[0]!.head)![1]);
    expect(sent).toBeLessThanOrEqual(received - 40);
    expect(sent).toBeGreaterThan(received - 200);
  });

  it("a call on behalf of a retry is not retried itself", async () => {
    const peer = await peerOf(async (connection) => {
      await connection.readRequest();
      connection.rst();
    });
    const client = clientOf([peer.address]);
    const served = new ServedRequest({ attempt: 2 });
    await failureOf(context.run(served, () => client.fetch("/")));
    expect(peer.requests).toHaveLength(1);
    expect(counted(client.mesh, "inmesh.retry.decisions", { decision: "layer" })).toBe(1);
  });
});

describe("lifecycle", () => {
  afterEach(() => void vi.useRealTimers());

  const hanging = (): ReturnType<typeof peerOf> =>
    peerOf(async (connection) => {
      await connection.readRequest();
      await connection.hold();
    });

  it("L3 LC: close ends a hung call at grace, with shutdown; L2 LC: close is idempotent", async () => {
    const peer = await hanging();
    const mesh = meshOf({});
    const client = meshClient(`http://${peer.address}`, { mesh });
    const pending = failureOf(client.fetch("/"));
    await until(() => peer.requests.length === 1);
    const startedAt = performance.now();
    const closing = mesh.close(150);
    expect(mesh.close(5_000)).toBe(closing);
    await closing;
    const tookMs = performance.now() - startedAt;
    expect(tookMs).toBeGreaterThan(140);
    expect(tookMs).toBeLessThan(300);
    expect(await pending).toMatchObject({ code: "cancelled", reason: "shutdown" });
    await until(() => peer.open === 0);
    expect(mesh.snapshot().state).toBe("closed");
  });

  it("L3 LC: a call that ends in time ends well", async () => {
    const server = await serve(
      (_request, response) => void setTimeout(() => response.end("ok"), 50),
    );
    const client = clientOf([server.address]);
    const pending = client.fetch("/").then((reply) => reply.text());
    await sleep(20);
    await client.mesh.close(2_000);
    expect(await pending).toBe("ok");
  });

  it("L4 LC: await using closes the mesh and its connections", async () => {
    const peer = await answering(OK);
    {
      await using mesh = createMesh({ env: {} });
      await (await meshClient(`http://${peer.address}`, { mesh }).fetch("/")).text();
      expect(peer.open).toBe(1);
    }
    await until(() => peer.open === 0);
  });

  it("L5 LC: two meshes share nothing", async () => {
    const peer = await answering(OK);
    const [one, other] = [clientOf([peer.address]), clientOf([peer.address])];
    await (await one.fetch("/")).text();
    await one.mesh.close();
    expect(counted(other.mesh, "inmesh.calls")).toBe(0);
    expect(await (await other.fetch("/")).text()).toBe("ok");
    expect(counted(one.mesh, "inmesh.calls")).toBe(1);
  });

  it("L9 LC: a call after close, and close during connect or discovery, never hang", async () => {
    const peer = await answering(OK);
    const client = clientOf([peer.address]);
    await client.mesh.close();
    expect(await failureOf(client.fetch("/"))).toMatchObject({
      code: "closed",
      progress: "not-sent",
    });

    const connecting = clientOf([peer.address]);
    const early = connecting.fetch("/").then(
      (reply) => reply.text(),
      (error: unknown) => error,
    );
    await connecting.mesh.close(0);
    await early;
    // One handshake may have been under way; it is given up, and nothing dials again.
    await sleep(30);
    expect(peer.connections).toBeLessThanOrEqual(1);
    await until(() => peer.open === 0);

    const discovery = new TestDiscovery();
    const waiting = discovered(discovery);
    const pending = failureOf(waiting.fetch("/"));
    await waiting.mesh.close(20);
    expect(["closed", "cancelled"]).toContain((await pending).code);
    expect(discovery.stopped).toBe(true);
  });

  it("L11 LC: faked timers do not stop deadlines", async () => {
    const peer = await hanging();
    const client = clientOf([peer.address]);
    const realNow = performance.now.bind(performance);
    vi.useFakeTimers();
    const startedAt = realNow();
    const error = await failureOf(client.fetch("/", { timeoutMs: 100 }));
    expect(error.reason).toBe("call_deadline");
    expect(realNow() - startedAt).toBeLessThan(250);
    vi.useRealTimers();
  });

  it("P5: a process ends after its last reply, though nothing was closed", async () => {
    const server = await serve((_request, response) => void response.end("ok"));
    const child = spawn(process.execPath, [
      "--conditions=inmesh-source",
      join(import.meta.dirname, "fixtures/exits.ts"),
      `http://${server.address}`,
    ]);
    let out = "";
    child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (out += chunk.toString()));
    const [code] = (await once(child, "close")) as [number];
    expect(code).toBe(0);
    expect(out).toMatch(/^ok \d+$/);
    expect(Number(out.slice(3))).toBeLessThan(100);
  });
});

describe("discovery", () => {
  it("D1 LC: an error keeps the last good set", async () => {
    const peer = await answering(OK);
    const discovery = new TestDiscovery((sink) => sink.replace([infoOf(peer.address)]));
    const client = discovered(discovery);
    await (await client.fetch("/")).text();
    discovery.sink!.failed(new Error("SERVFAIL"));
    expect(await (await client.fetch("/")).text()).toBe("ok");
    expect(client.mesh.snapshot().services[0]!.discovery).toMatchObject({ state: "stale" });
  });

  it("D2 LC: an empty answer fails at once with no_endpoints", async () => {
    const client = discovered(new TestDiscovery((sink) => sink.replace([])));
    const startedAt = performance.now();
    const error = await failureOf(client.fetch("/"));
    expect(error).toMatchObject({
      code: "no_endpoint",
      reason: "no_endpoints",
      progress: "not-sent",
    });
    expect(performance.now() - startedAt).toBeLessThan(50);
  });

  it("D10 LC: an endpoint that comes and goes keeps its state; calls succeed", async () => {
    const [one, two] = [await answering(OK), await answering(OK)];
    const discovery = new TestDiscovery((sink) =>
      sink.replace([infoOf(one.address), infoOf(two.address)]),
    );
    const balancer = { kind: "round-robin" } as const;
    const client = discovered(discovery, { balancer });
    await (await client.fetch("/")).text();
    for (let i = 0; i < 60; i++) {
      if (i % 6 === 0) discovery.sink!.change([], [infoOf(two.address)]);
      if (i % 6 === 3) discovery.sink!.change([infoOf(two.address)], []);
      const reply = await client.fetch("/");
      expect(await reply.text()).toBe("ok");
      await sleep(1);
    }
    expect(two.requests.length).toBeGreaterThan(0);
    expect(two.connections).toBe(1);
    expect(counted(client.mesh, "inmesh.attempts", { outcome: "failure" })).toBe(0);
  });
});

describe("balancing", () => {
  const seeded = (servers: readonly Served[], input: ServiceInput = {}): MeshClient =>
    clientOf(
      servers.map(({ address }) => address),
      input,
      { runtime: new SeededRuntime(42) },
    );

  async function load(client: MeshClient, calls: number, width: number): Promise<number> {
    let left = calls;
    let errors = 0;
    const worker = async (): Promise<void> => {
      while (left-- > 0) {
        try {
          const reply = await client.fetch("/");
          if (!reply.ok) errors++;
          await reply.text();
        } catch {
          errors++;
        }
      }
    };
    await Promise.all(Array.from({ length: width }, worker));
    return errors;
  }

  const picksOf = (client: MeshClient, { address }: Served): number =>
    endpointsOf(client).find((endpoint) => endpoint.address === address)!.picks;

  const after =
    (ms: number, status = 200) =>
    (
      _request: IncomingMessage,
      response: { statusCode: number; end(text: string): unknown },
    ): void =>
      void setTimeout(() => {
        response.statusCode = status;
        response.end("x");
      }, ms);

  it("B2 LC: a slow endpoint of three is hardly picked once it is known", async () => {
    const slow = await serve(after(60));
    const fast = [await serve(after(4)), await serve(after(4))];
    const client = seeded([slow, ...fast]);
    await load(client, 60, 4);
    const before = picksOf(client, slow);
    expect(await load(client, 400, 4)).toBe(0);
    expect(picksOf(client, slow) - before).toBeLessThanOrEqual(20);
  });

  it("B3 LC: an endpoint that fails fast attracts nothing and is taken out", async () => {
    const bad = await serve(after(0, 500));
    const good = [await serve(after(3)), await serve(after(3))];
    const client = seeded([bad, ...good]);
    const errors = await load(client, 300, 4);
    expect(errors).toBeLessThanOrEqual(3);
    expect(picksOf(client, bad)).toBeLessThanOrEqual(15);
  });

  it("B17 LC: an endpoint that fails 30 % of its calls is taken out", async () => {
    let n = 0;
    const grey = await serve((request, response) =>
      after(3, n++ % 10 < 3 ? 500 : 200)(request, response),
    );
    const good = [await serve(after(3)), await serve(after(3))];
    const client = seeded([grey, ...good], { retry: { attempts: 1 } });
    expect(await load(client, 400, 4)).toBeLessThan(20);
    expect(picksOf(client, grey)).toBeLessThan(400 / 3);
  });

  it("B9 LC: 429 cools one endpoint without opening its breaker", async () => {
    const busy = await serve((_request, response) => {
      response.writeHead(429, { "retry-after": "5" }).end();
    });
    const free = await serve(after(1));
    const client = seeded([busy, free], { retry: { attempts: 1 } });
    const errors = await load(client, 100, 2);
    expect(errors).toBeLessThanOrEqual(4);
    const endpoint = endpointsOf(client).find(({ address }) => address === busy.address)!;
    expect(endpoint.breaker.state).toBe("closed");
    expect(endpoint.busyForMs).toBeGreaterThan(3_000);
  });

  it("B10 LC: 10^4 distinct paths and many statuses add no series", async () => {
    let n = 0;
    const server = await serve((_request, response) => {
      response.statusCode = 200 + (n++ % 200);
      response.end();
    });
    const client = clientOf([server.address]);
    const send = async (from: number, to: number): Promise<void> => {
      for (let i = from; i < to; i += 20) {
        await Promise.all(
          Array.from({ length: 20 }, async (_, k) => (await client.fetch(`/p${i + k}`)).text()),
        );
      }
    };
    await send(0, 400);
    const before = client.mesh.metrics().length;
    await send(400, 10_000);
    expect(client.mesh.metrics().length).toBe(before);
  });

  it("B11 LC: 10^4 calls with their own signal and context: no warning, the context is the caller's", async () => {
    const warnings: Error[] = [];
    const warned = (warning: Error): number => warnings.push(warning);
    process.on("warning", warned);
    const server = await serve((_request, response) => void response.end("ok"));
    const client = clientOf([server.address]);
    const store = new AsyncLocalStorage<number>();
    let wrong = 0;
    const one = async (id: number): Promise<void> => {
      const { body } = await client.fetch("/", { signal: new AbortController().signal });
      if (store.getStore() !== id) wrong++;
      await new Promise<void>((resolve) => {
        body.on("data", () => store.getStore() !== id && wrong++);
        body.on("end", () => {
          if (store.getStore() !== id) wrong++;
          resolve();
        });
      });
    };
    for (let i = 0; i < 10_000; i += 40) {
      await Promise.all(Array.from({ length: 40 }, (_, k) => store.run(i + k, one, i + k)));
    }
    const { signal } = new AbortController();
    await Promise.all(
      Array.from({ length: 10 }, async () => (await client.fetch("/", { signal })).text()),
    );
    process.off("warning", warned);
    expect(wrong).toBe(0);
    expect(warnings).toEqual([]);
  });
});
