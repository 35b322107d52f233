/** Section T of the fault matrix, mesh-proxy: certificates and handshakes of the servers behind it, and its own. */
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TlsOptions } from "node:tls";
import { describe, expect, it } from "vitest";
import { TestCa, type Issued } from "../../http/test/support/ca.ts";
import { folder } from "../../http/test/support/folders.ts";
import { DAY_MS, tlsServer, wrongPeers } from "../../http/test/support/tls.ts";
import { listening } from "./support/net.ts";
import { secure } from "./support/secure.ts";
import { own, through, upOf, type Seen, type Through } from "./support/surfaces.ts";

const ca = new TestCa();
const served = ca.issue();
const mutual: TlsOptions = { ...served, ca: ca.cert, requestCert: true, rejectUnauthorized: true };
const one = { limits: { maxConnectionsPerEndpoint: 1 } };

const post = ({ ask }: Through): Promise<Seen> => ask("POST", {}, "x");
const stateOf = ({ mesh }: Through): string =>
  mesh.snapshot().services[0]!.endpoints[0]!.breaker.state;

/** The files of a pair, which `write` replaces one after the other, as in real life. */
function pairOf(first: Issued): {
  readonly files: { readonly cert: string; readonly key: string };
  write(pair: Issued): void;
} {
  const dir = folder();
  const files = { cert: join(dir, "cert.pem"), key: join(dir, "key.pem") };
  const write = ({ cert, key }: Issued): void => {
    writeFileSync(files.cert, cert);
    writeFileSync(files.key, key);
  };
  write(first);
  return { files, write };
}

