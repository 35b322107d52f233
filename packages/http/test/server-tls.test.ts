/** Section T of the fault matrix, server half: certificates, clients' certificates, handshakes. */
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { RequestListener } from "node:http";
import { connect as connect2 } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import { NodeRuntime } from "@inmesh/core/spi";
import { meshServer, type MeshServer, type ServerOptions, type ServerTls } from "@inmesh/http";
import { describe, expect, it, onTestFinished } from "vitest";
import { selfSigned, TestCa, type Issued } from "./support/ca.ts";
import { RawClient } from "./support/raw-client.ts";
import { clientOf, meshOf, sleep, until } from "./wire.ts";

const ca = new TestCa();
const DAY_MS = 86_400_000;
const OK: RequestListener = (_request, response) => void response.end("ok");

async function start(
  tls: ServerTls,
  options: ServerOptions = {},
  handler: RequestListener = OK,
): Promise<MeshServer> {
  const server = meshServer(handler, { tls, discoveryWaitMs: 0, idleWaitMs: 20, ...options });
  await server.listen(0, "127.0.0.1");
  onTestFinished(() => server.close(0));
  return server;
}

const portOf = (server: MeshServer): number => server.address()!.port;
const addressOf = (server: MeshServer): string => `127.0.0.1:${portOf(server)}`;

/** A handshake; rejects if it fails. */
async function handshake(server: MeshServer, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connect({
    port: portOf(server),
    host: "127.0.0.1",
    servername: "svc",
    ca: ca.cert,
    ...options,
  });
  onTestFinished(() => void socket.destroy());
  await once(socket, "secureConnect");
  socket.on("error", () => {});
  return socket;
}

/** The reply to a request; the empty text if the connection ends without one. */
async function ask(socket: TLSSocket, path = "/"): Promise<string> {
  let text = "";
  const over = new Promise<void>((resolve) => {
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      if (/\r\n\r\n[^]+/.test(text)) resolve();
    });
    socket.on("close", () => resolve());
  });
  socket.write(`GET ${path} HTTP/1.1\r\nhost: svc\r\n\r\n`);
  await over;
  socket.removeAllListeners("data");
  return text;
}

/** What a client with this certificate gets of the server: a reply, or nothing. */
async function askWith(server: MeshServer, shown: Partial<Issued>): Promise<string> {
  // In TLS 1.3 the client has finished before the server has looked at its certificate.
  const socket = await handshake(server, shown).catch(() => undefined);
  if (socket === undefined) return "";
  const text = await ask(socket);
  socket.destroy();
  return text;
}

/** The certificate that new connections are shown. */
async function shownBy(server: MeshServer, options?: ConnectionOptions): Promise<string> {
  const socket = await handshake(server, options);
  const text = socket.getPeerX509Certificate()!.toString();
  socket.destroy();
  return text;
}

