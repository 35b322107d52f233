/** Section C of the fault matrix, mesh-proxy: connections to servers that fail, between every two versions of HTTP. */
import { connect, createServer, type AddressInfo } from "node:net";
import { FaultPeer } from "@inmesh/core/testing";
import { describe, expect, it, onTestFinished } from "vitest";
import { startBlackHole } from "../../http/test/support/children.ts";
import { own, peerOf, SURFACES, through, TO_HTTP1, upOf } from "./support/surfaces.ts";
import { freeAddress } from "../../../scripts/free-port.ts";

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const twice = {
  retry: { attempts: 2, backoff: "1ms", maxBackoff: "2ms" },
  balancer: { kind: "round-robin" },
};

describe.each(SURFACES)("connections that do not come about, %s", (surface) => {
  it("C1 P11, C1 P12, C1 P21, C1 P22: refused: another endpoint has the request, a POST too", async () => {
    const good = await peerOf(surface, (request) => request.answer("good"));
    const { ask, mesh } = await through(surface, [await freeAddress(), good.address], twice);
    for (let i = 0; i < 6; i++) {
      expect(await ask("POST", {}, "x")).toMatchObject({ status: 200, body: "good", whole: true });
    }
    expect(good.requests).toBe(6);
    const { endpoints } = mesh.snapshot().services[0]!;
    expect(endpoints.map(({ breaker }) => breaker.state).sort()).toEqual(["closed", "open"]);
  });

  it("C1 P11, C1 P12, C1 P21, C1 P22: refused by all: 502 with its reason, then 503 at once", async () => {
    const { ask } = await through(surface, [await freeAddress()]);
    expect(own(await ask("POST", {}, "x"))).toBe("502 connect_refused");
    expect(own(await ask("POST", {}, "x"))).toMatch(/^502 connect_refused$|^503 all_open$/);
  });

  it("C2 P11, C2 P12, C2 P21, C2 P22: packets are dropped: 504 at the connect timeout", async () => {
    await using hole = await startBlackHole();
    const { ask } = await through(surface, [`127.0.0.1:${hole.port}`], {
      timeouts: { connect: "150ms" },
    });
    const startedAt = performance.now();
    expect(own(await ask("POST", {}, "x"))).toBe("504 connect_timeout");
    expect(performance.now() - startedAt).toBeLessThan(3_000);
  });

  it("C18 P11, C18 P12, C18 P21, C18 P22: an endpoint by an IPv6 literal", async () => {
    const answers = await peerOf(surface, (request) => request.answer("six"));
    const inner = Number(answers.address.split(":").at(-1));
    // The same server, at the other address.
    const server = createServer((socket) => {
      const out = connect(inner, "127.0.0.1");
      for (const one of [socket, out]) one.on("error", () => {});
      socket.pipe(out).pipe(socket);
    });
    await new Promise<void>((resolve) => server.listen(0, "::1", resolve));
    onTestFinished(() => void server.close());
    const { port } = server.address() as AddressInfo;
    const { ask } = await through(surface, [`[::1]:${port}`]);
    expect(await ask()).toMatchObject({ status: 200, body: "six" });
  });

  it("C15 P11, C15 P12, C15 P21, C15 P22: a server of the other version: 502, and its bytes reach no client", async () => {
    const wrong = await FaultPeer.start(async (raw) => {
      const text = "HTTP/1.1 400 Bad Request\r\ncontent-length: 3\r\n\r\nbad";
      await raw.write(upOf(surface) === 2 ? text : Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]));
      await raw.hold();
    });
    onTestFinished(() => wrong.close());
    const { ask } = await through(surface, [wrong.address], { timeouts: { connect: "500ms" } });
    const seen = await ask();
    expect(seen.status).toBe(502);
    expect(own(seen)).toMatch(/malformed_response|protocol_mismatch|connection_lost|reset/);
  });

  it("C17 P11, C17 P12, C17 P21, C17 P22: a server that resets the handshake of TLS: 502", async () => {
    const peer = await FaultPeer.start(async (raw) => {
      await raw.readBytes(1);
      raw.rst();
    });
    onTestFinished(() => peer.close());
    const { ask } = await through(surface, [peer.address], { scheme: "https" });
    expect(own(await ask("POST", {}, "x"))).toBe("502 tls_handshake");
  });
});

describe.each(SURFACES)("connections that are lost before a reply, %s", (surface) => {
  it.each(["rst", "fin"] as const)(
    "C4 P11, C4 P12, C4 P21, C4 P22: at once, by %s: what was not sent goes elsewhere",
    async (how) => {
      const bad = await FaultPeer.start((raw) => raw[how]());
      onTestFinished(() => bad.close());
      const good = await peerOf(surface, (request) => request.answer("good"));
      const { ask } = await through(surface, [bad.address, good.address], twice);
      for (let i = 0; i < 4; i++) expect(await ask("GET")).toMatchObject({ status: 200 });
      const alone = await through(surface, [bad.address]);
      expect((await alone.ask("POST", {}, "x")).status).toBe(502);
    },
  );

  it.each(["rst", "fin"] as const)(
    "C10 P11, C10 P12, C10 P21, C10 P22: after the whole request, by %s: a GET goes elsewhere, a POST does not",
    async (how) => {
      const bad = await peerOf(surface, ({ raw }) => raw[how]());
      const good = await peerOf(surface, (request) => request.answer("good"));
      const { ask, mesh } = await through(surface, [bad.address, good.address], twice);
      for (let i = 0; i < 2; i++) expect(await ask("GET")).toMatchObject({ status: 200 });
      const posts = [await ask("POST", {}, "x"), await ask("POST", {}, "x")];
      expect(posts.map(own).sort()).toEqual(["200 good", "502 reset_before_response"]);
      await expect.poll(() => mesh.snapshot().services[0]!.callsInFlight).toBe(0);
    },
  );

  it("C7 P11, C7 P12, C7 P21, C7 P22: a server that accepts and never answers: 504, and the late answer reaches no other request", async () => {
    let late: (() => void) | undefined;
    const peer = await peerOf(surface, async (request) => {
      if (late !== undefined) return request.answer("second");
      late = () => void request.answer("late");
    });
    const { ask, mesh } = await through(surface, [peer.address], {
      timeouts: { request: "150ms" },
    });
    expect(own(await ask())).toBe("504 call_deadline");
    expect(mesh.snapshot().services[0]!.endpoints[0]!.inFlight).toBe(0);
    late!();
    await pause(20);
    expect(await ask()).toMatchObject({ status: 200, body: "second" });
  });
});

