/**
 * The identity of a server: files or texts, proven before it is made, or a source of its mesh; followed while
 * it listens. What is new is for new handshakes; connections that are open go on, and leave before what they
 * were made with ends. Clients that the source does not accept are turned away here, before a request is read.
 */
import type { Socket } from "node:net";
import type { SecureContextOptions, Server as TlsServer, TlsOptions, TLSSocket } from "node:tls";
import { FILES, type TlsPem } from "./pem.ts";
import { linesAbout, type LimitedLog } from "../limited-log.ts";
import type { Log } from "../log.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { contextOf, type IdentityFollower, type IdentityUser } from "./follow.ts";
import { Identities } from "./identities.ts";
import { refusalOf, type PeerRefused } from "./identity.ts";
import { certificateFacts } from "./peer.ts";

/** `cert`, `key` and `ca` are each the path of a PEM file, which is followed, or the PEM text itself. */
export interface ServerTls {
  /** Name of an identity source of the server's `mesh`, in the place of `cert`, `key` and `ca`. Default `files`: those three. */
  readonly identity?: string;
  /** Our certificate, with the chain behind it. Default: none; needed unless `identity` brings it. */
  readonly cert?: string;
  /** Its private key. Default: none; needed where `cert` is. */
  readonly key?: string;
  /** Whose signature makes a client's certificate good. Needed by `requestCert`, and for nothing else. Default: none. */
  readonly ca?: string;
  /** Clients are asked for a certificate. Default false. */
  readonly requestCert?: boolean;
  /**
   * Clients without a good certificate are refused. False: they are served, and have no verified peer
   * (`peer.certificate`, `socket.authorized`). Default true; without effect unless `requestCert` is set.
   */
  readonly rejectUnauthorized?: boolean;
  /** Default `TLSv1.2`. */
  readonly minVersion?: "TLSv1.2" | "TLSv1.3";
}

export interface ServerIdentityParts {
  /** The function that got the options: begins what it throws. */
  readonly owner: string;
  /** Of the server. */
  readonly name: string;
  readonly runtime: Runtime;
  /** Of its mesh. Default: there are files alone. */
  readonly identities: Identities | undefined;
  readonly log: Log;
  /** A client was turned away. */
  readonly refused: () => void;
}

const TEXTS = ["identity", "cert", "key", "ca"] as const;
const FLAGS = ["requestCert", "rejectUnauthorized"] as const;
/** Connections made with replaced certificates leave within so long, not all at once. */
const MAX_LEAVE_MS = 300_000;
/** … and before the end of their certificate, with time for what is in progress. */
const DRAIN_GRACE_MS = 30_000;
/** A server does not listen before its source has answered, and gives up after so long. */
const ANSWER_MS = 10_000;
/** Of Bun's `node:https`, whose servers have no `setSecureContext`. */
const FIXED = "this runtime cannot change the certificate of a server: restart the process";

export class ServerIdentity implements IdentityUser {
  readonly drainGraceMs: number = DRAIN_GRACE_MS;
  /** In force. */
  #pem: TlsPem | undefined = undefined;
  #context: SecureContextOptions = {};
  /** The certificate that the last server was made with. */
  #made: string | undefined = undefined;
  /** Why it does not take what its source gives. */
  #own: string | undefined = undefined;
  readonly #tls: ServerTls;
  readonly #parts: ServerIdentityParts;
  readonly #follower: IdentityFollower;
  readonly #lines: LimitedLog;
  /** Each with what to do with its connections when they were made with other certificates. */
  readonly #servers = new Map<TlsServer, (withinMs: number) => void>();
  #stop: (() => void) | undefined = undefined;
  /** End of the certificates that connections were made with. */
  #endsAt = Infinity;
  readonly #waiting = new Set<() => void>();