interface Files {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

function files(first: Issued, bundle: string = ca.cert): Files {
  const dir = mkdtempSync(join(tmpdir(), "inmesh-server-tls-"));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  const paths = { cert: join(dir, "cert.pem"), key: join(dir, "key.pem"), ca: join(dir, "ca.pem") };
  writeFileSync(paths.cert, first.cert);
  writeFileSync(paths.key, first.key);
  writeFileSync(paths.ca, bundle);
  return paths;
}

async function eventually(holds: () => Promise<boolean>): Promise<void> {
  for (let i = 0; !(await holds()); i++) {
    if (i > 1_000) throw new Error("does not come true");
    await sleep(10);
  }
}

for (const http2 of [false, true]) {
  const version = http2 ? "HTTP/2" : "HTTP/1.1";

  it(`T1 LS: twenty rotations under load, over ${version}: no failed call`, async () => {
    const { cert, key } = files(ca.issue());
    const server = await start({ cert, key }, { http2 });
    const client = clientOf([addressOf(server)], {
      scheme: "https",
      tls: { ca: ca.cert, serverName: "svc" },
      http2,
    });
    const load = { stopped: false };
    let calls = 0;
    const results = new Set<string>();
    const workers = Array.from({ length: 8 }, async () => {
      while (!load.stopped) {
        results.add(
          await client
            .fetch("/", calls++ % 2 === 0 ? {} : { method: "POST", body: "x" })
            .then((reply) => reply.text())
            .catch((error: Error) => error.message),
        );
        await sleep(1); // calls that fail at once must not be a loop without end
      }
    });
    for (let i = 0; i < 20; i++) {
      const next = ca.issue();
      writeFileSync(cert, next.cert);
      // The pair does not fit for a moment, as in real life.
      if (i % 2 === 0) await sleep(30);
      writeFileSync(key, next.key);
      await eventually(async () => (await shownBy(server)) === next.cert);
      expect(server.snapshot().problem).toBeUndefined();
    }
    load.stopped = true;
    await Promise.all(workers);
    expect([...results]).toEqual(["ok"]);
    expect(calls).toBeGreaterThan(100);
  });

  it(`T1 LS: connections leave before the end of what they were made with, over ${version}`, async () => {
    // Thirty seconds are for what is in progress: half a second is left.
    const { cert, key } = files(ca.issue({ notAfter: Date.now() + 30_500 }));
    const server = await start({ cert, key }, { http2, limits: { maxConnectionAgeMs: 60_000 } });
    const sockets: TLSSocket[] = [];
    server.server.on("secureConnection", (socket: TLSSocket) => sockets.push(socket));
    const client = clientOf([addressOf(server)], {
      scheme: "https",
      tls: { ca: ca.cert, serverName: "svc" },
      http2,
    });
    expect(await (await client.fetch("/")).text()).toBe("ok");
    const next = ca.issue();
    writeFileSync(cert, next.cert);
    writeFileSync(key, next.key);
    // The age of connections is looked at once a second here.
    await eventually(async () => {
      expect(await (await client.fetch("/")).text()).toBe("ok");
      return sockets[0]!.destroyed;
    });
    expect(sockets.length).toBeGreaterThan(1);
    expect(sockets.at(-1)!.destroyed).toBe(false);
  }, 20_000);

  describe(`clients' certificates over ${version}`, () => {
    const now = Date.now();
    const mine = ca.issue();
    const cases: readonly [string, Partial<Issued>][] = [
      ["none", {}],
      ["of another authority", new TestCa("another").issue()],
      ["signed by itself", selfSigned()],
      ["expired", ca.issue({ notBefore: now - 2 * DAY_MS, notAfter: now - DAY_MS })],
      ["not yet valid", ca.issue({ notBefore: now + DAY_MS, notAfter: now + 2 * DAY_MS })],
    ];
    it.each(cases)(`T3 LS: %s, over ${version}: no request gets in`, async (_name, shown) => {
      let ran = 0;
      const server = await start(
        { ...mine, ca: ca.cert, requestCert: true },
        { http2 },
        (_request, response) => {
          ran++;
          response.end("ok");
        },
      );
      if (http2) {
        const session = connect2(`https://127.0.0.1:${portOf(server)}`, {
          ca: ca.cert,
          servername: "svc",
          ...shown,
        });
        onTestFinished(() => session.destroy());
        session.on("error", () => {});
        const stream = session.request({ ":path": "/" });
        stream.on("error", () => {});
        await new Promise((resolve) => stream.on("close", resolve));
        expect(stream.rstCode).not.toBe(0);
      } else expect(await askWith(server, shown)).toBe("");
      expect(ran).toBe(0);
      // A client that is trusted is served.
      const client = clientOf([addressOf(server)], {
        scheme: "https",
        tls: { ca: ca.cert, serverName: "svc", ...ca.issue() },
        http2,
      });
      expect(await (await client.fetch("/")).text()).toBe("ok");
    });
  });
}

describe("T5 LS", () => {
  it.each([
    ["none", {}, /alert|certificate required/i],
    // Node closes on a certificate that OpenSSL has read and Node does not believe, without an alert.
    ["one of another authority", new TestCa("theirs").issue(), undefined],
  ])(
    "T5 LS: %s is refused after the client's handshake, no request gets in, and it is counted",
    async (_name, shown, alert) => {
      let ran = 0;
      const tls = { ...ca.issue(), ca: ca.cert, requestCert: true };
      const server = await start(tls, {}, () => void ran++);
      const socket = connect({
        port: portOf(server),
        host: "127.0.0.1",
        servername: "svc",
        ca: ca.cert,
        minVersion: "TLSv1.3",
        ...shown,
      });
      onTestFinished(() => void socket.destroy());
      let failure: Error | undefined;
      let secured = false;
      socket.on("error", (error) => (failure = error));
      socket.on("secureConnect", () => (secured = true));
      await new Promise((resolve) => socket.resume().on("close", resolve));
      expect(secured).toBe(true);
      if (alert !== undefined) expect(String(failure)).toMatch(alert);
      await until(() => server.snapshot().refused.handshake_failed === 1);
      expect(server.snapshot()).toMatchObject({
        refused: { handshake_failed: 1 },
        connections: 0,
      });
      expect(ran).toBe(0);
    },
  );
});

it("T2 LS: our own certificate has expired: not ready, until a newer one is there", async () => {
  class JumpyRuntime extends NodeRuntime {
    offsetMs = 0;
    override wallNow(): number {
      return super.wallNow() + this.offsetMs;
    }
  }
  const runtime = new JumpyRuntime();
  const { cert, key } = files(ca.issue());
  const server = await start({ cert, key }, { mesh: meshOf({ runtime }) });
  const ready = async (): Promise<string> => ask(await handshake(server), "/readyz");
  expect(await ready()).toMatch(/^HTTP\/1\.1 200/);
  runtime.offsetMs = DAY_MS;
  expect(await ready()).toMatch(/^HTTP\/1\.1 503[^]*\r\n\r\ncertificate expired\n$/);
  const next = ca.issue({ notAfter: Date.now() + 2 * DAY_MS });
  writeFileSync(cert, next.cert);
  writeFileSync(key, next.key);
  await eventually(async () => (await ready()).startsWith("HTTP/1.1 200"));
});

it("T4 LS: clients of the old and the new authority together, then of the new alone", async () => {
  const next = new TestCa("next authority");
  const paths = files(ca.issue());
  const server = await start({ ...paths, requestCert: true });
  const isIn = async (shown: Issued): Promise<boolean> =>
    (await askWith(server, shown)).endsWith("ok");
  const [old, young] = [ca.issue(), next.issue()];
  expect([await isIn(old), await isIn(young)]).toEqual([true, false]);
  const live = await handshake(server, old);
  writeFileSync(paths.ca, ca.cert + next.cert);
  await eventually(() => isIn(young));
  expect(await isIn(old)).toBe(true);
  writeFileSync(paths.ca, next.cert);
  await eventually(async () => !(await isIn(old)));
  expect(await isIn(young)).toBe(true);
  // A connection that is open is not broken off.
  expect(await ask(live)).toMatch(/ok$/);
});

it("T3 LS: with rejectUnauthorized off, the handler sees who was not believed", async () => {
  const tls = { ...ca.issue(), ca: ca.cert, requestCert: true, rejectUnauthorized: false };
  const server = await start(tls, {}, (request, response) => {
    response.end(`authorized: ${(request.socket as TLSSocket).authorized}`);
  });
  expect(await askWith(server, {})).toMatch(/authorized: false$/);
  expect(await askWith(server, selfSigned())).toMatch(/authorized: false$/);
  expect(await askWith(server, ca.issue())).toMatch(/authorized: true$/);
});

describe("files that do not fit", () => {
  const first = ca.issue();
  const other = ca.issue();
  const bad: readonly [string, "cert" | "key" | "ca", string, RegExp][] = [
    ["the key of another", "key", other.key, /^tls\.key must be the key of/],
    ["a certificate that is cut", "cert", first.cert.slice(0, 300), /^tls\.cert must hold/],
    ["an empty certificate", "cert", "", /^tls\.cert must hold at least one/],
    ["half a key", "key", first.key.slice(0, 100), /^tls\.key must be a private key/],
    ["an empty bundle", "ca", "", /^tls\.ca must hold at least one certificate/],
    ["a bundle of garbage", "ca", "garbage", /^tls\.ca must hold at least one/],
    [
      "a bundle that is cut",
      "ca",
      ca.cert + ca.cert.slice(0, 100),
      /^tls\.ca must hold whole certificates/,
    ],
  ];

  it.each(bad)(
    "T8 LS, T9 LS: %s: at the start refused, later the last good ones stay",
    async (_name, field, content, rule) => {
      const paths = files(first);
      const server = await start({ ...paths, requestCert: true });
      writeFileSync(paths[field], content);
      expect(() => meshServer(OK, { tls: { ...paths, requestCert: true } })).toThrow(
        new RegExp(`^meshServer: ${rule.source.slice(1)}`),
      );
      await until(() => rule.test(server.snapshot().problem ?? ""), 10_000);
      expect(await askWith(server, ca.issue())).toMatch(/ok$/);
      expect(await askWith(server, selfSigned())).toBe("");
      writeFileSync(paths.ca, ca.cert);
      writeFileSync(paths.cert, other.cert);
      writeFileSync(paths.key, other.key);
      await eventually(async () => (await shownBy(server, ca.issue())) === other.cert);
      expect(server.snapshot().problem).toBeUndefined();
    },
  );

  it("T9 LS: no file, a folder, options that contradict: refused with what is wrong", () => {
    const refusal = (tls: object): string => {
      try {
        meshServer(OK, { tls: tls as ServerTls });
      } catch (error) {
        expect(error).toBeInstanceOf(TypeError);
        return String(error);
      }
      return "accepted";
    };
    expect(refusal({ ...first, cert: "/nowhere.pem" })).toMatch(/tls\.cert .*ENOENT/);
    expect(refusal({ ...first, key: tmpdir() })).toMatch(/tls\.key must be the path of a file/);
    expect(refusal({ cert: first.cert })).toMatch(/tls\.key must be written/);
    expect(refusal({})).toMatch(/must be written/);
    expect(refusal({ ...first, ca: [] })).toMatch(/tls\.ca must be a path or a PEM text/);
    expect(refusal({ ...first, requestCert: true })).toMatch(/tls\.ca must be written/);
    expect(refusal({ ...first, ca: ca.cert })).toMatch(/tls\.requestCert must be true/);
    expect(refusal({ ...first, requestCert: 1 })).toMatch(/requestCert must be true or false/);
    expect(refusal({ ...first, minVersion: "TLSv1" })).toMatch(/minVersion must be/);
    expect(refusal({ ...first, pfx: Buffer.alloc(0) })).toMatch(/tls\.pfx is no option/);
    expect(refusal({ ...first, key: other.key })).not.toContain("PRIVATE");
  });
});

describe("handshakes", () => {
  it("T6 LS: one byte at a time does not outlast the handshake's time", async () => {
    const server = await start(ca.issue(), { limits: { handshakeTimeoutMs: 500 } });
    using slow = await RawClient.to(portOf(server));
    const startedAt = performance.now();
    // The head of a record that is 16 KiB long.
    slow.send(Buffer.from([0x16, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xfb, 3, 3]));
    const timer = setInterval(() => slow.send(Buffer.alloc(1)), 50);
    onTestFinished(() => clearInterval(timer));
    await slow.end(10_000);
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    expect(await ask(await handshake(server))).toMatch(/ok$/);
  });

  it("T6 LS: a ClientHello of 64 KiB, an SSLv3 hello and garbage end that connection only", async () => {
    const server = await start(ca.issue());
    const live = await handshake(server);
    const record = (version: number, payload: Buffer): Buffer => {
      const head = Buffer.from([0x16, 3, version, 0, 0]);
      head.writeUInt16BE(payload.length, 3);
      return Buffer.concat([head, payload]);
    };
    const large = Buffer.alloc(65_536);
    large.set([1, 0, 0xff, 0xfc, 3, 3]); // a ClientHello that is as long, of zeros
    const hellos = [
      Buffer.concat([0, 1, 2, 3].map((i) => record(1, large.subarray(i << 14, (i + 1) << 14)))),
      record(0, Buffer.concat([Buffer.from([1, 0, 0, 41, 3, 0]), Buffer.alloc(39, 1)])),
      Buffer.alloc(65_536, 0xff),
      Buffer.from("GET / HTTP/1.1\r\nhost: svc\r\n\r\n"),
    ];
    for (const hello of hellos) {
      using client = await RawClient.to(portOf(server));
      client.send(hello);
      await client.end();
    }
    expect(await ask(live)).toMatch(/ok$/);
    expect(await ask(await handshake(server))).toMatch(/ok$/);
  });

  it.each([
    ["absent", ""],
    ["unknown", "elsewhere.test"],
    ["in upper case", "SVC"],
    ["after a dot", "a.b.svc"],
  ])(
    "T11 LS: a server name that is %s gets the certificate there is",
    async (_name, servername) => {
      const own = ca.issue();
      const server = await start(own);
      const options = { servername, checkServerIdentity: () => undefined };
      expect(await shownBy(server, options)).toBe(own.cert);
      expect(await ask(await handshake(server, options))).toMatch(/ok$/);
    },
  );

  it("T12 LS: a flood of handshakes that are never finished: bounded, and no other client is harmed", async () => {
    const server = await start(ca.issue(), { limits: { maxHandshakes: 32 } });
    const live = await handshake(server);
    const flood: RawClient[] = [];
    onTestFinished(() => flood.forEach((client) => client.socket.destroy()));
    for (let i = 0; i < 300; i++) {
      const client = await RawClient.to(portOf(server));
      client.send(Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]));
      flood.push(client);
    }
    await until(() => flood.filter(({ closed }) => closed).length === 300 - 32, 10_000);
    expect(server.snapshot().connections).toBe(33);
    expect(await ask(live)).toMatch(/ok$/);
    for (const client of flood) client.socket.destroy();
    await until(() => server.snapshot().connections === 1, 10_000);
    expect(await ask(await handshake(server))).toMatch(/ok$/);
  });

