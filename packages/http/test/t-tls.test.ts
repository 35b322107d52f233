/** Section T of the fault matrix, library client: certificates, handshakes, rotation. */
import { once } from "node:events";
import { mkdtempSync, rmSync, watch, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer as createTlsServer, type TlsOptions } from "node:tls";
import { createMesh, type ServiceInput } from "@inmesh/core";
import { countResources, expectBaseline, type ResourceCount } from "@inmesh/core/testing";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { meshClient } from "../src/index.ts";
import { bench, calm, endpointOf, failure, sleep, type Bench } from "./support/bench.ts";
import { TestCa, type Issued } from "./support/ca.ts";
import { folder } from "./support/folders.ts";
import { DAY_MS, JumpyRuntime, tlsServer, wrongPeers } from "./support/tls.ts";
import { answering, peerOf, until } from "./wire.ts";

const ca = new TestCa();
const served = ca.issue();
const POST = { method: "POST", body: "x" };
const NO_BREAKER = { consecutiveFailures: 0, failureSpanMs: 0, successRatio: 0 };

const secure = (
  addresses: readonly string[],
  tls: ServiceInput["tls"],
  more: ServiceInput = {},
): Bench => bench(addresses, { scheme: "https", ...(tls === undefined ? {} : { tls }), ...more });

/** The rule that a configuration with this `tls` breaks. */
function refusedRule(tls: ServiceInput["tls"]): string {
  try {
    createMesh({
      env: {},
      config: {
        services: { svc: { url: "https://svc.test", ...(tls === undefined ? {} : { tls }) } },
      },
    });
  } catch (error) {
    return String(error);
  }
  throw new Error("the configuration was accepted");
}

let baseline: ResourceCount;
beforeAll(async () => {
  // What TLS opens once must not count.
  const server = createTlsServer(served);
  server.on("tlsClientError", () => {});
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  {
    await using one = secure([`127.0.0.1:${(server.address() as AddressInfo).port}`], {});
    await failure(one.client.fetch("/"));
  }
  server.close();
  await once(server, "close");
  watch(tmpdir(), { persistent: false }).close();
  baseline = countResources();
});
afterAll(() => expectBaseline(baseline));

