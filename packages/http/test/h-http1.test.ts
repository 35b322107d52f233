/** faults.md section H for the client: HTTP/1 semantics on real sockets. */
import { spawn } from "node:child_process";
import { getEventListeners, once } from "node:events";
import { join } from "node:path";
import { Readable } from "node:stream";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { gzipSync } from "node:zlib";
import type { RequestBody } from "@inmesh/http";
import { Client } from "undici";
import { describe, expect, it, onTestFinished } from "vitest";
import { discovered, TestDiscovery } from "./support/discovery.ts";
import { AHEAD_BYTES } from "./support/kernel.ts";
import {
  answering,
  clientOf,
  counted,
  endpointsOf,
  failureOf,
  peerOf,
  rejectionOf,
  serve,
  sleep,
  until,
  OK,
} from "./wire.ts";
import { freeAddress } from "../../../scripts/free-port.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

const ONCE = { retry: { attempts: 1 } };

async function* pieces(count: number, piece: Uint8Array, pauseMs = 0): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < count; i++) {
    if (pauseMs > 0) await sleep(pauseMs);
    yield piece;
  }
}

describe("H1 LC: a final reply while the upload still runs", () => {
  for (const status of [413, 401]) {
    it(`H1 LC: ${status} is delivered, the producer stops, the connection is not reused`, async () => {
      const peer = await peerOf(async (connection) => {
        await connection.readHead();
        await connection.readBytes(1_000);
        await connection.write(`HTTP/1.1 ${status} No\r\ncontent-length: 2\r\n\r\nno`);
        await connection.pause(50);
        connection.rst();
      });
      const client = clientOf([peer.address]);
      let produced = 0;
      let stopped = false;
      async function* upload(): AsyncGenerator<Uint8Array> {
        try {
          for (; produced < 10_000; produced++) {
            await sleep(1);
            yield new Uint8Array(1_000);
          }
        } finally {
          stopped = true;
        }
      }
      const reply = await client.fetch("/", { method: "POST", body: upload() });
      expect(reply.status).toBe(status);
      expect(await reply.text()).toBe("no");
      await until(() => stopped);
      expect(produced).toBeLessThan(1_000);
      const next = await client.fetch("/", { method: "POST", body: "x".repeat(2_000) });
      expect(next.status).toBe(status);
      next.discard();
      expect(peer.connections).toBe(2);
    });
  }
});

describe("H2 LC: the caller leaves", () => {
  it("H2 LC: in the middle of its upload: the server sees it within 100 ms, and no endpoint is charged", async () => {
    let began = false;
    let closed = false;
    const server = await serve((request) => {
      request.on("data", () => (began = true));
      request.on("error", () => {});
      request.on("close", () => (closed = true));
    });
    const client = clientOf([server.address]);
    const caller = new AbortController();
    const body = pieces(1_000, new Uint8Array(100), 5);
    const ended = rejectionOf(client.fetch("/", { method: "POST", body, signal: caller.signal }));
    await until(() => began);
    caller.abort("left");
    expect(await ended).toBe("left");
    expect(await until(() => closed)).toBeLessThan(100);
    expect(endpointsOf(client)[0]).toMatchObject({
      inFlight: 0,
      breaker: { consecutiveFailures: 0 },
    });
    expect(counted(client.mesh, "inmesh.attempts", { outcome: "abandoned" })).toBe(1);
  });

  for (const way of ["signal", "destroy", "discard", "web cancel"]) {
    it(`H2 LC: in the middle of its download (${way}): within 100 ms, not charged`, async () => {
      let closed = false;
      const server = await serve((_request, response) => {
        const timer = setInterval(() => response.write(Buffer.alloc(50_000)), 2);
        response.on("close", () => {
          closed = true;
          clearInterval(timer);
        });
      });
      const client = clientOf([server.address]);
      const caller = new AbortController();
      const reply = await client.fetch("/", { signal: caller.signal });
      if (way === "discard") reply.discard();
      else if (way === "web cancel") await reply.webBody.cancel();
      else {
        const body = reply.body;
        const error = new Promise((resolve) => body.on("error", resolve));
        body.resume();
        await sleep(10);
        if (way === "destroy") body.destroy();
        else {
          const reason = new Error("left");
          caller.abort(reason);
          expect(await error).toBe(reason);
        }
      }
      expect(await until(() => closed)).toBeLessThan(100);
      expect(endpointsOf(client)[0]).toMatchObject({
        inFlight: 0,
        breaker: { state: "closed", consecutiveFailures: 0 },
      });
      expect(client.mesh.snapshot().services[0]!.callsInFlight).toBe(0);
    });
  }
});

