/** Section C of the fault matrix, gRPC client: how connections come about, and how they do not. */
import dns from "node:dns";
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo, Server } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { Metadata, status as Status } from "@grpc/grpc-js";
import type { ServiceInput } from "@inmesh/core";
import type { FaultScript } from "@inmesh/core/testing";
import { callInfo } from "@inmesh/grpc";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { TestCa } from "../../http/test/support/ca.ts";
import { startBlackHole } from "../../http/test/support/children.ts";
import {
  data,
  h2Peer,
  head,
  MAX_CONCURRENT_STREAMS,
  settings,
} from "../../http/test/support/h2-peer.ts";
import { peerOf } from "../../http/test/wire.ts";
import { counted, get } from "./support/bench.ts";
import { runChild } from "./support/children.ts";
import { PUBLIC_ONLY } from "../../http/test/support/public-only.ts";
import { Orders, OrdersServer } from "./support/orders.ts";
import { answer, framed } from "./support/scripted-server.ts";
import {
  clientOf,
  endpointOf,
  failed,
  serverOf,
  sleep,
  until,
  expectNothingLeft,
} from "./support/wire.ts";

const ca = new TestCa();
const served = ca.issue();
const TLS: ServiceInput = { scheme: "https", authority: "svc", tls: { ca: ca.cert } };
/** What every call here may count on: nothing was sent, so another endpoint got it. */
const NOT_SENT = { code: Status.UNAVAILABLE, cause: { progress: "not-sent" } };

/** Ends with the test. */
async function listening(server: Server, host = "127.0.0.1", port = 0): Promise<string> {
  for (const event of ["tlsClientError", "sessionError"]) server.on(event, () => {});
  const open = new Set<{ destroy(): void }>();
  for (const event of ["connection", "secureConnection"]) {
    server.on(event, (socket) => {
      open.add(socket);
      socket.on("error", () => {});
    });
  }
  server.listen(port, host);
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    for (const socket of open) socket.destroy();
  });
  const { address, port: bound } = server.address() as AddressInfo;
  return `${address.includes(":") ? `[${address}]` : address}:${bound}`;
}

expectNothingLeft();

describe("C2, C21: no answer", () => {
  it("C2 GC: a black hole ends at the connect timeout, and the call goes to the next endpoint", async () => {
    await using hole = await startBlackHole();
    const dead = `127.0.0.1:${hole.port}`;
    const server = await serverOf();
    const { client, mesh } = clientOf([dead, server.address], { timeouts: { connectMs: 200 } });
    const replies = await Promise.all(Array.from({ length: 10 }, () => get(client, {})));
    expect(new Set(replies.map(({ id }) => id))).toEqual(new Set([server.name]));
    expect(endpointOf(mesh, dead).picks).toBeGreaterThan(0);
    expect(endpointOf(mesh, dead).breaker.state).not.toBe("closed");
  });

  it("C2 GC, C21 GC: alone it surfaces as connect_timeout, not sent, in plain text and with TLS", async () => {
    await using hole = await startBlackHole();
    for (const input of [{}, TLS]) {
      const { client } = clientOf([`127.0.0.1:${hole.port}`], {
        ...input,
        timeouts: { connectMs: 150 },
      });
      const startedAt = performance.now();
      expect(await failed(get(client, {}))).toMatchObject({
        ...NOT_SENT,
        cause: { code: "connect_failed", reason: "connect_timeout" },
      });
      expect(performance.now() - startedAt).toBeGreaterThan(140);
      expect(performance.now() - startedAt).toBeLessThan(5_000);
    }
  });

  it("C21 GC: a handshake without an answer ends at the connect timeout as tls_handshake", async () => {
    const silent = await peerOf((connection) => connection.hold());
    const { client } = clientOf([silent.address], { ...TLS, timeouts: { connectMs: 150 } });
    expect(await failed(get(client, {}))).toMatchObject({
      ...NOT_SENT,
      cause: { code: "connect_failed", reason: "tls_handshake" },
    });
  });
});