for (const http2 of [false, true]) {
  const version = http2 ? "HTTP/2" : "HTTP/1.1";

  describe(`T1 LC: rotation over ${version}`, () => {
    it(`T1 LC: twenty rotations of both sides under load, over ${version}: no failed call`, async () => {
      const dir = folder();
      const files = {
        cert: join(dir, "cert.pem"),
        key: join(dir, "key.pem"),
        ca: join(dir, "ca.pem"),
      };
      // The certificate before the key: the pair does not fit for a moment, as in real life.
      const write = async ({ cert, key }: Issued, apart: boolean): Promise<void> => {
        writeFileSync(files.cert, cert);
        if (apart) await sleep(30);
        writeFileSync(files.key, key);
      };
      writeFileSync(files.ca, ca.cert);
      await write(ca.issue(), false);
      const { server, address, sockets, shown } = await tlsServer(
        { ...served, ca: ca.cert, requestCert: true, rejectUnauthorized: true },
        http2,
      );
      await using one = secure([address], files, { http2 });
      const stop = new AbortController();
      let calls = 0;
      const failures: string[] = [];
      const load = Array.from({ length: 8 }, async () => {
        while (!stop.signal.aborted) {
          const init = calls % 2 === 0 ? POST : {};
          await one.client.fetch("/", init).then(
            (reply) => reply.text(),
            (error: unknown) => failures.push(String(error)),
          );
          calls++;
        }
      });
      for (let i = 0; i < 20; i++) {
        const next = ca.issue();
        server.setSecureContext({ ...ca.issue(), ca: ca.cert });
        await write(next, i % 2 === 0);
        await until(() => shown.at(-1) === next.cert, 5_000);
      }
      stop.abort();
      await Promise.all(load);
      expect(failures).toEqual([]);
      expect(calls).toBeGreaterThan(20);
      // Old connections were drained, not kept beside the new ones.
      await until(() => sockets.filter((socket) => !socket.destroyed).length <= 8 + 1, 6_000);
    });
  });

  describe(`T3 LC: certificates of peers over ${version}`, () => {
    for (const [name, issued, reason, text] of wrongPeers(ca)) {
      it(`T3 LC: ${name}, over ${version}: refused as ${reason}, not sent, and another endpoint gets the call`, async () => {
        const bad = await tlsServer(issued, http2);
        {
          await using one = secure([bad.address], { ca: ca.cert }, { http2 });
          const error = await failure(one.client.fetch("/", POST));
          expect(error).toMatchObject({ code: "connect_failed", reason, progress: "not-sent" });
          expect(error.message).toMatch(text);
          expect(endpointOf(one.mesh, bad.address).breaker.state).not.toBe("closed");
        }
        const good = await tlsServer(served, http2);
        await using both = secure(
          [bad.address, good.address],
          { ca: ca.cert },
          {
            http2,
            balancer: { kind: "round-robin" },
          },
        );
        for (let i = 0; i < 4; i++) {
          expect(await (await both.client.fetch("/", POST)).text()).toBe("ok");
        }
      });
    }

    it(`T3 LC: the name is the service's, or tls.serverName, over ${version}`, async () => {
      const { address, sockets } = await tlsServer(ca.issue({ names: ["orders.test"] }), http2);
      await using named = secure([address], { ca: ca.cert, serverName: "orders.test" }, { http2 });
      expect(await (await named.client.fetch("/")).text()).toBe("ok");
      await using own = secure(
        [address],
        { ca: ca.cert },
        { http2, authority: "orders.test:8443" },
      );
      expect(await (await own.client.fetch("/")).text()).toBe("ok");
      expect(sockets.map(({ servername }) => servername)).toEqual(["orders.test", "orders.test"]);
    });
  });

  describe(`T5 LC: our certificate refused, over ${version}`, () => {
    const strictly: TlsOptions = {
      ...served,
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: "TLSv1.3",
    };

    it(`T5 LC: the peer's alert after the handshake, over ${version}: not sent, and no endpoint is charged`, async () => {
      // OpenSSL itself refuses a client without a certificate, by an alert. Over HTTP/1.1 the request
      // is on its way by then, and Node's server closes on it: the alert may be lost with the reset.
      const strict = await tlsServer({ ...strictly, ca: ca.cert }, http2);
      await using one = secure([strict.address], { ca: ca.cert }, { http2, breaker: NO_BREAKER });
      let rejected = 0;
      for (let i = 0; i < 20; i++) {
        const error = await failure(one.client.fetch("/", POST));
        if (error.reason === "tls_rejected_by_peer") {
          rejected++;
          expect(error).toMatchObject({ code: "connect_failed", progress: "not-sent" });
          expect(error.message).toMatch(/tls\.cert/);
        } else expect(error.progress).toBe(http2 ? "not-sent" : "maybe-processed");
      }
      if (http2) {
        expect(rejected).toBeGreaterThan(0);
        expect(endpointOf(one.mesh, strict.address).breaker.consecutiveFailures).toBe(0);
      }
    });

    it(`T5 LC: a close without an alert, over ${version}, proves ${http2 ? "something before the settings" : "nothing"}`, async () => {
      // Node's servers close when they do not believe a certificate, and say nothing.
      const strict = await tlsServer({ ...strictly, ca: new TestCa("theirs").cert }, http2);
      await using one = secure([strict.address], { ca: ca.cert, ...ca.issue() }, { http2 });
      const error = await failure(one.client.fetch("/", POST));
      expect(error.progress).toBe(http2 ? "not-sent" : "maybe-processed");
    });
  });

  it(`T13 LC: every connection is a full handshake, over ${version}`, async () => {
    const { address, sockets, reused } = await tlsServer(served, http2);
    await using one = secure(
      [address],
      { ca: ca.cert },
      { http2, limits: { maxConnectionsPerEndpoint: 1 } },
    );
    for (let i = 0; i < 4; i++) {
      expect(await (await one.client.fetch("/")).text()).toBe("ok");
      const last = sockets.at(-1)!;
      last.destroy();
      await once(last, "close");
      await sleep(10);
    }
    expect(sockets).toHaveLength(4);
    expect(reused).toEqual([false, false, false, false]);
  });
}