it("H3 LC: an expect header is refused before anything is sent: undici does not offer it", async () => {
  const peer = await answering(OK);
  const client = clientOf([peer.address]);
  const error = await failureOf(
    client.fetch("/", { method: "PUT", body: "x", headers: { expect: "100-continue" } }),
  );
  expect(error).toMatchObject({ code: "bad_request", reason: "bad_header", progress: "not-sent" });
  expect(peer.requests).toHaveLength(0);
  expect(endpointsOf(client)[0]!.breaker.consecutiveFailures).toBe(0);
});

describe("H4 LC: interim replies", () => {
  for (const [name, interim] of [
    ["an unsolicited 100", "HTTP/1.1 100 Continue\r\n\r\n"],
    ["an unsolicited 101", "HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"],
    ["33 times 103", "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(33)],
  ] as const) {
    it(`H4 LC: ${name} fails with unexpected_1xx`, async () => {
      const peer = await answering(interim + OK);
      const client = clientOf([peer.address], ONCE);
      const error = await failureOf(client.fetch("/"));
      expect(error).toMatchObject({ code: "bad_response", reason: "unexpected_1xx" });
      expect(counted(client.mesh, "inmesh.attempts", { outcome: "failure" })).toBe(1);
    });
  }

  for (const interim of ["102 Processing", "103 Early Hints"]) {
    it(`H4 LC: ${interim} is not taken for the reply`, async () => {
      const peer = await answering(`HTTP/1.1 ${interim}\r\nlink: </a>\r\n\r\n`.repeat(3) + OK);
      const reply = await clientOf([peer.address]).fetch("/");
      expect(reply.status).toBe(200);
      expect(reply.headers.get("link")).toBeUndefined();
      expect(await reply.text()).toBe("ok");
    });
  }
});

describe("H5 LC: replies without a body", () => {
  for (const [method, status, framing] of [
    ["HEAD", 200, "content-length: 5"],
    ["HEAD", 200, "transfer-encoding: chunked"],
    ["GET", 204, "content-length: 5"],
    ["GET", 205, "content-length: 0"],
    ["GET", 304, "content-length: 5"],
  ] as const) {
    it(`H5 LC: ${method} ${status} with ${framing}: no body read, the field kept`, async () => {
      const peer = await answering(`HTTP/1.1 ${status} X\r\n${framing}\r\n\r\n`);
      const client = clientOf([peer.address], { timeouts: { requestMs: 2_000 } });
      for (let i = 0; i < 2; i++) {
        const reply = await client.fetch("/", { method });
        expect(reply.status).toBe(status);
        const [name, value] = framing.split(": ");
        expect(reply.headers.get(name!)).toBe(value);
        expect(await reply.text()).toBe("");
      }
      expect(counted(client.mesh, "inmesh.attempts")).toBe(2);
    });
  }

  for (const [method, status] of [
    ["HEAD", 200],
    ["GET", 204],
    ["GET", 304],
  ] as const) {
    it(`H5 LC: ${method} ${status} with stray bytes: dropped, the next call has its own answer`, async () => {
      const peer = await peerOf(async (connection) => {
        await connection.readRequest();
        if (connection.number === 1) {
          await connection.write(`HTTP/1.1 ${status} X\r\ncontent-length: 5\r\n\r\nstray`);
        } else await connection.write(OK);
      });
      const client = clientOf([peer.address], { timeouts: { requestMs: 2_000 } });
      const first = await client.fetch("/", { method });
      expect(first.status).toBe(status);
      await first.text().catch(() => "");
      await sleep(10);
      const next = await client.fetch("/");
      expect(await next.text()).toBe("ok");
      expect(peer.connections).toBe(2);
    });
  }
});

it("H6 LC: trailers are delivered, forbidden ones dropped", async () => {
  const trailers =
    "x-sum: 7\r\nAuthorization: canary\r\nhost: evil\r\nset-cookie: a=1\r\nx-mesh-nack: 1\r\n";
  const peer = await answering(
    `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\n${trailers}\r\n`,
  );
  const reply = await clientOf([peer.address]).fetch("/");
  expect(await reply.text()).toBe("ok");
  expect([...reply.trailers!]).toEqual([["x-sum", "7"]]);
});

it("H6 LC: framing in trailers is a malformed_response", async () => {
  const peer = await answering(
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\ncontent-length: 9\r\n\r\n",
  );
  const client = clientOf([peer.address], ONCE);
  const error = await failureOf(client.fetch("/").then((reply) => reply.text()));
  expect(error).toMatchObject({ code: "bad_response", reason: "malformed_response" });
});

it("H7 LC: upgrade is not offered: refused before anything is sent", async () => {
  const peer = await answering(OK);
  const client = clientOf([peer.address]);
  const error = await failureOf(client.fetch("/", { headers: { upgrade: "websocket" } }));
  expect(error).toMatchObject({ code: "bad_request", reason: "bad_header", progress: "not-sent" });
  expect(peer.requests).toHaveLength(0);
  // `connection` is undici's own: what the application says in it is not sent.
  await (await client.fetch("/", { headers: { connection: "upgrade" } })).text();
  expect(peer.requests[0]!.head).not.toContain("upgrade");
});

describe("H9 LC: our own header block", () => {
  for (const [name, headers] of [
    ["a line break in a value", { "x-a": "1\r\nx-b: 2" }],
    ["a name that is no token", { "x a": "1" }],
    ["a second content-length", { "content-length": ["1", "2"] }],
    ["transfer-encoding", { "transfer-encoding": "chunked" }],
  ] as const) {
    it(`H9 LC: ${name} is refused before anything is sent`, async () => {
      const peer = await answering(OK);
      const client = clientOf([peer.address]);
      const error = await failureOf(client.fetch("/", { method: "POST", headers }));
      expect(error).toMatchObject({
        code: "bad_request",
        reason: "bad_header",
        progress: "not-sent",
      });
      expect(peer.requests).toHaveLength(0);
    });
  }

  it("H9 LC: a target with a blank or a line break is refused", async () => {
    const peer = await answering(OK);
    const client = clientOf([peer.address]);
    for (const path of ["/a b", "/a\r\nx: y", "a", "http://other/"]) {
      const error = await failureOf(client.fetch(path));
      expect(error).toMatchObject({
        code: "bad_request",
        reason: "bad_target",
        progress: "not-sent",
      });
    }
    expect(peer.requests).toHaveLength(0);
  });

  it("H9 LC: target and headers at the limit are sent, one byte more is refused here", async () => {
    const peer = await answering(OK);
    const client = clientOf([peer.address], { limits: { maxRequestHeaderBytes: 2_000 } });
    // The path, then name and value with two bytes each for separators.
    const fits = { "x-big": "b".repeat(2_000 - 1 - 5 - 4) };
    const reply = await client.fetch("/", { headers: fits });
    await reply.bytes();
    for (const [path, headers] of [
      ["/?", fits],
      ["/", { "x-big": `${fits["x-big"]}b` }],
      [`/${"p".repeat(100_000)}`, {}],
    ] as const) {
      const error = await failureOf(client.fetch(path, { headers }));
      expect(error).toMatchObject({
        code: "bad_request",
        reason: "header_too_large",
        progress: "not-sent",
        attempts: 1,
      });
    }
    expect(peer.requests).toHaveLength(1);
  });

  it("H9 LC: with a higher limit size is the server's to judge, and its 431 comes back", async () => {
    const server = await serve((_request, response) => response.end("ok"));
    const client = clientOf([server.address], { limits: { maxRequestHeaderBytes: 65_536 } });
    const reply = await client.fetch("/", { headers: { "x-big": "b".repeat(40_000) } });
    expect(reply.status).toBe(431);
    reply.discard();
  });
});

it("H11 LC: an HTTP/1.0 connection is reused only if the reply says so", async () => {
  for (const [field, connections] of [
    ["", 2],
    ["connection: keep-alive\r\n", 1],
  ] as const) {
    const peer = await answering(`HTTP/1.0 200 OK\r\n${field}content-length: 2\r\n\r\nok`);
    const client = clientOf([peer.address]);
    for (let i = 0; i < 2; i++) {
      expect(await (await client.fetch("/")).text()).toBe("ok");
      await sleep(5);
    }
    expect(peer.connections).toBe(connections);
  }
});

describe("H12 LC: backpressure", () => {
  const MIB = 1_048_576;
  const PIECE = Buffer.alloc(65_536, 7);
  const PIECES = (128 * MIB) / PIECE.length;

  it("H12 LC: 128 MiB up into a slow sink: the source waits, memory stays", async () => {
    const sink = spawn(process.execPath, [join(import.meta.dirname, "fixtures/slow-sink.ts")]);
    onTestFinished(() => void sink.kill());
    const [line] = (await once(sink.stdout, "data")) as [Buffer];
    let produced = 0;
    function* source(count: number): Generator<Uint8Array> {
      for (; produced < count; produced++) yield PIECE;
    }
    const client = clientOf([line.toString().trim()], { timeouts: { requestMs: 20_000 } });
    const send = async (count: number): Promise<void> => {
      produced = 0;
      const body = Readable.from(source(count));
      const pending = client.fetch("/", { method: "POST", body });
      await sleep(150);
      expect(produced * PIECE.length).toBeLessThan(AHEAD_BYTES);
      expect(await (await pending).text()).toBe(String(count * PIECE.length));
    };
    await send(PIECES / 4); // fills the allocator's pools
    const before = process.memoryUsage().rss;
    await send(PIECES);
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * MIB);
  });

  it("H12 LC: 128 MiB down into a slow sink: the server waits, memory stays", async () => {
    let produced = 0;
    function* source(): Generator<Uint8Array> {
      for (; produced < PIECES; produced++) yield PIECE;
    }
    const server = await serve((_request, response) => {
      Readable.from(source()).pipe(response);
    });
    collectGarbage();
    const before = process.memoryUsage().rss;
    const client = clientOf([server.address], { timeouts: { requestMs: 20_000 } });
    const { body } = await client.fetch("/");
    await sleep(300);
    expect(produced * PIECE.length).toBeLessThan(AHEAD_BYTES);
    let received = 0;
    let nextLook = 0;
    let peak = 0;
    for await (const chunk of body) {
      received += (chunk as Buffer).length;
      if (received < nextLook) continue;
      // Garbage is the collector's to time; what counts is what is held.
      nextLook += 16 * MIB;
      collectGarbage();
      peak = Math.max(peak, process.memoryUsage().rss);
    }
    expect(received).toBe(128 * MIB);
    expect(peak - before).toBeLessThan(64 * MIB);
  });

  it("H12 LC: chunks of one byte arrive whole and in order", async () => {
    const text = Array.from({ length: 2_000 }, (_, i) => String.fromCharCode(97 + (i % 26))).join(
      "",
    );
    const chunks = [...text].map((byte) => `1\r\n${byte}\r\n`).join("");
    const peer = await answering(
      `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${chunks}0\r\n\r\n`,
    );
    expect(await (await clientOf([peer.address]).fetch("/")).text()).toBe(text);
  });
});

