/**
 * The certificates of a server: files or texts, proven before it is made, followed while it listens.
 * New ones are for new handshakes; connections that are open go on, and leave before what they were
 * made with ends.
 */
import type { SecureContextOptions, Server as TlsServer, TlsOptions } from "node:tls";
import { TlsFollower, type Runtime, type TlsPem } from "@inmesh/core/spi";

/** `cert`, `key` and `ca` are each the path of a PEM file, which is followed, or the PEM text itself. */
export interface ServerTls {
  /** Our certificate, with the chain behind it. */
  readonly cert: string;
  /** Its private key. */
  readonly key: string;
  /** Whose signature makes a client's certificate good. Needed by `requestCert`, and for nothing else. Default: none. */
  readonly ca?: string;
  /** Clients are asked for a certificate. Default false. */
  readonly requestCert?: boolean;
  /**
   * Clients without a good certificate are refused. False: the handler sees `socket.authorized`.
   * Default true; without effect unless `requestCert` is set.
   */
  readonly rejectUnauthorized?: boolean;
  /** Default `TLSv1.2`. */
  readonly minVersion?: "TLSv1.2" | "TLSv1.3";
}

const TEXTS = ["cert", "key", "ca"] as const;
const FLAGS = ["requestCert", "rejectUnauthorized"] as const;
/** Connections made with replaced certificates leave within so long, not all at once. */
const MAX_LEAVE_MS = 300_000;
/** … and before the end of their certificate, with time for what is in progress. */
const DRAIN_GRACE_MS = 30_000;

export class ServerCertificates {
  #options!: SecureContextOptions;
  readonly #tls: ServerTls;
  readonly #runtime: Runtime;
  readonly #follower: TlsFollower;
  #server: TlsServer | undefined = undefined;

  /** Throws a TypeError that names every mistake. */
  constructor(tls: ServerTls, runtime: Runtime) {
    checkShape(tls);
    this.#tls = tls;
    this.#runtime = runtime;
    const { cert, key, ca, minVersion = "TLSv1.2" } = tls;
    this.#follower = new TlsFollower({
      tls: { cert, key, ca, minVersion, serverName: undefined },
      drainGraceMs: DRAIN_GRACE_MS,
      runtime,
      take: (pem) => this.#take(pem),
    });
    if (!this.#follower.read()) throw new TypeError(`meshServer: ${this.problem}`);
  }

  /** For a new server. */
  get options(): TlsOptions {
    const { requestCert = false, rejectUnauthorized = true } = this.#tls;
    return { ...this.#options, requestCert, rejectUnauthorized };
  }

  /** Why the files in place are not used; undefined: they are. */
  get problem(): string | undefined {
    return this.#follower.problem;
  }

  /** No client believes us any more. */
  get expired(): boolean {
    return this.#runtime.wallNow() >= this.#expiresAt;
  }

  get #expiresAt(): number {
    return this.#follower.pem?.expiresAt ?? Infinity;
  }

  /** While `server` listens. `onReplaced`: connections that are open now should leave within so long. */
  follow(server: TlsServer, onReplaced: (withinMs: number) => void): void {
    this.#server = server;
    let stop: (() => void) | undefined;
    server.on("listening", () => {
      let endsAt = this.#expiresAt;
      stop ??= this.#follower.use(() => {
        const leftMs = endsAt - this.#runtime.wallNow() - DRAIN_GRACE_MS;
        endsAt = this.#expiresAt;
        onReplaced(Math.max(0, Math.min(MAX_LEAVE_MS, leftMs)));
      });
    });
    server.on("close", () => {
      stop?.();
      stop = undefined;
    });
  }

  #take(pem: TlsPem): void {
    const { requestCert = false, minVersion = "TLSv1.2" } = this.#tls;
    const options: SecureContextOptions = {
      cert: pem.cert,
      key: pem.key,
      minVersion,
      // `ca` is never empty here: an empty one would be the public roots (faults T9).
      ...(pem.ca === undefined ? undefined : { ca: [...pem.ca] }),
      // A session that is resumed keeps the verdict on a certificate of another day (faults T13).
      ...(requestCert ? { secureOptions: noTicket() } : undefined),
    };
    this.#server?.setSecureContext(options); // throws before anything is in force
    this.#options = options;
  }
}

function noTicket(): number {
  return process.getBuiltinModule("node:crypto").constants.SSL_OP_NO_TICKET;
}

function checkShape(tls: ServerTls): void {
  const refuse = (rule: string): never => {
    throw new TypeError(`meshServer: tls.${rule}`);
  };
  for (const [name, value] of Object.entries(tls)) {
    if (value === undefined) continue;
    if ((TEXTS as readonly string[]).includes(name)) {
      if (typeof value !== "string") refuse(`${name} must be a path or a PEM text`);
      if (value === "") refuse(`${name} must not be empty`);
    } else if ((FLAGS as readonly string[]).includes(name)) {
      if (typeof value !== "boolean") refuse(`${name} must be true or false`);
    } else if (name !== "minVersion") {
      refuse(`${name} is no option of ours: give meshServer a server of your own`);
    } else if (value !== "TLSv1.2" && value !== "TLSv1.3") {
      refuse("minVersion must be TLSv1.2 or TLSv1.3");
    }
  }
  if (tls.cert === undefined || tls.key === undefined) refuse("cert and tls.key must be written");
  if (tls.requestCert === true && tls.ca === undefined) {
    refuse("ca must be written, where requestCert is: the public roots would do for any client");
  }
  if (tls.ca !== undefined && tls.requestCert !== true) {
    refuse("requestCert must be true, where ca is: nobody's certificate is asked for");
  }
}
