/** Section H of the fault matrix, mesh-proxy: what HTTP means, between every two versions of it. */
import { once } from "node:events";
import { FaultPeer } from "@inmesh/core/testing";
import { describe, expect, it, onTestFinished } from "vitest";
import { client2, open2, replyOf } from "./support/http2.ts";
import { rawClient, repliesIn } from "./support/proxied.ts";
import { downOf, own, peerOf, SURFACES, through, TO_HTTP1 } from "./support/surfaces.ts";

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A server of HTTP/1 that answers each request with these bytes. */
async function answers(bytes: string): Promise<FaultPeer> {
  const peer = await FaultPeer.start(async (raw) => {
    for (;;) {
      await raw.readRequest();
      await raw.write(bytes);
    }
  });
  onTestFinished(() => peer.close());
  return peer;
}

describe.each(SURFACES)("%s", (surface) => {
  it("H2 P11, H2 P12, H2 P21, H2 P22: a client that leaves in a download: its server sees it, and is not charged", async () => {
    let gone = 0;
    const peer = await peerOf(surface, async (request) => {
      await request.begin("part");
      // HTTP/2 resets the stream alone.
      if (surface[2] === "1") await request.raw.hold();
      gone++;
    });
    const { port, mesh } = await through(surface, [peer.address]);
    if (downOf(surface) === 1) {
      const socket = await rawClient(port);
      socket.write("GET / HTTP/1.1\r\nHost: orders\r\n\r\n");
      await once(socket, "data");
      socket.destroy();
    } else {
      const stream = open2(client2(port), {});
      await once(stream, "response");
      stream.close(8);
    }
    await expect.poll(() => mesh.snapshot().services[0]!.callsInFlight).toBe(0);
    await expect.poll(() => gone).toBe(1);
    expect(mesh.snapshot().services[0]!.endpoints[0]).toMatchObject({
      inFlight: 0,
      breaker: { consecutiveFailures: 0 },
    });
  });

  it("H16 P11, H16 P12, H16 P21, H16 P22: 17 hops are a loop, of which nothing is sent on", async () => {
    const peer = await peerOf(surface, (request) => request.answer());
    const { ask } = await through(surface, [peer.address], {}, { listener: { posture: "mesh" } });
    expect(own(await ask("GET", { "x-mesh-hops": "17" }))).toBe("508 loop");
    expect(peer.requests).toBe(0);
    expect(await ask("GET", { "x-mesh-hops": "16" })).toMatchObject({ status: 200 });
  });

  it("G7 P11, G7 P12, G7 P21, G7 P22: a deadline that has passed: 504, and nothing is sent", async () => {
    const peer = await peerOf(surface, async (request) => {
      await request.raw.pause(400);
      await request.answer();
    });
    const { ask } = await through(surface, [peer.address]);
    expect(own(await ask("GET", { "x-mesh-timeout-ms": "0" }))).toBe("504 expired_on_arrival");
    expect(peer.requests).toBe(0);
    expect(own(await ask("GET", { "x-mesh-timeout-ms": "100" }))).toBe("504 call_deadline");
  });

  it("H18 P11, H18 P12, H18 P21, H18 P22: 40 KB are sent again, 400 KB are not", async () => {
    const bad = await peerOf(surface, ({ raw }) => raw.rst());
    const good = await peerOf(surface, (request) => request.answer("good"));
    const { ask } = await through(surface, [bad.address, good.address], {
      retry: { attempts: 2, backoff: "1ms", maxBackoff: "2ms" },
      balancer: { kind: "round-robin" },
      breaker: { consecutiveFailures: 1_000 },
    });
    const small = "x".repeat(40_000);
    for (let i = 0; i < 2; i++) expect((await ask("PUT", {}, small)).status).toBe(200);
    const large = "x".repeat(400_000);
    const seen = [await ask("PUT", {}, large), await ask("PUT", {}, large)];
    expect(seen.map(({ status }) => status).sort()).toEqual([200, 502]);
  });

  it("H22 P11, H22 P12, H22 P21, H22 P22: a client that does not read holds its server back until the deadline", async () => {
    let sent = 0;
    const piece = "x".repeat(16_000);
    const peer = await peerOf(surface, async (request) => {
      await request.begin(piece);
      if (surface[2] === "2") return;
      while (!request.raw.gone && sent < 60) {
        sent++;
        await request.more(piece);
      }
      await request.raw.hold();
    });
    const { port, mesh } = await through(surface, [peer.address], {
      timeouts: { request: "400ms" },
    });
    if (downOf(surface) === 1) {
      const socket = await rawClient(port);
      socket.pause();
      socket.write("GET / HTTP/1.1\r\nHost: orders\r\n\r\n");
    } else open2(client2(port, { initialWindowSize: 0 }), {}).pause();
    await expect.poll(() => peer.requests).toBe(1);
    expect(mesh.snapshot().services[0]!.callsInFlight).toBe(1);
    await expect.poll(() => mesh.snapshot().services[0]!.callsInFlight).toBe(0);
    expect(mesh.snapshot().services[0]!.endpoints[0]!.inFlight).toBe(0);
  });
});