describe("H13 LC: length and body disagree", () => {
  for (const [name, length, count] of [
    ["short", "10", 1],
    ["long", "3", 3],
  ] as const) {
    it(`H13 LC: a request ${name} of its length fails as bad_body and is never padded`, async () => {
      const peer = await answering(OK);
      const client = clientOf([peer.address], { timeouts: { requestMs: 2_000 } });
      const error = await failureOf(
        client.fetch("/", {
          method: "PUT",
          headers: { "content-length": length },
          body: pieces(count, Buffer.from("abcd")),
        }),
      );
      expect(error).toMatchObject({ code: "bad_request", reason: "bad_body" });
      expect(endpointsOf(client)[0]!.breaker.consecutiveFailures).toBe(0);
      await until(() => peer.open === 0);
    });
  }

  it("H13 LC: a text that is not as long as its header says is refused", async () => {
    const peer = await answering(OK);
    const client = clientOf([peer.address]);
    const headers = { "content-length": "10" };
    const error = await failureOf(client.fetch("/", { method: "PUT", headers, body: "abc" }));
    expect(error).toMatchObject({ code: "bad_request", reason: "bad_body" });
    expect(peer.requests).toHaveLength(0);
  });

  it("H13 LC: a reply cut short of its length fails in the body and is not retried", async () => {
    const peer = await answering("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", "fin");
    const client = clientOf([peer.address]);
    const reply = await client.fetch("/");
    const error = await failureOf(reply.text());
    expect(["reset_mid_response", "content_length_mismatch"]).toContain(error.reason);
    expect(peer.requests).toHaveLength(1);
    expect(counted(client.mesh, "inmesh.attempts", { outcome: "failure" })).toBe(1);
  });

  it("H13 LC: a reply longer than its length: the surplus reaches no caller", async () => {
    const peer = await peerOf(async (connection) => {
      await connection.readRequest();
      await connection.write(`${OK}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil`);
      await connection.hold();
    });
    const client = clientOf([peer.address]);
    for (let i = 0; i < 3; i++) {
      expect(await (await client.fetch("/")).text()).toBe("ok");
      await sleep(5);
    }
    expect(peer.connections).toBe(3);
  });
});

