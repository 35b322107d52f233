/** What fetch and the dispatcher give to the application beside the bytes: settings, streams, globals. */
import { AsyncLocalStorage } from "node:async_hooks";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { createServer } from "node:net";
import { once } from "node:events";
import { PassThrough, type Duplex } from "node:stream";
import { text } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { meshClient, type HttpMesh } from "@inmesh/http";
import { Request as UndiciRequest } from "undici";
import { describe, expect, it, onTestFinished } from "vitest";
import { doorsOf, Recorded } from "./support/doors.ts";
import { OK, peerOf, serve, until } from "./wire.ts";

const sri = (body: string): string =>
  `sha256-${createHash("sha256").update(body).digest("base64")}`;

/** A Request of a copy of undici that is not installed here. */
function otherRequest(url: string, init: object): object {
  const known = new UndiciRequest(url, init);
  const names = Object.getOwnPropertyNames(UndiciRequest.prototype);
  const other = { [Symbol.toStringTag]: "Request" };
  for (const name of names) {
    const value = Reflect.get(known, name) as unknown;
    if (typeof value !== "function") Object.defineProperty(other, name, { value });
  }
  return other;
}

describe("R26 LC: foreign Request, and clones of a reply", () => {
  const makers: Record<string, (url: string, init: object) => any> = {
    "the built-in one": (url, init) => new Request(url, init),
    "undici's own": (url, init) => new UndiciRequest(url, init),
    "another copy's": otherRequest,
  };

  it("R26 LC: every setting of a Request counts, of whichever fetch it is", async () => {
    const bodies: string[] = [];
    const { address } = await serve(async (incoming, outgoing) => {
      if (incoming.url === "/moved") return void outgoing.writeHead(302, { location: "/" }).end();
      bodies.push(`${incoming.method} ${incoming.headers["x-own"]} ${await text(incoming)}`);
      if (incoming.url === "/slow") return;
      outgoing.setHeader("x-referer", String(incoming.headers["referer"]));
      outgoing.setHeader("x-cache", String(incoming.headers["cache-control"]));
      outgoing.end("whole");
    });
    const mesh = doorsOf([address]);
    const base = "http://orders";
    for (const [name, make] of Object.entries(makers)) {
      const ask = (path: string, init: object = {}): Promise<any> =>
        mesh.fetch(make(`${base}${path}`, init)) as Promise<any>;
      expect(await (await ask("/", { integrity: sri("whole") })).text(), name).toBe("whole");
      await expect(ask("/", { integrity: sri("other") }), name).rejects.toThrow();
      await expect(ask("/moved", { redirect: "error" }), name).rejects.toThrow();
      expect((await ask("/moved", { redirect: "manual" })).status, name).toBe(302);
      expect((await ask("/moved")).redirected, name).toBe(true);
      const cancel = new AbortController();
      const slow = ask("/slow", { signal: cancel.signal });
      cancel.abort(new Error("mine"));
      await expect(slow, name).rejects.toThrow("mine");
      const recorded = await ask("/", {
        referrer: `${base}/from`,
        referrerPolicy: "unsafe-url",
        cache: "no-cache",
        keepalive: true,
      });
      // undici forgets the referrer of a Request of its own, with or without a mesh.
      const referrer = name === "undici's own" ? "undefined" : `${base}/from`;
      expect(recorded.headers.get("x-referer"), name).toBe(referrer);
      expect(recorded.headers.get("x-cache"), name).toBe("max-age=0");
      bodies.length = 0;
      const sent = { method: "POST", body: "sent", headers: { "x-own": "1" } };
      await (await ask("/", sent)).text();
      // An init goes before the Request.
      const request = make(`${base}/`, sent);
      await (await mesh.fetch(request, { method: "PUT", body: "other" })).text();
      expect(bodies, name).toEqual(["POST 1 sent", "PUT 1 other"]);
    }
  });

  it("R26 LC: a clone of a decoded reply is as much a reply as the first", async () => {
    const { address } = await serve((incoming, outgoing) => {
      if (incoming.url === "/moved") return void outgoing.writeHead(302, { location: "/" }).end();
      outgoing.writeHead(206, "Some", { "content-encoding": "gzip", "x-own": "1" });
      outgoing.end(gzipSync("whole"));
    });
    const mesh = doorsOf([address]);
    const reply = await mesh.fetch("http://orders/moved");
    const first = reply.clone();
    for (const one of [first, first.clone(), reply]) {
      const { url, redirected, type, status, statusText, ok } = one;
      expect({ url, redirected, type, status, statusText, ok }).toEqual({
        url: "http://orders/",
        redirected: true,
        type: reply.type,
        status: 206,
        statusText: "Some",
        ok: true,
      });
      expect(one.headers.get("x-own")).toBe("1");
      expect(await one.text()).toBe("whole");
    }
  });
});