describe("T2 LC: our own certificate has expired", () => {
  it("T2 LC: nothing is dialled any more, least of all in plain text; a new file heals it", async () => {
    const dir = folder();
    const now = Date.now();
    const files = { cert: join(dir, "cert.pem"), key: join(dir, "key.pem") };
    const write = ({ cert, key }: Issued): void => {
      writeFileSync(files.key, key);
      writeFileSync(files.cert, cert);
    };
    write(ca.issue({ notBefore: now - 2 * DAY_MS, notAfter: now - DAY_MS }));
    const { address, sockets } = await tlsServer({
      ...served,
      ca: ca.cert,
      requestCert: true,
      rejectUnauthorized: false,
    });
    await using one = secure([address], { ca: ca.cert, ...files });
    const error = await failure(one.client.fetch("/", POST));
    expect(error).toMatchObject({
      code: "identity_unavailable",
      reason: "certificate_expired",
      progress: "not-sent",
    });
    expect(sockets).toHaveLength(0);
    expect(endpointOf(one.mesh, address).breaker.state).toBe("closed");
    write(ca.issue());
    for (let tries = 0; ; tries++) {
      const reply = await one.client.fetch("/", POST).catch(() => undefined);
      if (reply !== undefined) {
        expect(await reply.text()).toBe("ok");
        break;
      }
      expect(tries).toBeLessThan(500);
      await sleep(10);
    }
  });
});

describe("T4 LC: rotation of the bundle", () => {
  it("T4 LC: old and new are believed together, then the old no more; live calls go on", async () => {
    const dir = folder();
    const file = join(dir, "ca.pem");
    const next = new TestCa("next authority");
    writeFileSync(file, ca.cert);
    const { server, address, sockets } = await tlsServer(served);
    await using one = secure([address], { ca: file });
    expect(await (await one.client.fetch("/")).text()).toBe("ok");
    const rotate = async (bundle: string): Promise<void> => {
      const before = sockets.length;
      writeFileSync(file, bundle);
      // New connections are made as soon as it is in force.
      for (let i = 0; sockets.length === before && i < 500; i++) {
        await (await one.client.fetch("/")).text().catch(() => {});
        await sleep(5);
      }
    };
    await rotate(ca.cert + next.cert);
    server.setSecureContext(next.issue());
    await rotate(next.cert);
    expect(await (await one.client.fetch("/")).text()).toBe("ok");
    // The old authority is not trusted any more.
    server.setSecureContext(ca.issue());
    sockets.at(-1)!.destroy();
    await sleep(50);
    expect(await failure(one.client.fetch("/", POST))).toMatchObject({ reason: "peer_untrusted" });
  });
});