describe("H14 LC: contradicting framing", () => {
  // undici adds up two lengths and compares, so those two have the other reason.
  for (const [name, framing, reason] of [
    ["two lengths", "content-length: 2\r\ncontent-length: 3", "content_length_mismatch"],
    [
      "length and chunked",
      "content-length: 2\r\ntransfer-encoding: chunked",
      "content_length_mismatch",
    ],
    ["chunked twice", "transfer-encoding: chunked, chunked", "malformed_response"],
    ["a negative length", "content-length: -1", "malformed_response"],
    ["a length in words", "content-length: two", "malformed_response"],
    ["a bare LF", "a: 1\nb: 2\r\ncontent-length: 2", "malformed_response"],
    ["a folded line", "a: 1\r\n b\r\ncontent-length: 2", "malformed_response"],
    ["a space before a colon", "content-length : 2", "malformed_response"],
  ] as const) {
    it(`H14 LC: ${name} is a bad_response`, async () => {
      const peer = await answering(`HTTP/1.1 200 OK\r\n${framing}\r\n\r\nok`);
      const client = clientOf([peer.address], { ...ONCE, timeouts: { requestMs: 1_000 } });
      const error = await failureOf(client.fetch("/").then((reply) => reply.text()));
      expect(error).toMatchObject({ code: "bad_response", reason });
    });
  }
});

