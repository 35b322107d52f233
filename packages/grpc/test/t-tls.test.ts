/** Section T of the fault matrix, gRPC client: certificates, handshakes, rotation. */
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createSecureServer, type Http2SecureServer } from "node:http2";
import { connect, createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import type { TlsOptions } from "node:tls";
import { status as Status, type ServiceError } from "@grpc/grpc-js";
import type { ServiceInput } from "@inmesh/core";
import { NodeRuntime, type MeshError } from "@inmesh/core/spi";
import { describe, expect, it, onTestFinished } from "vitest";
import { TestCa, type Issued } from "../../http/test/support/ca.ts";
import { folder } from "../../http/test/support/folders.ts";
import {
  DAY_MS,
  JumpyRuntime,
  listenTls,
  wrongPeers,
  type Handshakes,
} from "../../http/test/support/tls.ts";
import { peerOf } from "../../http/test/wire.ts";
import { counted, get } from "./support/bench.ts";
import { answer } from "./support/scripted-server.ts";
import { PUBLIC_ONLY } from "../../http/test/support/public-only.ts";
import {
  clientOf,
  endpointOf,
  expectNothingLeft,
  failed,
  sleep,
  until,
  type Caller,
} from "./support/wire.ts";

const ca = new TestCa();
const served = ca.issue();
const NO_BREAKER = { consecutiveFailures: 0, failureSpanMs: 0, successRatio: 0 };
const ASKING: TlsOptions = { ...served, ca: ca.cert, requestCert: true, rejectUnauthorized: true };

interface Tls extends Handshakes {
  readonly server: Http2SecureServer;
  /** Calls that came in. */
  calls: number;
}

async function tlsServer(options: TlsOptions, port = 0): Promise<Tls> {
  const server = createSecureServer(options);
  const tls: Tls = { ...(await listenTls(server, port)), server, calls: 0 };
  server.on("stream", (stream) => {
    tls.calls++;
    stream.on("error", () => {});
    answer(stream, Buffer.alloc(0));
  });
  return tls;
}

/** A client of `svc` over TLS. */
const secure = (
  addresses: readonly string[],
  tls: NonNullable<ServiceInput["tls"]>,
  more: ServiceInput = {},
  runtime?: NodeRuntime,
): Caller =>
  clientOf(
    addresses,
    { scheme: "https", authority: "svc", tls, ...more },
    runtime === undefined ? {} : { runtime },
  );

/** `OK`, or the mesh's reason for what became of it. */
const asked = ({ client }: Caller): Promise<string> =>
  get(client, {}).then(
    () => "OK",
    (error: ServiceError) => (error.cause as MeshError | undefined)?.reason ?? Status[error.code]!,
  );

/** Files of a certificate, its key, and the authority. */
function filesIn(dir: string): Record<"cert" | "key" | "ca", string> {
  return { cert: join(dir, "cert.pem"), key: join(dir, "key.pem"), ca: join(dir, "ca.pem") };
}

const refusedAs = (reason: string): object => ({
  code: Status.UNAVAILABLE,
  cause: { code: "connect_failed", reason, progress: "not-sent" },
});

expectNothingLeft();

it("T1 GC: ten rotations of both sides under load: no failed call", async () => {
  const files = filesIn(folder());
  // The certificate before the key: the pair does not fit for a moment, as in real life.
  const write = async ({ cert, key }: Issued, apart: boolean): Promise<void> => {
    writeFileSync(files.cert, cert);
    if (apart) await sleep(30);
    writeFileSync(files.key, key);
  };
  writeFileSync(files.ca, ca.cert);
  await write(ca.issue(), false);
  const { server, address, sockets, shown } = await tlsServer(ASKING);
  const { client, mesh } = secure([address], files);
  const load = { stopped: false };
  let calls = 0;
  const failures: string[] = [];
  const workers = Array.from({ length: 8 }, async () => {
    while (!load.stopped) {
      await get(client, {}).catch((error: unknown) => failures.push(String(error)));
      calls++;
    }
  });
  for (let i = 0; i < 10; i++) {
    const next = ca.issue();
    server.setSecureContext({ ...ca.issue(), ca: ca.cert });
    await write(next, i % 2 === 0);
    await until(() => shown.at(-1) === next.cert);
  }
  load.stopped = true;
  await Promise.all(workers);
  expect(failures).toEqual([]);
  expect(calls).toBeGreaterThan(20);
  expect(counted(mesh, "inmesh.attempts", { outcome: "failure" })).toBe(0);
  // Old connections were drained, not kept beside the new ones.
  await until(() => sockets.filter((socket) => !socket.destroyed).length <= 1);
});

it("T1 GC: a rotation in the middle of a handshake: a call that waits for it is answered, or fails in time", async () => {
  const files = filesIn(folder());
  const write = ({ cert, key }: Issued): void => {
    writeFileSync(files.cert, cert);
    writeFileSync(files.key, key);
  };
  writeFileSync(files.ca, ca.cert);
  write(ca.issue());
  const server = await tlsServer(ASKING);
  const met = { connections: 0 };
  let pass = (): void => {};
  const passed = new Promise<void>((resolve) => (pass = resolve));
  // The first connection waits for us, those after it for ever.
  const proxy = createServer((socket) => {
    socket.on("error", () => {});
    if (++met.connections > 1) return void socket.resume();
    void passed.then(() => {
      const inner = connect(Number(server.address.split(":")[1]), "127.0.0.1");
      for (const one of [socket, inner]) onTestFinished(() => void one.destroy());
      inner.on("error", () => {});
      socket.pipe(inner).pipe(socket);
    });
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  onTestFinished(() => void proxy.close());
  const address = `127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  const caller = secure([address], files, { timeouts: { connectMs: 1_500 } });
  const early = asked(caller);
  await until(() => met.connections === 1);
  writeFileSync(files.ca, ca.cert + new TestCa("another").cert);
  const late: Promise<string>[] = [];
  while (met.connections === 1) {
    late.push(asked(caller));
    await sleep(10);
  }
  pass();
  expect(await early).toBe("OK");
  expect(await late.at(-1)).toBe("tls_handshake");
  expect(server.calls).toBeGreaterThan(0);
  expect(caller.mesh.snapshot().services[0]!.callsInFlight).toBe(0);
});

it("T2 GC: our own certificate has expired: nothing is dialled, least of all in plain text; a new file heals it", async () => {
  const files = filesIn(folder());
  const write = ({ cert, key }: Issued): void => {
    writeFileSync(files.key, key);
    writeFileSync(files.cert, cert);
  };
  const now = Date.now();
  write(ca.issue({ notBefore: now - 2 * DAY_MS, notAfter: now - DAY_MS }));
  const { address, sockets } = await tlsServer({ ...ASKING, rejectUnauthorized: false });
  const caller = secure([address], { ...files, ca: ca.cert });
  expect(await failed(get(caller.client, {}))).toMatchObject({
    code: Status.UNAVAILABLE,
    cause: {
      code: "identity_unavailable",
      reason: "certificate_expired",
      progress: "not-sent",
    },
  });
  expect(sockets).toHaveLength(0);
  expect(endpointOf(caller.mesh, address).breaker.state).toBe("closed");
  write(ca.issue());
  let end = "";
  for (let i = 0; end !== "OK" && i < 500; i++) {
    end = await asked(caller);
    await sleep(10);
  }
  expect(end).toBe("OK");
});

describe("T3: certificates of peers", () => {
  it.each(wrongPeers(ca))(
    "T3 GC: %s: refused, not sent, and another endpoint gets the call",
    async (_, issued, reason, text) => {
      const bad = await tlsServer(issued);
      const alone = secure([bad.address], { ca: ca.cert });
      const error = await failed(get(alone.client, {}));
      expect(error).toMatchObject(refusedAs(reason));
      expect(error.details).toMatch(text);
      expect(endpointOf(alone.mesh, bad.address).breaker.state).not.toBe("closed");
      const good = await tlsServer(served);
      const both = secure(
        [bad.address, good.address],
        { ca: ca.cert },
        { balancer: { kind: "round-robin" } },
      );
      for (let i = 0; i < 4; i++) expect(await asked(both)).toBe("OK");
      expect(bad.calls).toBe(0);
    },
  );

  it("T3 GC: the name is the service's, or tls.serverName; a peer below tls.minVersion is refused", async () => {
    const { address, sockets } = await tlsServer({
      ...ca.issue({ names: ["orders.test"] }),
      maxVersion: "TLSv1.2",
    });
    const named = secure([address], { ca: ca.cert, serverName: "orders.test" });
    expect(await asked(named)).toBe("OK");
    const own = secure([address], { ca: ca.cert }, { authority: "orders.test:8443" });
    expect(await asked(own)).toBe("OK");
    expect(sockets.map(({ servername }) => servername)).toEqual(["orders.test", "orders.test"]);
    const strict = secure([address], {
      ca: ca.cert,
      serverName: "orders.test",
      minVersion: "TLSv1.3",
    });
    expect(await asked(strict)).toBe("tls_handshake");
  });

  it("T11 GC: no SNI for an address, and the certificate must be for that address", async () => {
    const good = await tlsServer(ca.issue({ names: ["127.0.0.1"] }));
    const one = secure([good.address], { ca: ca.cert }, { authority: good.address });
    expect(await asked(one)).toBe("OK");
    // grpc-js's own credentials always name a peer.
    expect(good.sockets[0]!.servername).toBe(PUBLIC_ONLY ? "endpoint.invalid" : false);
    const other = await tlsServer(ca.issue({ names: ["127.0.0.2", "localhost"] }));
    const two = secure([other.address], { ca: ca.cert }, { authority: other.address });
    expect(await asked(two)).toBe("identity_mismatch");
  });
});

it("T4 GC: rotation of the bundle: both are believed, then the old no more; live calls go on", async () => {
  const file = filesIn(folder()).ca;
  const next = new TestCa("next authority");
  writeFileSync(file, ca.cert);
  const { server, address, sockets } = await tlsServer(served);
  const caller = secure([address], { ca: file });
  expect(await asked(caller)).toBe("OK");
  const rotate = async (bundle: string): Promise<void> => {
    const before = sockets.length;
    writeFileSync(file, bundle);
    // A new connection is made as soon as it is in force.
    for (let i = 0; sockets.length === before && i < 1_000; i++) {
      expect(await asked(caller)).toBe("OK");
      await sleep(5);
    }
    expect(sockets.length).toBeGreaterThan(before);
  };
  await rotate(ca.cert + next.cert);
  server.setSecureContext(next.issue());
  await rotate(next.cert);
  // The old authority is not trusted any more.
  server.setSecureContext(ca.issue());
  sockets.at(-1)!.destroy();
  let end = "OK";
  for (let i = 0; end !== "peer_untrusted" && i < 500; i++) {
    end = await asked(caller);
    await sleep(5);
  }
  expect(end).toBe("peer_untrusted");
});

describe("T5: our certificate is refused after the handshake", () => {
  const strictly: TlsOptions = { ...ASKING, minVersion: "TLSv1.3" };

  it("T5 GC: by an alert: tls_rejected_by_peer, not sent, and no endpoint is charged", async () => {
    // OpenSSL itself refuses a client without a certificate, by an alert; it may be lost with a reset.
    const strict = await tlsServer(strictly);
    const { client, mesh } = secure([strict.address], { ca: ca.cert }, { breaker: NO_BREAKER });
    let rejected = 0;
    for (let i = 0; i < 20; i++) {
      const error = await failed(get(client, {}));
      expect(error).toMatchObject({ code: Status.UNAVAILABLE, cause: { progress: "not-sent" } });
      if ((error.cause as MeshError).reason !== "tls_rejected_by_peer") continue;
      rejected++;
      expect(error.details).toMatch(/tls\.cert/);
    }
    expect(rejected).toBeGreaterThan(0);
    expect(counted(mesh, "inmesh.attempts", { outcome: "abandoned" })).toBeGreaterThanOrEqual(
      rejected,
    );
    expect(strict.calls).toBe(0);
  });

  it("T5 GC: by a close without an alert: something before the settings, so not sent", async () => {
    // Node's servers close when they do not believe a certificate, and say nothing.
    const strict = await tlsServer({ ...strictly, ca: new TestCa("theirs").cert });
    const { client } = secure([strict.address], { ca: ca.cert, ...ca.issue() });
    const error = await failed(get(client, {}));
    expect(error).toMatchObject({ code: Status.UNAVAILABLE, cause: { progress: "not-sent" } });
    expect(strict.calls).toBe(0);
  });
});

describe("T6: not TLS", () => {
  it("T6 GC: TLS to a plaintext port: tls_handshake, not sent", async () => {
    const peer = await peerOf(async (connection) => {
      await connection.readBytes(20);
      await connection.write("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
      await connection.hold();
    });
    const { client } = secure([peer.address], { ca: ca.cert });
    const error = await failed(get(client, {}));
    expect(error).toMatchObject(refusedAs("tls_handshake"));
    expect(error.details).toMatch(/does not speak TLS/);
  });

  it("T6 GC: plaintext to a TLS port: no connection, nothing sent, nothing hangs", async () => {
    const { address, calls } = await tlsServer(served);
    const { client } = clientOf([address]);
    expect(await failed(get(client, {}))).toMatchObject({
      code: Status.UNAVAILABLE,
      cause: { code: "connect_failed", progress: "not-sent" },
    });
    expect(calls).toBe(0);
  });

  it("T6 GC: a handshake at one byte at a time ends with the connect timeout", async () => {
    const slow = await peerOf(async (connection) => {
      // A record that says it has 16 KiB, and never has.
      await connection.write("\x16\x03\x03\x40\x00");
      for (; !connection.gone; await connection.pause(20)) await connection.write("\x02");
    });
    const { client } = secure([slow.address], { ca: ca.cert }, { timeouts: { connectMs: 200 } });
    const startedAt = performance.now();
    expect(await failed(get(client, {}))).toMatchObject(refusedAs("tls_handshake"));
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    await until(() => slow.open === 0);
  });
});

describe("T7: the wall clock jumps", () => {
  it("T7 GC: an hour ahead, 1970 and back: calls go on while the certificate is valid by it", async () => {
    const { address } = await tlsServer(ASKING);
    const runtime = new JumpyRuntime(true);
    const own = ca.issue({ notAfter: Date.now() + DAY_MS });
    const caller = secure([address], { ca: ca.cert, ...own }, {}, runtime);
    expect(await asked(caller)).toBe("OK");
    for (const offsetMs of [3_600_000, -Date.now(), -3_600_000, 0]) {
      runtime.offsetMs = offsetMs;
      expect(await asked(caller)).toBe("OK");
    }
  });

  it("T7 GC: connections do not outlive our certificate, however the wall clock came there", async () => {
    const { address, shown } = await tlsServer(ASKING);
    const runtime = new JumpyRuntime(true);
    const own = ca.issue({ notAfter: Date.now() + DAY_MS });
    const caller = secure([address], { ca: ca.cert, ...own }, {}, runtime);
    expect(await asked(caller)).toBe("OK");
    const before = shown.length;
    // Shortly before its end calls go on, over connections that are replaced.
    runtime.offsetMs = DAY_MS - 20_000;
    for (let i = 0; shown.length === before && i < 1_000; i++) {
      expect(await asked(caller)).toBe("OK");
      await sleep(5);
    }
    expect(shown.length).toBeGreaterThan(before);
    // After it nothing new is made, and no caller is promised one.
    runtime.offsetMs = DAY_MS + 1_000;
    let last = "OK";
    for (let i = 0; last === "OK" && i < 1_000; i++) {
      last = await asked(caller);
      await sleep(5);
    }
    expect(last).toBe("certificate_expired");
    runtime.offsetMs = 0;
    expect(await asked(caller)).toBe("OK");
  });
});

it("T8 GC: key of another certificate, truncated and half-written PEM: the previous pair stays", async () => {
  const files = filesIn(folder());
  const first = ca.issue();
  const write = ({ cert, key }: Issued): void => {
    writeFileSync(files.cert, cert);
    writeFileSync(files.key, key);
  };
  write(first);
  const { address, sockets, shown } = await tlsServer(ASKING);
  const caller = secure([address], { ...files, ca: ca.cert });
  expect(await asked(caller)).toBe("OK");
  const problem = (): string | undefined => caller.mesh.snapshot().services[0]!.connections.problem;
  const other = ca.issue();
  const bad: readonly ["cert" | "key", string, RegExp][] = [
    ["key", other.key, /tls\.key must be the key/],
    ["cert", first.cert.slice(0, 300), /tls\.cert/],
    ["cert", "", /tls\.cert must hold at least one certificate/],
    ["key", first.key.slice(0, 100), /tls\.key/],
  ];
  for (const [field, content, text] of bad) {
    writeFileSync(files[field], content);
    await until(() => text.test(problem() ?? ""));
    // Also where a new connection is needed.
    sockets.at(-1)!.destroy();
    await sleep(20);
    expect(await asked(caller)).toBe("OK");
    write(first);
    await until(() => problem() === undefined);
  }
  // And a pair that fits is taken up.
  write(other);
  for (let i = 0; shown.at(-1) !== other.cert && i < 1_000; i++) {
    expect(await asked(caller)).toBe("OK");
    await sleep(5);
  }
  expect(shown.at(-1)).toBe(other.cert);
});

it("T9 GC: an empty bundle is no bundle: refused before the first call, healed when it is back", async () => {
  expect(() => secure(["127.0.0.1:1"], { ca: "" })).toThrow(/tls\.ca: must not be empty/);
  const { address, sockets } = await tlsServer(served);
  for (const content of ["", "garbage", ca.cert.slice(0, 200)]) {
    const path = filesIn(folder()).ca;
    writeFileSync(path, ca.cert);
    const caller = secure([address], { ca: path });
    const before = sockets.length;
    writeFileSync(path, content);
    expect(await failed(get(caller.client, {}))).toMatchObject({
      code: Status.UNAVAILABLE,
      cause: { code: "identity_unavailable", reason: "no_certificate", progress: "not-sent" },
    });
    expect(sockets).toHaveLength(before);
    writeFileSync(path, ca.cert);
    let end = "";
    for (let i = 0; end !== "OK" && i < 500; i++) {
      end = await asked(caller);
      await sleep(10);
    }
    expect(end).toBe("OK");
  }
});

it("T13 GC: every connection is a full handshake", async () => {
  const { address, sockets, reused } = await tlsServer(served);
  const caller = secure([address], { ca: ca.cert });
  for (let i = 0; i < 4; i++) {
    expect(await asked(caller)).toBe("OK");
    expect(sockets).toHaveLength(i + 1);
    const last = sockets.at(-1)!;
    last.destroy();
    await once(last, "close");
    await sleep(20);
  }
  expect(reused).toEqual([false, false, false, false]);
});

it("C14 GC: an address taken over by another service is known by its certificate, and nothing is sent", async () => {
  const before = await tlsServer(served);
  const other = await tlsServer(served);
  const caller = secure(
    [before.address, other.address],
    { ca: ca.cert },
    { balancer: { kind: "round-robin" } },
  );
  for (let i = 0; i < 2; i++) expect(await asked(caller)).toBe("OK");
  await before.stop();
  const port = Number(before.address.split(":")[1]);
  const impostor = await tlsServer(ca.issue({ names: ["impostor.test"] }), port);
  await sleep(50); // the client has seen its connection end
  for (let i = 0; i < 4; i++) expect(await asked(caller)).toBe("OK");
  expect(impostor.calls).toBe(0);
  expect(endpointOf(caller.mesh, before.address).breaker.state).not.toBe("closed");
});
