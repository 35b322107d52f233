/** What tests of TLS need on both protocols: servers that note their handshakes, and wrong certificates. */
import { once } from "node:events";
import { createSecureServer } from "node:http2";
import { createServer, type Server as HttpsServer } from "node:https";
import type { AddressInfo, Server } from "node:net";
import type { TlsOptions, TLSSocket } from "node:tls";
import { NodeRuntime, type Timer } from "@inmesh/core/spi";
import { onTestFinished } from "vitest";
import { selfSigned, TestCa, type Issued } from "./ca.ts";

export const DAY_MS = 86_400_000;

export interface Handshakes {
  readonly address: string;
  /** One for each handshake that the server completed. */
  readonly sockets: TLSSocket[];
  /** The client's certificate, likewise. */
  readonly shown: string[];
  /** Whether it was a resumption, likewise. */
  readonly reused: boolean[];
  /** Its connections end with it. */
  stop(): Promise<void>;
}

/** Listens, and ends with the test if not before. */
export async function listenTls(server: Server, port = 0): Promise<Handshakes> {
  const sockets: TLSSocket[] = [];
  const shown: string[] = [];
  const reused: boolean[] = [];
  const open = new Set<TLSSocket>();
  server.on("secureConnection", (socket: TLSSocket) => {
    sockets.push(socket);
    shown.push(socket.getPeerX509Certificate()?.toString() ?? "");
    reused.push(socket.isSessionReused());
    open.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => open.delete(socket));
  });
  server.on("tlsClientError", () => {});
  server.on("sessionError", () => {});
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const stop = async (): Promise<void> => {
    if (!server.listening) return;
    const closed = once(server, "close");
    server.close();
    for (const socket of open) socket.destroy();
    await closed;
  };
  onTestFinished(stop);
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { address, sockets, shown, reused, stop };
}

export interface Tls extends Handshakes {
  readonly server: HttpsServer;
}

/** Answers every request with `ok`. */
export async function tlsServer(options: TlsOptions, http2 = false): Promise<Tls> {
  const server = (
    http2 ? createSecureServer({ ...options, allowHTTP1: true }) : createServer(options)
  ) as HttpsServer;
  server.on("request", (request, response) => {
    request.resume();
    response.end("ok");
  });
  return { ...(await listenTls(server)), server };
}

/** Certificates that a peer must not have, what for, and what the message helps with. */
export function wrongPeers(ca: TestCa): readonly (readonly [string, Issued, string, RegExp])[] {
  const now = Date.now();
  const [expired, early] = [
    { notBefore: now - 2 * DAY_MS, notAfter: now - DAY_MS },
    { notBefore: now + DAY_MS, notAfter: now + 2 * DAY_MS },
  ];
  return [
    ["expired", ca.issue(expired), "peer_expired", /has expired/],
    ["not yet valid", ca.issue(early), "peer_expired", /not valid yet/],
    ["of another authority", new TestCa("other").issue(), "peer_untrusted", /tls\.ca/],
    ["signed by itself", selfSigned(), "peer_untrusted", /tls\.ca/],
    [
      "for another name",
      ca.issue({ names: ["other.test"] }),
      "identity_mismatch",
      /tls\.serverName/,
    ],
  ];
}

/** A wall clock that a test can set. `fast`: a minute of its timers passes in 60 ms; the wire keeps its time. */
export class JumpyRuntime extends NodeRuntime {
  offsetMs = 0;
  readonly #fast: boolean;

  constructor(fast = false) {
    super();
    this.#fast = fast;
  }

  override wallNow(): number {
    return super.wallNow() + this.offsetMs;
  }

  override after<A>(delayMs: number, run: (arg: A) => void, arg: A, hold?: boolean): Timer {
    return super.after(this.#fast && delayMs === 60_000 ? 60 : delayMs, run, arg, hold);
  }
}