it("H15 LC: a connection with `connection: close` finishes and is replaced quietly", async () => {
  const peer = await answering(
    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
  );
  const client = clientOf([peer.address]);
  for (let i = 0; i < 3; i++) expect(await (await client.fetch("/")).text()).toBe("ok");
  expect(peer.connections).toBe(3);
  expect(counted(client.mesh, "inmesh.attempts", { outcome: "success" })).toBe(3);
});

it("H17 LC: content-encoding is never decoded", async () => {
  const zipped = gzipSync("x".repeat(10_000));
  const server = await serve((_request, response) => {
    response.setHeader("content-encoding", "gzip");
    response.end(zipped);
  });
  const reply = await clientOf([server.address]).fetch("/");
  expect(reply.headers.get("content-encoding")).toBe("gzip");
  expect(Buffer.from(await reply.bytes()).equals(zipped)).toBe(true);
});

describe("H18 LC: bodies that are consumed as they are sent", () => {
  const bodies: Record<string, () => RequestBody> = {
    "Node stream": () => Readable.from([Buffer.from("ab"), Buffer.from("cd")]),
    "async generator": () => pieces(2, Buffer.from("ab")),
    "web stream": () => new Blob(["abab"]).stream(),
  };
  for (const [name, body] of Object.entries(bodies)) {
    it(`H18 LC: a ${name} is not sent twice once it was begun`, async () => {
      const peer = await peerOf(async (connection) => {
        await connection.readRequest();
        connection.rst();
      });
      const client = clientOf([peer.address, peer.address.replace("127.0.0.1", "localhost")]);
      const error = await failureOf(client.fetch("/", { method: "PUT", body: body() }));
      expect(error).toMatchObject({ code: "connection_lost", reason: "reset_before_response" });
      expect(peer.requests).toHaveLength(1);
      const labels = { decision: "not_replayable" };
      expect(counted(client.mesh, "inmesh.retry.decisions", labels)).toBe(1);
    });

    it(`H18 LC: a ${name} is sent whole elsewhere when the first connection was refused`, async () => {
      const peer = await answering(OK);
      const refused = await freeAddress();
      let resent = 0;
      for (let i = 0; i < 12; i++) {
        const client = clientOf([peer.address, refused]);
        const reply = await client.fetch("/", { method: "POST", body: body() });
        if (reply.mesh.attempts > 1) resent++;
        expect(await reply.text()).toBe("ok");
      }
      expect(resent).toBeGreaterThan(0);
      expect(peer.requests.map((request) => request.body.length)).toEqual(Array(12).fill(4));
    });
  }

  it("H18 LC: 65 KiB of text are sent again", async () => {
    const peer = await peerOf(async (connection) => {
      await connection.readRequest();
      if (connection.number === 1) connection.rst();
      else await connection.write(OK);
    });
    const client = clientOf([peer.address]);
    const reply = await client.fetch("/", { method: "PUT", body: "y".repeat(66_560) });
    expect(await reply.text()).toBe("ok");
    expect(peer.requests.map((request) => request.body.length)).toEqual([66_560, 66_560]);
  });
});

it("H19 LC: a redirect is returned, not followed", async () => {
  const peer = await answering(
    "HTTP/1.1 302 Found\r\nlocation: http://example.invalid/\r\ncontent-length: 0\r\n\r\n",
  );
  const reply = await clientOf([peer.address]).fetch("/");
  expect(reply.status).toBe(302);
  expect(reply.headers.get("location")).toBe("http://example.invalid/");
  await reply.text();
  expect(peer.requests).toHaveLength(1);
});