  it.each(["TLSv1.2", "TLSv1.3"] as const)(
    "T13 LS: clients' certificates are asked for: no session of %s is resumed",
    async (maxVersion) => {
      const server = await start({ ...ca.issue(), ca: ca.cert, requestCert: true });
      const reused: boolean[] = [];
      server.server.on("secureConnection", (socket: TLSSocket) => {
        reused.push(socket.isSessionReused());
      });
      const options = { maxVersion, ...ca.issue() };
      const first = connect({
        port: portOf(server),
        host: "127.0.0.1",
        servername: "svc",
        ca: ca.cert,
        ...options,
      });
      onTestFinished(() => void first.destroy());
      const sessions: Buffer[] = [];
      first.on("session", (session: Buffer) => sessions.push(session));
      await once(first, "secureConnect");
      expect(await ask(first)).toMatch(/ok$/);
      sessions.push(first.getSession()!);
      for (const session of sessions) {
        expect(await ask(await handshake(server, { ...options, session }))).toMatch(/ok$/);
      }
      expect(reused).toEqual(reused.map(() => false));
      expect(reused.length).toBeGreaterThan(1);
    },
  );
});

it("a drain and old age are announced on connections of HTTP/1.1 over TLS too", async () => {
  const draining = await start(ca.issue(), { idleWaitMs: 5_000 });
  const idle = await handshake(draining);
  expect(await ask(idle)).not.toMatch(/connection: close/i);
  void draining.drain(10_000);
  await until(() => draining.state === "closing");
  expect(await ask(idle)).toMatch(/connection: close/i);
  const aging = await start(ca.issue(), { limits: { maxConnectionAgeMs: 2_000 } });
  const old = await handshake(aging);
  expect(await ask(old)).not.toMatch(/connection: close/i);
  await sleep(2_500);
  expect(await ask(old)).toMatch(/connection: close/i);
});