describe.each(SURFACES)("connections that are lost in a reply, %s", (surface) => {
  it.each(["rst", "fin"] as const)(
    "C11 P11, C11 P12, C11 P21, C11 P22: by %s: the client sees that it is not whole",
    async (how) => {
      const peer = await peerOf(surface, async (request) => {
        await request.begin("part");
        await pause(30);
        request.raw[how]();
      });
      const { ask, mesh } = await through(surface, [peer.address]);
      const seen = await ask();
      expect(seen).toMatchObject({ status: 200, whole: false });
      await expect.poll(() => mesh.snapshot().services[0]!.endpoints[0]!.inFlight).toBe(0);
      expect(peer.requests).toBe(1);
    },
  );

  it("C9 P11, C9 P12, C9 P21, C9 P22: a body that stops, and one that dribbles past the deadline, are broken off", async () => {
    const stops = await peerOf(surface, (request) => request.begin("part"));
    const quiet = await through(surface, [stops.address], { timeouts: { bodyIdle: "100ms" } });
    expect(await quiet.ask()).toMatchObject({ status: 200, whole: false });
    const dribbles = await peerOf(surface, async (request) => {
      await request.begin("part");
      while (!request.raw.gone) {
        await request.more(".");
        await request.raw.pause(20);
      }
    });
    const slow = await through(surface, [dribbles.address], {
      timeouts: { request: "300ms", bodyIdle: "200ms" },
    });
    expect(await slow.ask()).toMatchObject({ status: 200, whole: false });
    expect(slow.mesh.snapshot().services[0]!.callsInFlight).toBe(0);
  });
});

describe.each(TO_HTTP1)("servers of HTTP/1, %s", (surface) => {
  it("C5 P11, C5 P21: a server that closes after each reply, with no word: no request is lost", async () => {
    const peer = await peerOf(surface, async (request) => {
      await request.answer();
      request.raw.fin();
    });
    const { ask } = await through(surface, [peer.address]);
    for (let i = 0; i < 10; i++) {
      expect(await ask(i % 2 === 0 ? "GET" : "POST", {}, "x")).toMatchObject({ status: 200 });
      // The FIN has come before the next request is written.
      await pause(10);
    }
    expect(peer.connections).toBe(10);
  });

  it("C8 P11, C8 P21: the head of a reply a byte at a time: 504 when the time is over", async () => {
    const peer = await peerOf(surface, async ({ raw }) => {
      for (const byte of `HTTP/1.1 200 OK\r\nx: ${"y".repeat(1_000)}`) {
        if (raw.gone) return;
        await raw.write(byte);
        await raw.pause(10);
      }
    });
    const { ask } = await through(surface, [peer.address], { timeouts: { request: "200ms" } });
    expect(own(await ask())).toBe("504 call_deadline");
  });

  it("C12 P11, C12 P21: a body that ends with its connection: whole after a FIN, and not after a reset", async () => {
    const peer = await peerOf(surface, async ({ raw, connection }) => {
      await raw.write("HTTP/1.1 200 OK\r\n\r\npart");
      await pause(30);
      if (connection === 1) raw.fin();
      else raw.rst();
    });
    const { ask } = await through(surface, [peer.address]);
    expect(await ask()).toMatchObject({ status: 200, body: "part", whole: true });
    expect(await ask()).toMatchObject({ status: 200, whole: false });
  });

  it("C13 P11, C13 P21: bytes behind a reply are no reply to the next request", async () => {
    const peer = await peerOf(surface, ({ raw, connection }) =>
      raw.write(
        `HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n${connection}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison`,
      ),
    );
    const { ask } = await through(surface, [peer.address]);
    for (const body of ["1", "2", "3"]) expect(await ask()).toMatchObject({ status: 200, body });
  });

  it("C19 P11, C19 P21: no connection is free until the time is over: 504, and nothing of it is sent later", async () => {
    const { promise: refused, resolve: goOn } = Promise.withResolvers<void>();
    const peer = await peerOf(surface, async (request) => {
      await refused;
      await request.answer();
    });
    const { ask, mesh } = await through(surface, [peer.address], {
      limits: { maxConnectionsPerEndpoint: 1 },
      timeouts: { request: "10s", queue: "50ms" },
    });
    const first = ask();
    await expect.poll(() => peer.requests).toBe(1);
    expect(own(await ask("POST", {}, "x"))).toBe("504 queue_wait");
    goOn();
    expect(await first).toMatchObject({ status: 200 });
    await pause(20);
    expect(peer.requests).toBe(1);
    expect(mesh.snapshot().services[0]!.endpoints[0]).toMatchObject({
      inFlight: 0,
      breaker: { consecutiveFailures: 0 },
    });
  });
});