describe("H20 LC: abort", () => {
  const listeners = (signal: AbortSignal): number => getEventListeners(signal, "abort").length;

  /** Microtask turns between the abort and the rejection, measured by a macrotask that must come later. */
  async function abortedInTurn(
    caller: AbortController,
    pending: Promise<unknown>,
    reason: unknown,
  ): Promise<void> {
    const order: string[] = [];
    const caught = rejectionOf(pending).then((error) => {
      order.push("rejected");
      return error;
    });
    const later = new Promise<void>((resolve) =>
      setImmediate(() => {
        order.push("immediate");
        resolve();
      }),
    );
    caller.abort(reason);
    expect(await caught).toBe(reason);
    await later;
    expect(order).toEqual(["rejected", "immediate"]);
    expect(listeners(caller.signal)).toBe(0);
  }

  it("H20 LC: already aborted: rejects with the reason, sends nothing", async () => {
    const peer = await answering(OK);
    const client = clientOf([peer.address]);
    const reason = new Error("never mind");
    const signal = AbortSignal.abort(reason);
    expect(await rejectionOf(client.fetch("/", { signal }))).toBe(reason);
    expect(listeners(signal)).toBe(0);
    await sleep(20);
    expect(peer.connections).toBe(0);
  });

  it("H20 LC: in the turn of the call, before anything was dispatched", async () => {
    const peer = await answering(OK);
    const client = clientOf([peer.address]);
    const caller = new AbortController();
    const pending = client.fetch("/", { signal: caller.signal });
    await abortedInTurn(caller, pending, new Error("early"));
    await sleep(20);
    expect(peer.requests).toHaveLength(0);
  });

  it("H20 LC: before the head of the reply", async () => {
    const peer = await peerOf(async (connection) => {
      await connection.readRequest();
      await connection.hold();
    });
    const client = clientOf([peer.address]);
    const caller = new AbortController();
    const pending = client.fetch("/", { signal: caller.signal });
    await until(() => peer.requests.length === 1);
    await abortedInTurn(caller, pending, { not: "an error" });
    expect(await until(() => peer.open === 0)).toBeLessThan(100);
  });

  it("H20 LC: while queued for a connection: not sent later, the one before it is unharmed", async () => {
    let answer = (): void => {};
    const peer = await peerOf(async (connection) => {
      for (;;) {
        await connection.readRequest();
        await new Promise<void>((resolve) => (answer = resolve));
        await connection.write(OK);
      }
    });
    const client = clientOf([peer.address], { limits: { maxConnectionsPerEndpoint: 1 } });
    const first = client.fetch("/first");
    await until(() => peer.requests.length === 1);
    const caller = new AbortController();
    const queued = client.fetch("/queued", { signal: caller.signal });
    await sleep(10);
    await abortedInTurn(caller, queued, new Error("no patience"));
    answer();
    expect(await (await first).text()).toBe("ok");
    await sleep(20);
    expect(peer.requests).toHaveLength(1);
    expect(endpointsOf(client)[0]).toMatchObject({
      inFlight: 0,
      breaker: { consecutiveFailures: 0 },
    });
  });

  it("H20 LC: while waiting for the first endpoints", async () => {
    const client = discovered(new TestDiscovery());
    const caller = new AbortController();
    const pending = client.fetch("/", { signal: caller.signal });
    await sleep(10);
    await abortedInTurn(caller, pending, new Error("no endpoints"));
  });

  it("H20 LC: in the pause before a retry", async () => {
    const peer = await answering(
      "HTTP/1.1 503 Busy\r\nretry-after: 5\r\ncontent-length: 0\r\n\r\n",
    );
    const client = clientOf([peer.address]);
    const caller = new AbortController();
    const pending = client.fetch("/", { signal: caller.signal });
    await until(() => peer.requests.length === 1);
    await sleep(20);
    await abortedInTurn(caller, pending, new Error("enough"));
  });

  it("H20 LC: after the head: the body rejects with the reason", async () => {
    const peer = await peerOf(async (connection) => {
      await connection.readRequest();
      await connection.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc");
      await connection.hold();
    });
    const client = clientOf([peer.address]);
    const caller = new AbortController();
    const reply = await client.fetch("/", { signal: caller.signal });
    expect(listeners(caller.signal)).toBe(1);
    await abortedInTurn(caller, reply.text(), new Error("seen enough"));
    expect(await until(() => peer.open === 0)).toBeLessThan(100);
  });

  it("H20 LC: after the end: nothing happens", async () => {
    const peer = await answering(OK);
    const client = clientOf([peer.address]);
    const caller = new AbortController();
    const reply = await client.fetch("/", { signal: caller.signal });
    const text = await reply.text();
    expect(listeners(caller.signal)).toBe(0);
    caller.abort();
    expect(text).toBe("ok");
    await sleep(5);
    expect(await (await client.fetch("/")).text()).toBe("ok");
    expect(peer.connections).toBe(1);
  });

  it("H20 LC: AbortSignal.timeout rejects with its TimeoutError", async () => {
    const peer = await peerOf(async (connection) => {
      await connection.readRequest();
      await connection.hold();
    });
    const client = clientOf([peer.address]);
    const signal = AbortSignal.timeout(50);
    const startedAt = performance.now();
    const error = await rejectionOf(client.fetch("/", { signal }));
    expect(error).toBe(signal.reason);
    expect((error as Error).name).toBe("TimeoutError");
    expect(performance.now() - startedAt).toBeLessThan(150);
    expect(listeners(signal)).toBe(0);
  });

  it("H20 LC: a call that fails by itself leaves no listener", async () => {
    const client = clientOf([await freeAddress()], ONCE);
    const { signal } = new AbortController();
    await failureOf(client.fetch("/", { signal }));
    expect(listeners(signal)).toBe(0);
  });
});

