/**
 * What one set of certificates makes of connections: whom they believe and who they say they are.
 * Never changed: a rotation makes another one, and other pools with it, so that no connection mixes
 * old and new. Sessions are never resumed: a resumed one would not look at the certificate again.
 */
import { isIP, type Socket } from "node:net";
import type { PeerCertificate, SecureContext } from "node:tls";
import type { ServiceConfig } from "../config/types.ts";
import { type MeshError, stacklessError } from "../errors.ts";
import { FILES, type TlsPem } from "./pem.ts";
import { contextOf } from "./follow.ts";
import { refusalOf, type IdentitySource } from "./identity.ts";
import { certificateFacts } from "./peer.ts";

type Tls = typeof import("node:tls");

let loaded: Tls | undefined;
/** Loaded with the first service that uses it: importing inmesh stays cheap. */
function tls(): Tls {
  return (loaded ??= process.getBuiltinModule("node:tls"));
}

export class TlsContext {
  /** The name that a peer's certificate must be for. */
  readonly serverName: string;
  /** We show a certificate of our own: with a server that asks for it, both ends are proven. */
  readonly hasCertificate: boolean;
  /** Wall-clock milliseconds at which our own certificate ends; Infinity without one. */
  readonly expiresAt: number;
  /** For libraries that shake hands themselves; together with `checkServerIdentity`. */
  readonly secureContext: SecureContext;
  readonly #options: object;
  readonly #service: string;
  /** Undefined: files. */
  readonly #source: IdentitySource | undefined;
  #isMissing = false;
  #why: string | undefined = undefined;

  /** Certificates were asked for and are not there: nothing is dialled, least of all without them. */
  static missing(service: ServiceConfig, why: string | undefined): TlsContext {
    const none = { ca: undefined, cert: undefined, key: undefined, expiresAt: -Infinity };
    const context = new TlsContext(service, none);
    context.#isMissing = true;
    context.#why = why;
    return context;
  }

  /** Throws what Node says about certificates that do not fit together. */
  constructor(service: ServiceConfig, pem: TlsPem, source?: IdentitySource) {
    const { tls: config, authority } = service;
    this.#service = service.name;
    this.#source = source;
    const name = config.serverName ?? hostOf(authority);
    this.serverName = name;
    this.hasCertificate = pem.cert !== undefined;
    this.expiresAt = pem.expiresAt;
    this.secureContext = tls().createSecureContext({
      ...contextOf(pem),
      minVersion: config.minVersion,
    });
    this.#options = {
      secureContext: this.secureContext,
      rejectUnauthorized: true,
      // RFC 6066 §3: no address in SNI. Node would check against the endpoint's address then.
      ...(isIP(name) === 0 ? { servername: name } : { servername: "" }),
      checkServerIdentity: this.checkServerIdentity,
      highWaterMark: 16_384, // what a TLS record holds
    };
  }

  /**
   * Whatever name the library dials: why the peer is not accepted; undefined: it is. Called once for each
   * connection, after the bundle has proven the certificate.
   */
  readonly checkServerIdentity = (_: string, certificate: PeerCertificate): Error | undefined => {
    const { serverName } = this;
    const source = this.#source;
    if (source?.verifyPeer === undefined) return tls().checkServerIdentity(serverName, certificate);
    return refusalOf(source, () => ({
      role: "server",
      name: this.#service,
      serverName,
      ...certificateFacts(certificate),
    }));
  };

  get #ofWhom(): string {
    const { name = FILES } = this.#source ?? {};
    return name === FILES ? "tls.cert" : `of the identity ${name}`;
  }

  connect(to: object, ALPNProtocols: readonly string[]): Socket {
    return tls().connect({ ...to, ...this.#options, ALPNProtocols } as never);
  }

  /** Why nothing may be dialled with it any more: our own certificate has ended. Never in plain text instead. */
  refusal(service: string, wallNow: number): MeshError | undefined {
    if (wallNow < this.expiresAt) return undefined;
    const missing = this.#isMissing;
    const message = missing
      ? `${service}: no usable certificates: ${this.#why ?? "the identity source has not answered yet"}`
      : `${service}: our own certificate (${this.#ofWhom}) has expired and no newer one was found: renew it there, it is taken up at once`;
    return stacklessError(
      "identity_unavailable",
      missing ? "no_certificate" : "certificate_expired",
      "not-sent",
      message,
    );
  }
}

/** The host of an authority, without port and brackets. */
function hostOf(authority: string): string {
  if (authority.startsWith("[")) return authority.slice(1, authority.indexOf("]"));
  const colon = authority.indexOf(":");
  return colon < 0 ? authority : authority.slice(0, colon);
}