describe.each(TO_HTTP1)("replies of HTTP/1, %s", (surface) => {
  const OK = "HTTP/1.1 200 OK\r\n";
  it.each([
    ["two lengths", `${OK}content-length: 2\r\ncontent-length: 3\r\n\r\nab`],
    ["a length beside chunks", `${OK}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\nab`],
    ["an unknown coding", `${OK}transfer-encoding: gzip\r\n\r\nab`],
    ["a length that is none", `${OK}content-length: +2\r\n\r\nab`],
  ])("H14 P11, H14 P21: %s: 502, and not a byte of it goes on", async (_, bytes) => {
    const peer = await answers(bytes);
    const { ask } = await through(surface, [peer.address]);
    expect(own(await ask())).toBe("502 malformed_response");
  });

  it.each([
    ["status 99", "HTTP/1.1 099 No\r\n\r\n", "malformed_response"],
    ["status 1000", "HTTP/1.1 1000 No\r\n\r\n", "malformed_response"],
    ["HTTP/2.0", "HTTP/2.0 200 OK\r\n\r\n", "malformed_response"],
    ["a control byte in the reason", "HTTP/1.1 200 O\x01K\r\n\r\n", "malformed_response"],
    ["33 KiB", `${OK}x: ${"y".repeat(33 * 1_024)}\r\n\r\n`, "response_header_too_large"],
    ["201 fields", `${OK}${"x: y\r\n".repeat(201)}\r\n`, "_"],
  ])("H23 P11, H23 P21: %s: 502", async (_, bytes, reason) => {
    const peer = await answers(bytes);
    const { ask } = await through(surface, [peer.address]);
    const seen = own(await ask());
    expect(seen).toMatch(/^502 /);
    expect(seen).toContain(reason);
  });

  it("H15 P11, H15 P21: Connection: close of a server: not used again, and no word of it to the client", async () => {
    const peer = await answers(`${OK}connection: close\r\ncontent-length: 2\r\n\r\nok`);
    const { ask } = await through(surface, [peer.address]);
    for (let i = 1; i <= 3; i++) {
      const seen = await ask();
      expect(seen).toMatchObject({ status: 200, body: "ok" });
      expect(seen.headers.connection).not.toBe("close");
      expect(peer.connections).toBe(i);
    }
  });

  it("H13 P11, H13 P21: a reply shorter than its length is no whole one, and one that is longer ends its connection", async () => {
    const short = await FaultPeer.start(async (raw) => {
      await raw.readRequest();
      await raw.write(`${OK}content-length: 5\r\n\r\nabc`);
      raw.fin();
    });
    onTestFinished(() => short.close());
    const one = await through(surface, [short.address]);
    expect(await one.ask()).toMatchObject({ status: 200, whole: false });
    const long = await answers(`${OK}content-length: 3\r\n\r\nabcdef`);
    const two = await through(surface, [long.address]);
    for (let i = 1; i <= 3; i++) {
      expect(await two.ask()).toMatchObject({ status: 200, body: "abc", whole: true });
      expect(long.connections).toBe(i);
    }
  });

  it("H17 P11, H17 P21: a coding is not decoded, and a redirect not followed (H19 P11, H19 P21)", async () => {
    const coded = await answers(`${OK}content-encoding: gzip\r\ncontent-length: 4\r\n\r\nabcd`);
    const one = await through(surface, [coded.address]);
    const seen = await one.ask();
    expect(seen).toMatchObject({ status: 200, body: "abcd" });
    expect(seen.headers["content-encoding"]).toBe("gzip");
    const moved = await answers(
      "HTTP/1.1 302 Found\r\nlocation: http://elsewhere.test/\r\ncontent-length: 0\r\n\r\n",
    );
    const two = await through(surface, [moved.address]);
    const redirect = await two.ask();
    expect(redirect.status).toBe(302);
    expect(redirect.headers.location).toBe("http://elsewhere.test/");
    expect(moved.requests).toHaveLength(1);
  });

  it("H4 P11, H4 P21: a 100 that was not asked for is dropped, and a 101 is no reply", async () => {
    const hundred = await answers(`HTTP/1.1 100 Continue\r\n\r\n${OK}content-length: 2\r\n\r\nok`);
    const one = await through(surface, [hundred.address]);
    expect(await one.ask()).toMatchObject({ status: 200, body: "ok" });
    const upgrade = await answers(
      "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
    );
    const two = await through(surface, [upgrade.address]);
    expect((await two.ask()).status).toBe(502);
  });

  it("H5 P11, H5 P21: bytes behind a reply that has no body are no reply to the next request", async () => {
    const peer = await answers("HTTP/1.1 304 Not Modified\r\ncontent-length: 3\r\n\r\nabc");
    const { ask } = await through(surface, [peer.address]);
    for (let i = 1; i <= 2; i++) {
      const seen = await ask();
      expect(seen).toMatchObject({ status: 304, body: "" });
      expect(seen.headers["content-length"]).toBe("3");
      expect(peer.connections).toBe(i);
    }
  });

  it("H24 P11, H24 P21: a GET without a body gets no framing, and a POST of length 0 keeps it", async () => {
    const peer = await answers(`${OK}content-length: 0\r\n\r\n`);
    const { ask } = await through(surface, [peer.address]);
    expect((await ask("GET")).headers["content-length"]).toBe("0");
    await ask("POST", {}, "");
    const [get, post] = peer.requests.map(({ head }) => head);
    expect(get).not.toMatch(/content-length|transfer-encoding/i);
    expect(post).toMatch(/\r\ncontent-length: 0\r\n/i);
  });
});