  /** Throws a TypeError that names every mistake. */
  constructor(tls: ServerTls, parts: ServerIdentityParts) {
    checkShape(tls, parts.owner);
    this.#tls = tls;
    this.#parts = parts;
    const { runtime, owner, identities = new Identities([], runtime) } = parts;
    const { identity = FILES, cert, key, ca } = tls;
    this.#follower = identities.of({ identity, cert, key, ca }, parts.name);
    this.#lines = linesAbout(parts.name, parts.log, runtime);
    this.#follower.use(this)(); // files are read at once, and what does not fit is a mistake
    if (identity === FILES && this.#pem === undefined) {
      throw new TypeError(`${owner}: ${this.problem}`);
    }
  }

  /** For a new server. */
  get options(): TlsOptions {
    const { requestCert = false, rejectUnauthorized = true } = this.#tls;
    this.#made = this.#pem?.cert;
    return { ...this.#context, requestCert, rejectUnauthorized };
  }

  /** Certificate, key and bundle in force; undefined: nothing has come yet. */
  get pem(): TlsPem | undefined {
    return this.#pem;
  }

  /** Why what the source says is not used; undefined: it is. */
  get problem(): string | undefined {
    return this.#own ?? this.#follower.problem;
  }

  /** No client believes us any more. */
  get expired(): boolean {
    return this.#parts.runtime.wallNow() >= (this.#pem?.expiresAt ?? Infinity);
  }

  /** Resolves when there is a certificate to listen with; rejects if none comes within 10 s. */
  async answered(): Promise<void> {
    if (this.#pem !== undefined) return;
    const { runtime, owner } = this.#parts;
    const stop = this.#follower.use(this);
    try {
      await new Promise<void>((resolve, reject) => {
        const wake = (): void => {
          timer.cancel();
          resolve();
        };
        const timer = runtime.after(
          ANSWER_MS,
          () => {
            this.#waiting.delete(wake);
            const why = this.problem ?? "it has not answered";
            reject(
              new Error(`${owner}: no certificate of the identity ${this.#tls.identity}: ${why}`),
            );
          },
          undefined,
          true,
        );
        if (this.#pem === undefined) this.#waiting.add(wake);
        else wake();
      });
    } finally {
      if (this.#servers.size === 0) stop();
      else this.#stop ??= stop;
    }
  }

  /** While `server` listens, it shows what is in force. `onReplaced`: connections that are open now should leave within so long. */
  follow(server: TlsServer, onReplaced: (withinMs: number) => void): void {
    this.#gate(server);
    const begin = (): void => {
      this.#servers.set(server, onReplaced);
      this.#endsAt = this.#pem?.expiresAt ?? Infinity;
      this.#stop ??= this.#follower.use(this);
      if (this.#pem !== undefined) this.#showOn(server);
    };
    if (server.listening) begin();
    server.on("listening", begin);
    server.on("close", () => {
      if (!this.#servers.delete(server) || this.#servers.size > 0) return;
      this.#stop?.();
      this.#stop = undefined;
      this.#lines.close();
    });
  }

  /** Puts what is in force on its servers once more, where something else may have set a context of its own. */
  show(): void {
    for (const server of this.#servers.keys()) this.#showOn(server);
  }

  #showOn(server: TlsServer): void {
    if (typeof server.setSecureContext === "function") server.setSecureContext(this.#context);
    else if (this.#made !== this.#pem?.cert) this.#own = FIXED;
  }

  take(pem: TlsPem): void {
    const { requestCert = false, minVersion = "TLSv1.2" } = this.#tls;
    this.#own = undefined;
    if (pem.cert === undefined) return this.#refuse("cert must be there: a server shows one");
    if (requestCert && pem.ca === undefined) {
      return this.#refuse("ca must be there: clients are asked for certificates");
    }
    const context: SecureContextOptions = {
      ...contextOf(pem),
      minVersion,
      // A session that is resumed keeps the verdict on a certificate of another day (faults T13).
      ...(requestCert ? { secureOptions: noTicket() } : undefined),
    };
    process.getBuiltinModule("node:tls").createSecureContext(context); // throws before anything is in force
    this.#context = context;
    this.#pem = pem;
    this.show();
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  renew(): void {
    const leftMs = this.#endsAt - this.#parts.runtime.wallNow() - DRAIN_GRACE_MS;
    this.#endsAt = this.#pem?.expiresAt ?? Infinity;
    const withinMs = Math.max(0, Math.min(MAX_LEAVE_MS, leftMs));
    for (const replaced of this.#servers.values()) replaced(withinMs);
  }

  #refuse(why: string): void {
    this.#own = why;
    const { name } = this.#parts;
    this.#parts.log({
      level: "warn",
      event: "identity.refused",
      message: `${name}: the identity ${this.#tls.identity ?? FILES} is not used here: ${why}`,
    });
  }

  /** Clients that the source does not accept come no further than their handshake. */
  #gate(server: TlsServer): void {
    const { requestCert = false, rejectUnauthorized = true } = this.#tls;
    if (!requestCert || this.#follower.source.verifyPeer === undefined) return;
    const listeners = server.listeners("secureConnection");
    server.removeAllListeners("secureConnection");
    server.on("secureConnection", (socket: TLSSocket) => {
      const why = socket.authorized ? this.#refusal(socket) : undefined;
      if (why !== undefined) {
        // Code that asks the socket itself gets the same answer.
        Object.assign(socket, { authorized: false, authorizationError: why });
        this.#lines.write("server.peer_refused", () => why.message, addressOf(socket));
        this.#parts.refused();
        if (rejectUnauthorized) {
          socket.on("error", ignore);
          return void socket.destroy();
        }
      }
      for (const listener of listeners) listener.call(server, socket);
    });
  }

  #refusal(socket: TLSSocket): PeerRefused | undefined {
    return refusalOf(this.#follower.source, () => {
      const certificate = socket.getPeerX509Certificate();
      if (certificate === undefined) throw new Error("it has shown no certificate");
      return {
        role: "client",
        name: this.#parts.name,
        serverName: "",
        ...certificateFacts(certificate),
      };
    });
  }
}

function addressOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress}:${remotePort}`;
}

function noTicket(): number {
  return process.getBuiltinModule("node:crypto").constants.SSL_OP_NO_TICKET;
}

function checkShape(tls: ServerTls, owner: string): void {
  const refuse = (rule: string): never => {
    throw new TypeError(`${owner}: tls.${rule}`);
  };
  for (const [name, value] of Object.entries(tls)) {
    if (value === undefined) continue;
    if ((TEXTS as readonly string[]).includes(name)) {
      if (typeof value !== "string") refuse(`${name} must be a path or a PEM text`);
      if (value === "") refuse(`${name} must not be empty`);
    } else if ((FLAGS as readonly string[]).includes(name)) {
      if (typeof value !== "boolean") refuse(`${name} must be true or false`);
    } else if (name !== "minVersion") {
      refuse(`${name} is no option of ours: give ${owner} a server of your own`);
    } else if (value !== "TLSv1.2" && value !== "TLSv1.3") {
      refuse("minVersion must be TLSv1.2 or TLSv1.3");
    }
  }
  const { identity = FILES, cert, key, ca, requestCert } = tls;
  if (identity !== FILES) {
    if (cert !== undefined || key !== undefined || ca !== undefined) {
      refuse(`cert, tls.key and tls.ca must not be written where tls.identity is ${identity}`);
    }
    return;
  }
  if (cert === undefined || key === undefined) refuse("cert and tls.key must be written");
  if (requestCert === true && ca === undefined) {
    refuse("ca must be written, where requestCert is: the public roots would do for any client");
  }
  if (ca !== undefined && requestCert !== true) {
    refuse("requestCert must be true, where ca is: no client is asked for its certificate");
  }
}

function ignore(): void {}