it("C3 GC: IPv6 of a dual-stack endpoint is dropped; IPv4 connects soon after", async (context) => {
  const hole = await startBlackHole("::1").catch(() => undefined);
  if (hole === undefined) return context.skip("no IPv6 loopback here");
  onTestFinished(() => hole[Symbol.asyncDispose]());
  const server = await new OrdersServer("four").listen(hole.port);
  onTestFinished(() => server.stop());
  // One name with two addresses.
  const both = [
    { address: "::1", family: 6 },
    { address: "127.0.0.1", family: 4 },
  ];
  const lookup = vi.spyOn(dns.promises, "lookup").mockResolvedValue(both as never);
  onTestFinished(() => lookup.mockRestore());
  const address = `dual.test:${hole.port}`;
  const { client, mesh } = clientOf([address], { timeouts: { connectMs: 5_000 } });
  const startedAt = performance.now();
  expect((await get(client, {})).id).toBe("four");
  expect(performance.now() - startedAt).toBeGreaterThan(200);
  expect(performance.now() - startedAt).toBeLessThan(3_000);
  expect(lookup).toHaveBeenCalled();
  expect(endpointOf(mesh, address)).toMatchObject({ picks: 1, breaker: { state: "closed" } });
});

it("C3 GC: a name that does not exist is a connection that did not come about", async () => {
  const server = await serverOf();
  const lookup = vi
    .spyOn(dns.promises, "lookup")
    .mockRejectedValue(new Error("getaddrinfo ENOTFOUND absent.invalid"));
  onTestFinished(() => lookup.mockRestore());
  const { client } = clientOf(["absent.invalid:80", server.address], {
    balancer: { kind: "round-robin" },
  });
  for (let i = 0; i < 4; i++) expect((await get(client, {})).id).toBe(server.name);
  const alone = clientOf(["absent.invalid:80"]);
  expect(await failed(get(alone.client, {}))).toMatchObject({
    ...NOT_SENT,
    cause: { code: "connect_failed", reason: "connect_refused" },
  });
});

/** Sockets of this process that are being connected, or are. */
const sockets = (): number =>
  process.getActiveResourcesInfo().filter((kind) => /^TCP(?:Socket|Connect)Wrap$/.test(kind))
    .length;

it("C2 GC, C21 GC: dials that were given up leave no socket behind, wherever they were stuck", async () => {
  await using hole = await startBlackHole();
  const silent = await peerOf((connection) => connection.hold());
  const before = sockets();
  for (const [address, input] of [
    [`127.0.0.1:${hole.port}`, {}],
    [`127.0.0.1:${hole.port}`, TLS],
    [silent.address, {}],
    [silent.address, TLS],
  ] as const) {
    const { client } = clientOf([address], { ...input, timeouts: { connectMs: 100 } });
    expect((await failed(get(client, {}))).code).toBe(Status.UNAVAILABLE);
  }
  await until(() => silent.open === 0);
  await until(() => sockets() <= before);
});

it("C20 GC: behind a call that timed out on a silent connection, the next gets another; late answers still count", async () => {
  const OK = { ":status": "200", "content-type": "application/grpc" };
  const ok = (id: number): Buffer[] => [
    head(id, OK),
    data(id, framed(Buffer.alloc(0))),
    head(id, { "grpc-status": "0" }, true),
  ];
  let release = (): void => {};
  const peer = await h2Peer(async (connection) => {
    await connection.open();
    if (connection.number === 1) {
      const ids = [await connection.request(), await connection.request()];
      await new Promise<void>((resolve) => (release = resolve));
      await connection.write(...ids.flatMap(ok));
    }
    for (;;) await connection.write(...ok(await connection.request()));
  });
  const { client } = clientOf([peer.address]);
  const late = get(client, {}, { deadline: Date.now() + 30_000 });
  const lost = failed(get(client, {}, { deadline: Date.now() + 600 }));
  expect((await lost).code).toBe(Status.DEADLINE_EXCEEDED);
  for (let i = 0; i < 3; i++) await get(client, {}, { deadline: Date.now() + 10_000 });
  expect(peer.connections).toBe(2);
  release();
  await late;
});