describe("H21 LC: repeated fields", () => {
  it("H21 LC: are delivered as received, never joined", async () => {
    const peer = await answering(
      "HTTP/1.1 200 OK\r\nset-cookie: a=1, x\r\nSet-Cookie: b=2\r\nlocation: /1\r\nlocation: /2\r\n" +
        "content-type: a/b\r\ncontent-type: c/d\r\ncontent-length: 0\r\n\r\n",
    );
    const { headers } = await clientOf([peer.address]).fetch("/");
    expect(headers.getAll("set-cookie")).toEqual(["a=1, x", "b=2"]);
    expect(headers.getAll("location")).toEqual(["/1", "/2"]);
    expect(headers.getAll("Content-Type")).toEqual(["a/b", "c/d"]);
    expect(headers.get("content-type")).toBe("a/b");
    expect([...headers].filter(([name]) => name === "set-cookie")).toHaveLength(2);
  });

  it.each(["-5", "1.5", "soon", "1e3", "Sun, 31 Feb 2094 08:49:37 GMT"])(
    "R15 LC: retry-after %s is ignored: a failure, and the computed pause",
    async (text) => {
      const peer = await peerOf(async (connection) => {
        for (let i = 0; ; i++) {
          await connection.readRequest();
          const busy = `HTTP/1.1 503 Busy\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: ${text}\r\ncontent-length: 0\r\n\r\n`;
          await connection.write(i === 0 ? busy : OK);
        }
      });
      const client = clientOf([peer.address]);
      expect((await client.fetch("/")).status).toBe(200);
      expect(counted(client.mesh, "inmesh.attempts", { outcome: "failure" })).toBe(1);
      expect(counted(client.mesh, "inmesh.attempts", { outcome: "overloaded" })).toBe(0);
      expect(endpointsOf(client)[0]!.busyForMs).toBe(0);
    },
  );

  it("R15 LC: retry-after 9999999999 is longer than any deadline: another endpoint is asked", async () => {
    const busy = await peerOf(async (connection) => {
      await connection.readRequest();
      await connection.write(
        "HTTP/1.1 503 Busy\r\nretry-after: 9999999999\r\ncontent-length: 0\r\n\r\n",
      );
      await connection.hold();
    });
    const idle = await peerOf(async (connection) => {
      for (;;) {
        await connection.readRequest();
        await connection.write(OK);
      }
    });
    const alone = clientOf([busy.address]);
    expect((await alone.fetch("/")).status).toBe(503);
    expect(busy.requests).toHaveLength(1);
    const client = clientOf([busy.address, idle.address]);
    for (let i = 0; i < 8; i++) expect((await client.fetch("/")).status).toBe(200);
    expect(busy.requests.length).toBeLessThanOrEqual(2);
  });

  it("H21 LC: retry-after twice is ignored", async () => {
    const peer = await peerOf(async (connection) => {
      for (let i = 0; ; i++) {
        await connection.readRequest();
        const busy =
          "HTTP/1.1 503 Busy\r\nretry-after: 9\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
        await connection.write(i === 0 ? busy : OK);
      }
    });
    const client = clientOf([peer.address]);
    const startedAt = performance.now();
    expect((await client.fetch("/")).status).toBe(200);
    expect(performance.now() - startedAt).toBeLessThan(500);
    expect(endpointsOf(client)[0]!.busyForMs).toBe(0);
  });
});