describe("T6 LC: not TLS", () => {
  it("T6 LC: TLS to a plaintext port: tls_handshake, not sent", async () => {
    const peer = await peerOf(async (connection) => {
      await connection.readBytes(20);
      await connection.write("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
      await connection.hold();
    });
    await using one = secure([peer.address], { ca: ca.cert });
    const error = await failure(one.client.fetch("/", POST));
    expect(error).toMatchObject({
      code: "connect_failed",
      reason: "tls_handshake",
      progress: "not-sent",
    });
    expect(error.message).toMatch(/does not speak TLS/);
  });

  it("T6 LC: plaintext to a TLS port fails, and nothing hangs", async () => {
    const { address } = await tlsServer(served);
    await using one = bench([address]);
    const error = await failure(one.client.fetch("/", POST));
    expect(["bad_response", "connection_lost"]).toContain(error.code);
  });

  it("T6 LC: a handshake at one byte at a time ends with the connect timeout as tls_handshake", async () => {
    const peer = await peerOf(async (connection) => {
      for (;;) {
        await connection.write("\x16");
        await connection.pause(20);
        if (connection.gone) return;
      }
    });
    const slow = await peerOf(async (connection) => {
      // A record that says it has 16 KiB, and never has.
      await connection.write("\x16\x03\x03\x40\x00");
      for (; !connection.gone; await connection.pause(20)) await connection.write("\x02");
    });
    for (const { address } of [peer, slow]) {
      await using one = secure([address], { ca: ca.cert }, { timeouts: { connectMs: 200 } });
      const startedAt = performance.now();
      const error = await failure(one.client.fetch("/", POST));
      expect(error).toMatchObject({ reason: "tls_handshake", progress: "not-sent" });
      expect(performance.now() - startedAt).toBeLessThan(2_000);
    }
  });
});

/** A client whose own certificate ends in a day; `asked` gives the reply, or the mesh's reason. */
function dated(address: string, runtime: JumpyRuntime) {
  const svc: ServiceInput = {
    scheme: "https",
    authority: "svc",
    discovery: { static: [address] },
    tls: { ca: ca.cert, ...ca.issue({ notAfter: Date.now() + DAY_MS }) },
    limits: { maxConnectionsPerEndpoint: 1 },
  };
  const mesh = createMesh({ config: { services: { svc } }, env: {}, runtime });
  onTestFinished(() => mesh.close(0));
  const client = meshClient("svc", { mesh });
  const asked = async (): Promise<string> =>
    client.fetch("/", POST).then(
      (reply) => reply.text(),
      (error: unknown) => (error as { reason: string }).reason,
    );
  return { mesh, svc, asked };
}

describe("T7 LC: the wall clock jumps", () => {
  it("T7 LC: an hour ahead, 1970 and back: calls go on while the certificate is valid by it", async () => {
    const { address } = await tlsServer({ ...served, ca: ca.cert, requestCert: true });
    const runtime = new JumpyRuntime();
    const { mesh, svc, asked } = dated(address, runtime);
    expect(await asked()).toBe("ok");
    for (const offsetMs of [3_600_000, -Date.now(), -3_600_000, 0]) {
      runtime.offsetMs = offsetMs;
      expect(await asked()).toBe("ok");
    }
    // Past its end nothing new is dialled; back again, it is.
    runtime.offsetMs = 2 * DAY_MS;
    const fresh = meshClient("svc2", { mesh, ...svc });
    expect(await failure(fresh.fetch("/"))).toMatchObject({ reason: "certificate_expired" });
    runtime.offsetMs = 0;
    expect(await (await fresh.fetch("/")).text()).toBe("ok");
    await calm(mesh);
  });
});

it("T7 LC: connections do not outlive our certificate, however the wall clock came there", async () => {
  const { address, shown } = await tlsServer({ ...served, ca: ca.cert, requestCert: true });
  const runtime = new JumpyRuntime(true);
  const { asked } = dated(address, runtime);
  expect(await asked()).toBe("ok");
  expect(await asked()).toBe("ok");
  const before = shown.length;
  // Shortly before its end calls go on, over connections that are replaced.
  runtime.offsetMs = DAY_MS - 20_000;
  for (let i = 0; shown.length === before && i < 200; i++) {
    expect(await asked()).toBe("ok");
    await sleep(5);
  }
  expect(shown.length).toBeGreaterThan(before);
  // After it the connections that are left go too, and nothing new is made.
  runtime.offsetMs = DAY_MS + 1_000;
  let last = "ok";
  for (let i = 0; last === "ok" && i < 200; i++) {
    last = await asked();
    await sleep(5);
  }
  expect(last).toBe("certificate_expired");
  runtime.offsetMs = 0;
  expect(await asked()).toBe("ok");
});

describe("T8 LC: files that do not fit", () => {
  it("T8 LC: key of another certificate, truncated and half-written PEM: the previous pair stays", async () => {
    const dir = folder();
    const files = { cert: join(dir, "cert.pem"), key: join(dir, "key.pem") };
    const first = ca.issue();
    writeFileSync(files.cert, first.cert);
    writeFileSync(files.key, first.key);
    const { address, sockets, shown } = await tlsServer({
      ...served,
      ca: ca.cert,
      requestCert: true,
      rejectUnauthorized: true,
    });
    await using one = secure(
      [address],
      { ca: ca.cert, ...files },
      { limits: { maxConnectionsPerEndpoint: 1 } },
    );
    const asked = async (): Promise<string> => (await one.client.fetch("/", POST)).text();
    expect(await asked()).toBe("ok");
    const problem = (): string | undefined => one.mesh.snapshot().services[0]!.connections.problem;
    const other = ca.issue();
    const bad: readonly [string, string, RegExp][] = [
      ["key", other.key, /tls\.key must be the key/],
      ["cert", first.cert.slice(0, 300), /tls\.cert/],
      ["cert", "", /tls\.cert must hold at least one certificate/],
      ["key", first.key.slice(0, 100), /tls\.key/],
    ];
    for (const [field, content, text] of bad) {
      writeFileSync(files[field as "cert" | "key"], content);
      await until(() => text.test(problem() ?? ""), 5_000);
      // Also where a new connection is needed.
      sockets.at(-1)!.destroy();
      await sleep(20);
      expect(await asked()).toBe("ok");
      writeFileSync(files.cert, first.cert);
      writeFileSync(files.key, first.key);
      await until(() => problem() === undefined, 5_000);
    }
    // And a pair that fits is taken up.
    writeFileSync(files.cert, other.cert);
    writeFileSync(files.key, other.key);
    for (let i = 0; shown.at(-1) !== other.cert && i < 500; i++) {
      expect(await asked()).toBe("ok");
      await sleep(5);
    }
    expect(shown.at(-1)).toBe(other.cert);
  });
});

describe("T9 LC: nothing where certificates should be", () => {
  const dir = mkdtempSync(join(tmpdir(), "inmesh-tls-"));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const file = (name: string, content: string): string => {
    const path = join(dir, name);
    writeFileSync(path, content);
    return path;
  };
  const cases: readonly [string, () => ServiceInput["tls"], RegExp][] = [
    ["an empty text as ca", () => ({ ca: "" }), /tls\.ca: must not be empty/],
    [
      "an empty file as ca",
      () => ({ ca: file("empty", "") }),
      /tls\.ca: must hold at least one certificate/,
    ],
    [
      "garbage as ca",
      () => ({ ca: file("garbage", "garbage") }),
      /tls\.ca: must hold at least one/,
    ],
    [
      "a certificate that is none",
      () => ({ ca: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----" }),
      /tls\.ca: must hold certificates that can be parsed/,
    ],
    [
      "a bundle that is cut",
      () => ({ ca: file("cut", ca.cert + ca.cert.slice(0, 200)) }),
      /tls\.ca: .*cut/,
    ],
    ["a key as ca", () => ({ ca: served.key }), /tls\.ca: must hold at least one certificate/],
    [
      "no file",
      () => ({ ca: join(dir, "absent") }),
      /tls\.ca: must be the path of a PEM file .*ENOENT/,
    ],
    ["a folder", () => ({ ca: dir }), /tls\.ca: must be the path of a file/],
    ["a certificate without a key", () => ({ cert: served.cert }), /tls\.key: must be written too/],
    ["a key without a certificate", () => ({ key: served.key }), /tls\.cert: must be written too/],
    [
      "the key of another",
      () => ({ cert: served.cert, key: ca.issue().key }),
      /tls\.key: must be the key of/,
    ],
    [
      "an empty certificate",
      () => ({ cert: file("empty2", ""), key: served.key }),
      /tls\.cert: must hold at least/,
    ],
    [
      "an empty key",
      () => ({ cert: served.cert, key: file("empty3", "") }),
      /tls\.key: must be a private key/,
    ],
    [
      "an address as server name",
      () => ({ serverName: "10.0.0.1" }),
      /tls\.serverName: must be a DNS name/,
    ],
    ["a version that is none", () => ({ minVersion: "TLSv1.1" as never }), /tls\.minVersion/],
  ];
  for (const [name, tls, rule] of cases) {
    it(`T9 LC: ${name} is a mistake of the configuration, reported at once`, () => {
      const text = refusedRule(tls());
      expect(text).toMatch(rule);
      expect(text).not.toContain("PRIVATE KEY");
    });
  }

  it("T9 LC: files that go missing before the first call refuse it, and heal when they are back", async () => {
    const { address, sockets } = await tlsServer(served);
    const path = file("ca", ca.cert);
    await using one = secure([address], { ca: path });
    writeFileSync(path, "");
    expect(await failure(one.client.fetch("/", POST))).toMatchObject({
      code: "identity_unavailable",
      reason: "no_certificate",
      progress: "not-sent",
    });
    expect(sockets).toHaveLength(0);
    writeFileSync(path, ca.cert);
    let text = "";
    for (let i = 0; text === "" && i < 500; i++) {
      text = await one.client.fetch("/", POST).then(
        (reply) => reply.text(),
        () => "",
      );
      await sleep(10);
    }
    expect(text).toBe("ok");
  });
});

it("T11 LC: no SNI for an address, and the certificate must be for that address", async () => {
  const good = await tlsServer(ca.issue({ names: ["127.0.0.1"] }));
  await using one = secure([good.address], { ca: ca.cert }, { authority: good.address });
  expect(await (await one.client.fetch("/")).text()).toBe("ok");
  expect(good.sockets[0]!.servername).toBe(false);
  const other = await tlsServer(ca.issue({ names: ["127.0.0.2", "localhost"] }));
  await using two = secure([other.address], { ca: ca.cert }, { authority: other.address });
  expect(await failure(two.client.fetch("/"))).toMatchObject({ reason: "identity_mismatch" });
});

it("T3 LC: a server below tls.minVersion is refused", async () => {
  const { address } = await tlsServer({ ...served, maxVersion: "TLSv1.2" });
  await using old = secure([address], { ca: ca.cert });
  expect(await (await old.client.fetch("/")).text()).toBe("ok");
  await using strict = secure([address], { ca: ca.cert, minVersion: "TLSv1.3" });
  expect(await failure(strict.client.fetch("/"))).toMatchObject({ reason: "tls_handshake" });
});

it("T6 LC: a dial that fails for many queued calls gives each its own error", async () => {
  const closed = await answering("");
  const { address } = closed;
  await closed.close();
  for (const http2 of [false, true]) {
    await using one = bench([address], { http2, limits: { maxConnectionsPerEndpoint: 1 } });
    const errors = await Promise.all(
      Array.from({ length: 5 }, () => failure(one.client.fetch("/", POST))),
    );
    expect(new Set(errors).size).toBe(5);
  }
});

for (const end of ["fin", "rst"] as const) {
  it(`C17 LC: ${end} in the middle of a handshake: a POST is sent again as R0, elsewhere`, async () => {
    let met = 0;
    const bad = await peerOf(async (connection) => {
      await connection.readBytes(50);
      met++;
      connection[end]();
    });
    const good = await tlsServer(served);
    await using one = secure(
      [bad.address, good.address],
      { ca: ca.cert },
      { balancer: { kind: "round-robin" } },
    );
    const tried: string[] = [];
    for (let i = 0; i < 4; i++) {
      const reply = await one.client.fetch("/", POST);
      expect(await reply.text()).toBe("ok");
      tried.push(...reply.mesh.tried);
    }
    expect(met).toBeGreaterThan(0);
    expect(tried).toContain(bad.address);
    expect(endpointOf(one.mesh, bad.address).breaker.state).not.toBe("closed");
  });
}

it("C14 LC: an address taken over by another service is known by its certificate, and nothing is sent", async () => {
  let strayed = 0;
  const before = await tlsServer(served);
  const { port } = before.server.address() as AddressInfo;
  const other = await tlsServer(served);
  await using one = secure(
    [before.address, other.address],
    { ca: ca.cert },
    { balancer: { kind: "round-robin" } },
  );
  for (let i = 0; i < 2; i++) expect(await (await one.client.fetch("/", POST)).text()).toBe("ok");
  for (const socket of before.sockets) socket.destroy();
  before.server.close();
  await once(before.server, "close");
  await sleep(50); // the client has seen its connections end
  const impostor = createServer(ca.issue({ names: ["impostor.test"] }), (_, response) => {
    strayed++;
    response.end("not yours");
  });
  impostor.on("tlsClientError", () => {});
  impostor.listen(port, "127.0.0.1");
  await once(impostor, "listening");
  onTestFinished(() => void impostor.close());
  for (let i = 0; i < 4; i++) expect(await (await one.client.fetch("/", POST)).text()).toBe("ok");
  expect(strayed).toBe(0);
  expect(endpointOf(one.mesh, before.address).breaker.state).not.toBe("closed");
});