describe("C15: another protocol", () => {
  const bytes =
    (text: string): FaultScript =>
    async (connection) => {
      await connection.readBytes(24);
      await connection.write(text);
      await connection.hold();
    };
  const CASES: Record<string, () => Promise<{ address: string; input?: ServiceInput }>> = {
    "a server of HTTP/1": async () => ({
      address: await listening(createHttpServer((_, response) => void response.end("ok"))),
    }),
    "an HTTP/1 reply to the preface": () =>
      peerOf(bytes("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")),
    "another protocol altogether": () => peerOf(bytes("SSH-2.0-OpenSSH_9.7\r\n")),
    "TLS that agrees on HTTP/1 alone": async () => ({
      address: await listening(createHttpsServer(served)),
      input: TLS,
    }),
    "TLS without ALPN": async () => ({
      address: await listening(createTlsServer(served)),
      input: TLS,
    }),
  };

  it.each(Object.keys(CASES))(
    "C15 GC: %s: protocol_mismatch, not sent, and the next endpoint has it",
    async (name) => {
      const { address, input } = await CASES[name]!();
      const { client, mesh } = clientOf([address], input);
      // grpc-js's own credentials go on without ALPN, and wait for HTTP/2 until the time is up.
      const isLate = PUBLIC_ONLY && name === "TLS without ALPN";
      const reason = isLate ? "tls_handshake" : "protocol_mismatch";
      expect(await failed(get(client, {}))).toMatchObject({
        ...NOT_SENT,
        cause: { code: "connect_failed", reason },
      });
      expect(endpointOf(mesh, address).breaker.state).not.toBe("closed");
      if (input !== undefined) return;
      const server = await serverOf();
      const both = clientOf([address, server.address], { balancer: { kind: "round-robin" } });
      for (let i = 0; i < 4; i++) expect((await get(both.client, {})).id).toBe(server.name);
    },
  );
});

it("C16 GC: out of descriptors is our fault, not the endpoint's; open connections go on, and it passes", async () => {
  const server = await serverOf();
  const limited = ["/bin/sh", "-c", 'ulimit -n 64; exec "$0" "$@"'];
  expect(await runChild("starved.ts", [server.address], [], limited)).toEqual({
    before: "ok",
    starved: ["local_exhaustion not-sent"],
    open: "ok",
    breaker: { state: "closed", consecutiveFailures: 0 },
    after: ["ok", "ok"],
  });
});

describe("C17: the handshake is cut", () => {
  it.each(["fin", "rst"] as const)(
    "C17 GC: %s after the ClientHello: tls_handshake, not sent",
    async (end) => {
      const bad = await peerOf(async (connection) => {
        await connection.readBytes(50);
        connection[end]();
      });
      const { client, mesh } = clientOf([bad.address], TLS);
      expect(await failed(get(client, {}))).toMatchObject({
        ...NOT_SENT,
        cause: { code: "connect_failed", reason: "tls_handshake" },
      });
      expect(endpointOf(mesh, bad.address).breaker.state).not.toBe("closed");
    },
  );

  it.each(["fin", "rst"] as const)(
    "C17 GC: %s before the settings: nothing was sent, whatever was written",
    async (end) => {
      const bad = await peerOf(async (connection) => {
        await connection.readBytes(24);
        connection[end]();
      });
      const server = await serverOf();
      const { client } = clientOf([bad.address, server.address], {
        balancer: { kind: "round-robin" },
      });
      for (let i = 0; i < 4; i++) expect((await get(client, {})).id).toBe(server.name);
      const alone = clientOf([bad.address]);
      expect(await failed(get(alone.client, {}))).toMatchObject({
        ...NOT_SENT,
        cause: { code: "connect_failed", reason: "connect_refused" },
      });
    },
  );
});