describe("requests of HTTP/1 that are cut", () => {
  it("H13 P11: a body shorter than its length: its server is never given a whole request", async () => {
    const peer = await FaultPeer.start(async (raw) => {
      await raw.readRequest();
      await raw.write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    });
    onTestFinished(() => peer.close());
    const { port, mesh } = await through("P11", [peer.address]);
    const socket = await rawClient(port);
    socket.write("POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: 10\r\n\r\nabc");
    await expect.poll(() => peer.connections).toBe(1);
    socket.end();
    await expect.poll(() => mesh.snapshot().services[0]!.callsInFlight).toBe(0);
    await pause(20);
    expect(peer.requests).toEqual([]);
  });

  it("H9 P11: a target above 8 KiB is 414, more than 100 fields or 16 KiB are 431, and none is sent on", async () => {
    const peer = await answers("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    const { port } = await through("P11", [peer.address]);
    const statusOf = async (bytes: string): Promise<number> => {
      const socket = await rawClient(port);
      let text = "";
      socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
      socket.write(bytes);
      await expect.poll(() => repliesIn(text).length).toBe(1);
      return repliesIn(text)[0]!.status;
    };
    const H = "Host: orders\r\n";
    expect(await statusOf(`GET /${"a".repeat(8_192)} HTTP/1.1\r\n${H}\r\n`)).toBe(414);
    expect(await statusOf(`GET / HTTP/1.1\r\n${H}${"x: y\r\n".repeat(100)}\r\n`)).toBe(431);
    expect(await statusOf(`GET / HTTP/1.1\r\n${H}x: ${"y".repeat(16_384)}\r\n\r\n`)).toBe(431);
    expect(peer.requests).toEqual([]);
    expect(await statusOf(`GET / HTTP/1.1\r\n${H}${"x: y\r\n".repeat(99)}\r\n`)).toBe(200);
  });
});

describe("clients of HTTP/2 that leave", () => {
  it("H13 P22, H13 P21: a body that is reset before its end: its server is never given a whole request", async () => {
    for (const surface of ["P21", "P22"] as const) {
      const peer = await peerOf(surface, (request) => request.answer());
      const { port, mesh } = await through(surface, [peer.address]);
      const stream = open2(client2(port), { ":method": "POST", "content-length": "10" });
      const reply = replyOf(stream);
      stream.write("abc");
      await expect.poll(() => peer.connections).toBe(1);
      stream.close(8);
      await reply;
      await expect.poll(() => mesh.snapshot().services[0]!.callsInFlight).toBe(0);
      await pause(20);
      expect(peer.requests).toBe(0);
    }
  });
});