describe("H22 LC: a body that is never read", () => {
  async function flood(): Promise<{
    address: string;
    written: () => number;
    closed: () => boolean;
  }> {
    let written = 0;
    let closed = false;
    const server = await serve((_request, response) => {
      const piece = Buffer.alloc(65_536);
      const write = (): void => {
        do written += piece.length;
        while (response.write(piece));
      };
      response.on("drain", write);
      response.on("close", () => (closed = true));
      write();
    });
    return { address: server.address, written: () => written, closed: () => closed };
  }

  it("H22 LC: holds back the peer and ends with the deadline", async () => {
    const server = await flood();
    const client = clientOf([server.address]);
    const startedAt = performance.now();
    const reply = await client.fetch("/", { timeoutMs: 400 });
    await sleep(150);
    const before = server.written();
    expect(before).toBeLessThan(AHEAD_BYTES);
    await sleep(100);
    expect(server.written()).toBe(before);
    await until(server.closed);
    expect(performance.now() - startedAt).toBeLessThan(600);
    const error = await failureOf(reply.text());
    expect(error).toMatchObject({ code: "deadline_exceeded", reason: "call_deadline" });
    expect(endpointsOf(client)[0]!.inFlight).toBe(0);
  });

  it("H22 LC: a reader that pauses is ended by the deadline, not by the idle limit", async () => {
    const server = await flood();
    const client = clientOf([server.address], { timeouts: { bodyIdleMs: 100 } });
    const startedAt = performance.now();
    const { body } = await client.fetch("/", { timeoutMs: 500 });
    const error = await failureOf(new Promise((_resolve, reject) => body.on("error", reject)));
    expect(error).toMatchObject({ code: "deadline_exceeded", reason: "call_deadline" });
    expect(performance.now() - startedAt).toBeGreaterThan(450);
    await until(server.closed);
  });
});

describe("H23 LC: heads that are none", () => {
  for (const [name, head, reason] of [
    ["status 99", "HTTP/1.1 99 X\r\n\r\n", "malformed_response"],
    ["status 1000", "HTTP/1.1 1000 X\r\n\r\n", "malformed_response"],
    ["no HTTP at all", "SSH-2.0-OpenSSH\r\n\r\n", "malformed_response"],
    ["a NUL in a value", "HTTP/1.1 200 OK\r\nx: \0\r\n\r\n", "malformed_response"],
    ["a blank in a name", "HTTP/1.1 200 OK\r\nx y: 1\r\n\r\n", "malformed_response"],
    [
      "33 KiB",
      `HTTP/1.1 200 OK\r\nx: ${"y".repeat(33 * 1_024)}\r\ncontent-length: 0\r\n\r\n`,
      "response_header_too_large",
    ],
  ] as const) {
    it(`H23 LC: ${name} is ${reason}, and charged`, async () => {
      const peer = await answering(head, "fin");
      const client = clientOf([peer.address], { ...ONCE, timeouts: { requestMs: 1_000 } });
      const error = await failureOf(client.fetch("/"));
      expect(error).toMatchObject({ code: "bad_response", reason });
      expect(counted(client.mesh, "inmesh.attempts", { outcome: "failure" })).toBe(1);
    });
  }
});

describe("H24 LC: the bytes of a request", () => {
  const headers = ["X-Custom-Case", "1", "b", "2", "X-Custom-Case", "3", "A", "4"];
  const pairs = [0, 2, 4, 6].map((i) => [headers[i]!, headers[i + 1]!] as const);

  for (const [method, body] of [
    ["GET", null],
    ["POST", "abc"],
    ["POST", null],
    ["DELETE", null],
  ] as const) {
    it(`H24 LC: ${method} with ${body === null ? "no" : "a"} body is that of undici, and our own field`, async () => {
      const peer = await answering(OK);
      await (
        await clientOf([peer.address]).fetch("/a?b=%20", { method, headers: pairs, body })
      ).text();
      const direct = new Client(`http://${peer.address}`);
      const reply = await direct.request({ path: "/a?b=%20", method, headers, body });
      await reply.body.dump();
      await direct.close();
      const [ours, theirs] = peer.requests.map(({ head }) =>
        head
          .split("\r\n")
          .filter((line) => !line.startsWith("x-mesh-timeout-ms: "))
          .map((line) => line.replace(/^host: .*/, "host: …")),
      );
      expect(ours).toEqual(theirs);
      expect(peer.requests[0]!.head).toContain("host: orders\r\n");
      if (method === "GET") expect(ours!.join()).not.toMatch(/content-length|transfer-encoding/i);
    });
  }
});