it("C17 GC: no endpoint is dialled for calls that are over", async () => {
  const bad = await peerOf(async (connection) => {
    await connection.readBytes(24);
    connection.rst();
  });
  const { client, mesh } = clientOf([bad.address]);
  await failed(get(client, {}));
  await mesh.close(0);
  const dials = bad.connections;
  // grpc-js tries again after a second, give or take a fifth.
  await sleep(1_300);
  expect(bad.connections).toBe(dials);
});

describe("C18: addresses", () => {
  it("C18 GC: an IPv6 literal is dialled, and named with brackets", async (context) => {
    const server = createHttp2Server();
    let authority: string | undefined;
    server.on("stream", (stream, headers) => {
      authority = headers[":authority"];
      answer(stream, Buffer.alloc(0));
    });
    let address: string;
    try {
      address = await listening(server as unknown as Server, "::1");
    } catch {
      return context.skip("no IPv6 loopback here");
    }
    const { client } = clientOf([address], { authority: address });
    const info = await infoOfCall(client);
    expect(info?.endpoint).toBe(address);
    expect(authority).toBe(address);
  });

  it("C18 GC: an address written in several ways is one endpoint, and is dialled", async () => {
    const server = await serverOf();
    for (const way of ["[::ffff:127.0.0.1]", "[::FFFF:7f00:1]"]) {
      const { client } = clientOf([`${way}:${server.port}`]);
      expect((await infoOfCall(client))?.endpoint).toBe(server.address);
    }
  });

  async function infoOfCall(
    client: InstanceType<typeof Orders>,
  ): Promise<ReturnType<typeof callInfo>> {
    let info: ReturnType<typeof callInfo>;
    await get(client, {}, {}, new Metadata(), (call) => {
      call.on("status", (status) => (info = callInfo(status)));
    });
    await until(() => info !== undefined);
    return info;
  }
});

describe("C19: no stream until past the deadline", () => {
  it("C19 GC: calls without a connection end at deadline or cancel, uncharged, and are never sent", async () => {
    let open = (): void => {};
    const opened = new Promise<void>((resolve) => (open = resolve));
    const seen: number[] = [];
    const peer = await h2Peer(async (connection) => {
      // Accepted, and silent: grpc-js holds streams back until it knows the settings.
      await opened;
      await connection.open();
      for (;;) seen.push(await connection.request());
    });
    const { client, mesh } = clientOf([`127.0.0.1:${peer.port}`]);
    const late = failed(get(client, {}, { deadline: Date.now() + 150 }));
    let cancel = (): void => {};
    const cancelled = failed(
      get(client, {}, {}, new Metadata(), (call) => {
        cancel = () => call.cancel();
      }),
    );
    expect(await late).toMatchObject({
      code: Status.DEADLINE_EXCEEDED,
      cause: { reason: "queue_wait", progress: "not-sent" },
    });
    cancel();
    expect((await cancelled).code).toBe(Status.CANCELLED);
    expect(endpointOf(mesh, `127.0.0.1:${peer.port}`)).toMatchObject({
      inFlight: 0,
      breaker: { state: "closed", consecutiveFailures: 0 },
    });
    open();
    await sleep(50);
    expect(seen).toEqual([]);
  });

  it("C19 GC: calls behind the peer's limit of streams end at their deadline, and are never sent", async () => {
    let heads = 0;
    const peer = await h2Peer(async (connection) => {
      await connection.open(settings(MAX_CONCURRENT_STREAMS, 1));
      for (;;) {
        await connection.request();
        heads++;
      }
    });
    const { client, mesh } = clientOf([`127.0.0.1:${peer.port}`], {
      limits: { maxConnectionsPerEndpoint: 1 },
    });
    const first = failed(get(client, {}, { deadline: Date.now() + 500 }));
    await until(() => heads === 1);
    const queued = failed(get(client, {}, { deadline: Date.now() + 150 }));
    expect((await queued).code).toBe(Status.DEADLINE_EXCEEDED);
    expect((await first).code).toBe(Status.DEADLINE_EXCEEDED);
    await sleep(30);
    expect(heads).toBe(1);
    expect(counted(mesh, "inmesh.call.active")).toBe(0);
  });
});
