/**
 * The contract of an identity source: it says who this process is (a key and its certificate), whom it
 * trusts (a bundle), and may say itself which peers it accepts. Certificate files (file-identity.ts) are the
 * first source; others come with `createMesh({ identities })`.
 */
import type { X509Certificate } from "node:crypto";
import { FILES } from "./pem.ts";
import { messageOf } from "../errors.ts";

/** What a source knows now. All of it are PEM texts, never paths. */
export interface IdentityMaterial {
  /** Our certificate first, then the chain behind it: 1 to 5. Default: we show none. A server needs one. */
  readonly cert?: string | undefined;
  /** The private key of the first certificate, without a passphrase. Needed where `cert` is. */
  readonly key?: string | undefined;
  /**
   * The trust bundles: 1 to 100 certificates whose signatures make a peer's certificate good. Default, at a
   * client: the public roots. Needed by a server that asks its clients for certificates.
   */
  readonly ca?: string | undefined;
  /**
   * Wall-clock milliseconds after which it must not be used, if that is before the end of the certificate.
   * Default: the end of the certificate.
   */
  readonly expiresAt?: number | undefined;
}

/** Where a source reports to. Calls after `stop` have no effect. */
export interface IdentitySink {
  /**
   * What is to be used from now on. It is proven first: what cannot be read, does not fit together or has
   * expired is refused (counted, and a line of the log), and the last good one stays in use.
   */
  replace(material: IdentityMaterial): void;
  /** The source does not know its identity at the moment. The last good one stays in use. */
  failed(error: Error): void;
}

/** What `watch` returns: how a mesh asks a source to say again what it knows, and how it ends it. */
export interface IdentityWatch {
  /** Asks the source to say again what it knows: what it said last was refused, or it failed. May be left out. */
  refresh?(): void;
  /** Called once. The source frees its sockets and timers. */
  stop(): void;
}

/** A peer whose certificate the bundle has proven, and which is still to be accepted or not. */
export interface PeerFacts {
  /** What the peer is to us: a `server` that we call, or a `client` that calls our server. */
  readonly role: "server" | "client";
  /** The service that is called, or the name of our server. */
  readonly name: string;
  /** The name that the service is reached by (`tls.serverName`, else the host of its authority); empty for a client. */
  readonly serverName: string;
  /** DNS names of the certificate (its subject alternative names), in lower case. */
  readonly names: readonly string[];
  /** URIs of the certificate, as they stand there: `spiffe://shop/ns/web/sa/cart`. */
  readonly uris: readonly string[];
  /** The peer's certificate and those behind it, as far as they are known, its own first. */
  readonly chain: readonly X509Certificate[];
}

/** Says who this process is and whom it trusts, for `createMesh({ identities })`. `name` and `watch` are needed. */
export interface IdentitySource {
  /** What configuration writes into `tls.identity`: letters, digits, `-`, `_` and `.`, up to 40. Not `files`. */
  readonly name: string;
  /**
   * Starts watching, when the mesh is made; the mesh stops it at the end of its `close`. A source that knows
   * its answer already calls the sink before it returns. Timers and sockets of it must not keep the process alive.
   */
  watch(sink: IdentitySink): IdentityWatch;
  /**
   * Accepts a peer, in the place of the check of its DNS names: `true`. Anything else refuses it, a text
   * with the reason. Called once for each connection whose certificate the bundle has proven; what it throws
   * refuses too. Default: the certificate of a server must be for its name, and each client is accepted.
   */
  verifyPeer?(peer: PeerFacts): true | string;
}

const NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,38}[A-Za-z0-9])?$/;

/** What is wrong with a name; undefined: nothing. */
export function nameRule(name: unknown): string | undefined {
  if (typeof name !== "string" || !NAME.test(name)) {
    return "must be 1 to 40 letters, digits, -, _ and ., and begin and end with a letter or digit";
  }
  return name === FILES ? "must not be files, the source that is built in" : undefined;
}

/** Why a peer was refused by `verifyPeer`. Its text is looked for where a library passes on no more than that. */
export class PeerRefused extends Error {
  static readonly CODE = "INMESH_PEER_REFUSED";
  static readonly TEXT = "was not accepted by the identity";
  readonly code: string = PeerRefused.CODE;

  constructor(identity: string, why: string) {
    super(`the peer ${PeerRefused.TEXT} ${identity}: ${why}`);
  }
}

/** Undefined: the peer is accepted. Never throws. */
export function refusalOf(source: IdentitySource, facts: () => PeerFacts): PeerRefused | undefined {
  try {
    const verdict: unknown = source.verifyPeer?.(facts());
    if (verdict === true || source.verifyPeer === undefined) return undefined;
    const why = typeof verdict === "string" && verdict !== "" ? verdict : "it gave no reason";
    return new PeerRefused(source.name, why);
  } catch (error) {
    return new PeerRefused(source.name, messageOf(error));
  }
}