describe("R39 LC: what a dispatcher's handler and body streams receive", () => {
  it("R39 LC: raw trailers are as they were sent", async () => {
    const peer = await peerOf(async (connection) => {
      await connection.readRequest();
      const head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: X-Sum\r\n\r\n";
      await connection.write(`${head}2\r\nok\r\n0\r\nX-Sum: 1\r\nx-SUM: 2\r\n\r\n`);
    });
    const recorded = new Recorded(doorsOf([peer.address]).dispatcher, {});
    expect(await recorded.over).toBeUndefined();
    expect(recorded.trailers).toEqual({ "x-sum": ["1", "2"] });
    const raw = recorded.controller!.rawTrailers as Buffer[];
    expect(raw.map(String)).toEqual(["X-Sum", "1", "x-SUM", "2"]);
  });

  /** What a stream says of its end. */
  function storyOf(stream: Duplex): string[] {
    const story: string[] = [];
    stream.on("error", (error: Error & { code?: string }) =>
      story.push(`error ${error.code ?? error.message}`),
    );
    stream.on("close", () => story.push("close"));
    return story;
  }

  function upload(): { body: PassThrough; story: string[] } {
    const body = new PassThrough();
    body.write("x");
    return { body, story: storyOf(body) };
  }

  it("R39 LC: a body that is sent gets the error that ended its request", async () => {
    const reset = await peerOf(async (connection) => {
      await connection.readHead();
      await connection.pause(20);
      connection.rst();
    });
    const silent = createServer((socket) => socket.on("error", () => {}).resume());
    silent.listen(0, "127.0.0.1");
    await once(silent, "listening");
    onTestFinished(() => void silent.close());
    const quiet = `127.0.0.1:${(silent.address() as { port: number }).port}`;
    const abort = (): AbortSignal => {
      const cancel = new AbortController();
      setTimeout(() => cancel.abort(new Error("mine")), 50);
      return cancel.signal;
    };
    for (const http2 of [false, true]) {
      const cases: [string, HttpMesh, object, string][] = [
        ["aborted", doorsOf([quiet], { http2 }), { signal: abort() }, "mine"],
        ["deadline", doorsOf([quiet], { timeouts: { request: "100ms" } }), {}, "deadline_exceeded"],
      ];
      if (!http2) cases.push(["reset", doorsOf([reset.address]), {}, "connection_lost"]);
      for (const [name, mesh, options, error] of cases) {
        const { body, story } = upload();
        const sent = mesh.dispatcher.request({
          origin: "http://orders",
          path: "/",
          method: "POST",
          body,
          ...options,
        });
        await expect(sent, name).rejects.toBeDefined();
        await until(() => story.includes("close"));
        expect(story, `${name} ${http2 ? 2 : 1}`).toEqual([`error ${error}`, "close"]);
      }
    }
    // Also without a listener, and for the client of the mesh.
    const body = new PassThrough();
    body.write("x");
    const client = meshClient("orders", { mesh: doorsOf([quiet]) });
    await expect(client.fetch("/", { method: "POST", body, timeoutMs: 80 })).rejects.toMatchObject({
      code: "deadline_exceeded",
    });
    await until(() => body.closed);
    expect(body.errored).toMatchObject({ code: "deadline_exceeded" });
  });

  it("R39 LC: a socket that was upgraded gets the error of the handler that gave it up", async () => {
    const peer = await peerOf(async (connection) => {
      await connection.readRequest();
      await connection.write("HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
    });
    const mesh = doorsOf([peer.address]);
    for (const listens of [true, false]) {
      let story: string[] = [];
      let socket!: Duplex;
      const recorded = new Recorded(
        mesh.dispatcher,
        { upgrade: "echo" },
        {
          onRequestUpgrade: (_controller, _status, _headers, given) => {
            socket = given as Duplex;
            if (listens) story = storyOf(socket);
            throw new Error("mine");
          },
        },
      );
      expect(await recorded.over).toMatchObject({ message: "mine" });
      await until(() => socket.closed && (!listens || story.includes("close")));
      expect(story).toEqual(listens ? ["error mine", "close"] : []);
    }
  });

  it("R39 LC: plain headers are no list because all objects were made iterable", async () => {
    const { address } = await serve((incoming, outgoing) =>
      outgoing.end(incoming.headers["x-own"]),
    );
    const mesh = doorsOf([address]);
    const client = meshClient("orders", { mesh });
    const headers = { "x-own": "kept" };
    const objects = Object.prototype as unknown as Record<symbol, unknown>;
    objects[Symbol.iterator] = function* () {};
    let asked: Promise<{ text(): Promise<string> }>;
    let recorded: Recorded;
    try {
      asked = client.fetch("/", { headers });
      recorded = new Recorded(mesh.dispatcher, { headers });
    } finally {
      delete objects[Symbol.iterator];
    }
    expect(await (await asked).text()).toBe("kept");
    await recorded.over;
    expect(recorded.text).toBe("kept");
    const pairs = await client.fetch("/", { headers: new Map([["x-own", "pairs"]]) });
    expect(await pairs.text()).toBe("pairs");
  });
});

describe("R24 LC: events of a pooled connection in a caller's context, by the other doors", () => {
  it("R24 LC: an error on a connection is not emitted in the context of the call that opened it", async () => {
    const store = new AsyncLocalStorage<string>();
    const peer = await peerOf(async (connection) => {
      await connection.readRequest();
      await connection.write(OK);
      await connection.readRequest();
      await connection.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
      await connection.pause(30);
      connection.rst();
    });
    const mesh = doorsOf([peer.address], { limits: { maxConnectionsPerEndpoint: 1 } });
    await store.run("first", () => new Recorded(mesh.dispatcher, {}).over);
    const seen: unknown[] = [];
    const recorded = store.run(
      "second",
      () =>
        new Recorded(
          mesh.dispatcher,
          {},
          {
            onResponseData: () => seen.push(store.getStore()),
            onResponseError: () => seen.push(store.getStore()),
          },
        ),
    );
    expect(await recorded.over).toBeDefined();
    expect(peer.connections).toBe(1);
    expect(seen.length).toBeGreaterThan(1);
    expect(seen).not.toContain("first");
  });
});

describe("R40 LC: global names left by an import", () => {
  it("R40 LC: createMesh with a configuration, and every door, leave no name behind", () => {
    const script = `
      void [fetch, Request, Response, WebSocket, navigator].length;
      const names = () => Object.getOwnPropertyNames(globalThis).sort().join();
      const before = names();
      const { createMesh, meshClient } = await import("@inmesh/http");
      const mesh = createMesh({ env: {}, config: { services: { orders: { url: "http://127.0.0.1:1" } } } });
      await meshClient("orders", { mesh }).fetch("/").catch(() => {});
      await mesh.fetch("http://orders/").catch(() => {});
      mesh.installGlobal()();
      mesh.agent();
      const after = names();
      const { z } = await import("zod");
      z.object({ a: z.string() }).parse({ a: "1" });
      mesh.update({ services: { orders: { url: "http://127.0.0.1:2" } } });
      await mesh.close();
      console.log(JSON.stringify([before === after, Object.hasOwn(globalThis, "__zod_globalConfig")]));
    `;
    const args = ["--conditions=inmesh-source", "--input-type=module", "-e", script];
    const said = execFileSync(process.execPath, args, { cwd: import.meta.dirname });
    expect(JSON.parse(String(said))).toEqual([true, true]);
  });
});