/** Asks until a reply fits; every reply before it must be one of those. */
async function askedUntil(
  { ask }: Through,
  fits: (seen: Seen) => boolean,
  before: readonly string[],
): Promise<void> {
  const endsAt = performance.now() + 10_000;
  for (;;) {
    const seen = await ask("POST", {}, "x");
    if (fits(seen)) return;
    expect(before).toContain(own(seen));
    expect(performance.now()).toBeLessThan(endsAt);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

// Versions of HTTP to clients differ above TLS alone: one for each version to servers says the rest.
describe.each(["P11", "P22"] as const)("servers that speak TLS, %s", (surface) => {
  const http2 = upOf(surface) === 2;

  it("T1 P22: both sides rotate their certificates under load: no request fails", async () => {
    const { files, write } = pairOf(ca.issue());
    const { server, address, sockets, shown } = await tlsServer(mutual, http2);
    const proxied = await secure(surface, [address], { ca: ca.cert, ...files });
    const load = { isOver: false };
    const seen: string[] = [];
    const clients = Array.from({ length: 4 }, async (_, i) => {
      while (!load.isOver) {
        const reply = i % 2 === 0 ? await proxied.ask() : await post(proxied);
        seen.push(own(reply));
      }
    });
    for (let i = 0; i < 8; i++) {
      const next = ca.issue();
      server.setSecureContext({ ...ca.issue(), ca: ca.cert });
      write(next);
      await expect.poll(() => shown.at(-1)).toBe(next.cert);
    }
    load.isOver = true;
    await Promise.all(clients);
    expect(new Set(seen)).toEqual(new Set(["200 ok"]));
    // What has the former certificates drains, and does not stay beside the others.
    await expect
      .poll(() => sockets.filter(({ destroyed }) => !destroyed).length)
      .toBeLessThanOrEqual(4);
  });

  it("T2 P22: our own certificate has expired: 503, and nothing is dialled; a new file heals it", async () => {
    const now = Date.now();
    const { files, write } = pairOf(
      ca.issue({ notBefore: now - 2 * DAY_MS, notAfter: now - DAY_MS }),
    );
    const { address, sockets } = await tlsServer(mutual, http2);
    const proxied = await secure(surface, [address], { ca: ca.cert, ...files });
    expect(own(await post(proxied))).toBe("503 certificate_expired");
    expect(sockets).toHaveLength(0);
    expect(stateOf(proxied)).toBe("closed");
    write(ca.issue());
    await askedUntil(proxied, ({ status }) => status === 200, ["503 certificate_expired"]);
  });

  it.each(wrongPeers(ca))(
    "T3 P22: a certificate that is %s: 502, and another endpoint has the request",
    async (_, issued, reason) => {
      const bad = await tlsServer(issued, http2);
      const alone = await secure(surface, [bad.address], { ca: ca.cert });
      expect(own(await post(alone))).toBe(`502 ${reason}`);
      expect(stateOf(alone)).not.toBe("closed");
      const good = await tlsServer(served, http2);
      const both = await secure(
        surface,
        [bad.address, good.address],
        { ca: ca.cert },
        { balancer: { kind: "round-robin" } },
      );
      for (let i = 0; i < 4; i++) expect(own(await post(both))).toBe("200 ok");
    },
  );

  it("T4 P22: the authorities that are believed change: both, then the new one alone, under load", async () => {
    const file = join(folder(), "ca.pem");
    const next = new TestCa("next authority");
    writeFileSync(file, ca.cert);
    const { server, address, sockets } = await tlsServer(served, http2);
    const proxied = await secure(surface, [address], { ca: file });
    const rotate = async (bundle: string): Promise<void> => {
      const before = sockets.length;
      writeFileSync(file, bundle);
      await askedUntil(proxied, () => sockets.length > before, ["200 ok"]);
    };
    expect(own(await post(proxied))).toBe("200 ok");
    await rotate(ca.cert + next.cert);
    server.setSecureContext(next.issue());
    await rotate(next.cert);
    expect(own(await post(proxied))).toBe("200 ok");
    server.setSecureContext(ca.issue());
    for (const socket of sockets) socket.destroy();
    await askedUntil(proxied, (seen) => own(seen) === "502 peer_untrusted", [
      "200 ok",
      // The connection that was destroyed just now.
      "502 reset_before_response",
    ]);
  });

  it("T5 P22: the server refuses our certificate after the handshake: 502, and no endpoint is charged for its alert", async () => {
    // OpenSSL refuses a client without a certificate by an alert, which may be lost with the server's reset where the
    // request is on its way by then.
    const { address } = await tlsServer({ ...mutual, minVersion: "TLSv1.3" }, http2);
    const proxied = await secure(
      surface,
      [address],
      { ca: ca.cert },
      { breaker: { consecutiveFailures: 0, failureSpanMs: 0, successRatio: 0 } },
    );
    const seen: string[] = [];
    for (let i = 0; i < 20; i++) seen.push(own(await post(proxied)));
    const alert = "502 tls_rejected_by_peer";
    expect(seen).toContain(alert);
    if (!http2) expect(["502 reset_before_response", alert]).toEqual(expect.arrayContaining(seen));
    else {
      expect(["502 connect_refused", alert]).toEqual(expect.arrayContaining(seen));
      const [endpoint] = proxied.mesh.snapshot().services[0]!.endpoints;
      expect(endpoint!.breaker.consecutiveFailures).toBe(0);
    }
  });

  it("T6 P22: TLS to a port without it, and a handshake that goes on and on: 502", async () => {
    const plain = await listening((socket) =>
      socket.once("data", () => socket.write("HTTP/1.1 400 Bad Request\r\n\r\n")),
    );
    const slow = await listening((socket) => {
      // A record that says it has 16 KiB, and never has.
      socket.write("\x16\x03\x03\x40\x00", "latin1");
      const timer = setInterval(() => socket.write("\x02"), 20);
      socket.on("close", () => clearInterval(timer)).resume();
    });
    for (const { address } of [plain, slow]) {
      const proxied = await secure(
        surface,
        [address],
        { ca: ca.cert },
        { timeouts: { connect: "200ms" } },
      );
      expect(own(await post(proxied))).toBe("502 tls_handshake");
    }
  });

  it("T6 P22: plain text to a port of TLS: 502, and nothing hangs", async () => {
    const { address } = await tlsServer(served, http2);
    const proxied = await through(surface, [address], { timeouts: { connect: "500ms" } });
    expect((await post(proxied)).status).toBe(502);
  });

  it("T8 P22: files that do not fit: what was good stays, also for new connections", async () => {
    const first = ca.issue();
    const other = ca.issue();
    const { files, write } = pairOf(first);
    const { address, sockets, shown } = await tlsServer(mutual, http2);
    const proxied = await secure(surface, [address], { ca: ca.cert, ...files }, one);
    const problem = (): string => proxied.mesh.snapshot().services[0]!.connections.problem ?? "";
    expect(own(await post(proxied))).toBe("200 ok");
    const bad: readonly (readonly [Issued, RegExp])[] = [
      [{ cert: first.cert, key: other.key }, /tls\.key must be the key/],
      [{ cert: first.cert.slice(0, 300), key: first.key }, /tls\.cert/],
      [{ cert: "", key: first.key }, /tls\.cert must hold at least one certificate/],
    ];
    for (const [pair, text] of bad) {
      write(pair);
      await expect.poll(problem).toMatch(text);
      const before = sockets.length;
      const last = sockets.at(-1)!;
      last.destroy();
      await once(last, "close");
      await askedUntil(proxied, () => sockets.length > before, [
        "200 ok",
        "502 reset_before_response",
      ]);
      expect(shown.at(-1)).toBe(first.cert);
    }
    write(other);
    await askedUntil(proxied, () => shown.at(-1) === other.cert, ["200 ok"]);
  });

  it("T9 P22: files that are empty before the first request: 503, and nothing is dialled until they are back", async () => {
    const file = join(folder(), "ca.pem");
    writeFileSync(file, ca.cert);
    const { address, sockets } = await tlsServer(served, http2);
    const proxied = await secure(surface, [address], { ca: file });
    writeFileSync(file, "");
    expect(own(await post(proxied))).toBe("503 no_certificate");
    expect(sockets).toHaveLength(0);
    writeFileSync(file, ca.cert);
    await askedUntil(proxied, ({ status }) => status === 200, ["503 no_certificate"]);
  });

  it("T11 P22: the name in the handshake is the service's, or tls.serverName; an address is not said", async () => {
    const named = await tlsServer(ca.issue({ names: ["orders.test"] }), http2);
    for (const more of [
      { tls: { ca: ca.cert, serverName: "orders.test" } },
      { authority: "orders.test:8443" },
    ]) {
      const proxied = await secure(surface, [named.address], { ca: ca.cert }, more);
      // What the client says of it has no say.
      expect(own(await proxied.ask("GET", { "x-forwarded-host": "other.test" }))).toBe("200 ok");
    }
    expect(named.sockets.map(({ servername }) => servername)).toEqual([
      "orders.test",
      "orders.test",
    ]);
    const bare = await tlsServer(ca.issue({ names: ["127.0.0.1"] }), http2);
    const proxied = await secure(
      surface,
      [bare.address],
      { ca: ca.cert },
      { authority: bare.address },
    );
    expect(own(await post(proxied))).toBe("200 ok");
    expect(bare.sockets[0]!.servername).toBe(false);
    const other = await tlsServer(ca.issue({ names: ["127.0.0.2"] }), http2);
    const wrong = await secure(
      surface,
      [other.address],
      { ca: ca.cert },
      { authority: other.address },
    );
    expect(own(await post(wrong))).toBe("502 identity_mismatch");
  });

  it("T13 P22: every connection is a full handshake", async () => {
    const { address, sockets, reused } = await tlsServer(served, http2);
    const proxied = await secure(surface, [address], { ca: ca.cert }, one);
    for (let i = 1; i <= 3; i++) {
      await askedUntil(proxied, () => sockets.length === i, [
        "200 ok",
        "502 reset_before_response",
      ]);
      const last = sockets.at(-1)!;
      // By then a ticket has come with the reply.
      last.destroy();
      await once(last, "close");
    }
    expect(reused).toEqual([false, false, false]);
  });
});

describe("certificates of a configuration", () => {
  it.each<[string, object, RegExp]>([
    ["an empty text as ca", { ca: "" }, /tls\.ca: must not be empty/],
    ["a file as ca that is not there", { ca: "/nowhere/ca.pem" }, /tls\.ca: .*ENOENT/],
    ["a key as ca", { ca: served.key }, /tls\.ca: must hold at least one certificate/],
    ["a certificate without a key", { cert: served.cert }, /tls\.key: must be written too/],
    ["the key of another", { cert: served.cert, key: ca.issue().key }, /tls\.key: must be the key/],
  ])("T9 P22: %s: the proxy does not start", async (_, tls, rule) => {
    await expect(secure("P22", ["127.0.0.1:1"], tls)).rejects.toThrow(rule);
  });
});
