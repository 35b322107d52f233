/** Who is at the other end of a connection: what servers report to layers, handlers and observers. */
import type { X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import type { PeerCertificate, TLSSocket } from "node:tls";
import { alternativeNames, type AlternativeNames } from "./alternative-names.ts";

/** Who is at the other end of the connection that a request came by. */
export interface ServerPeer {
  /** As the connection has it; a proxy's, if there is one in front. Undefined on a Unix socket, or if it has gone. */
  readonly address: string | undefined;
  /** Undefined where there is no address. */
  readonly port: number | undefined;
  /** The connection is one of TLS. */
  readonly tls: boolean;
  /** The client's, proven by its handshake and accepted; undefined without TLS, or if it gave none that is. */
  readonly certificate: PeerCertificate | undefined;
  /** DNS names of `certificate`, in lower case; empty without one. */
  readonly names: readonly string[];
  /** URIs of `certificate`, such as a SPIFFE id; empty without one. */
  readonly uris: readonly string[];
}

const NONE: AlternativeNames = { names: [], uris: [] };

/** Names are read out of the certificate when they are asked for. */
export class ConnectionPeer implements ServerPeer {
  static readonly unknown: ServerPeer = new ConnectionPeer(undefined, undefined, false, undefined);
  readonly address: string | undefined;
  readonly port: number | undefined;
  readonly tls: boolean;
  readonly certificate: PeerCertificate | undefined;
  #read: AlternativeNames | undefined = undefined;

  constructor(
    address: string | undefined,
    port: number | undefined,
    tls: boolean,
    certificate: PeerCertificate | undefined,
  ) {
    this.address = address;
    this.port = port;
    this.tls = tls;
    this.certificate = certificate;
  }

  /** The peer of a server's socket, or of what stands for a socket in HTTP/2. */
  static of(socket: Socket): ServerPeer {
    const { remoteAddress, remotePort } = socket;
    const { encrypted, authorized, getPeerCertificate } = socket as Partial<TLSSocket>;
    const shown = authorized === true ? getPeerCertificate?.call(socket) : undefined;
    // Without a certificate it is an empty object.
    const certificate = shown?.raw === undefined ? undefined : shown;
    return new ConnectionPeer(remoteAddress, remotePort, encrypted === true, certificate);
  }

  get names(): readonly string[] {
    return this.#names().names;
  }

  get uris(): readonly string[] {
    return this.#names().uris;
  }

  #names(): AlternativeNames {
    if (this.#read !== undefined) return this.#read;
    const { certificate } = this;
    if (certificate === undefined) return (this.#read = NONE);
    try {
      return (this.#read = alternativeNames(certificate.raw));
    } catch {
      return (this.#read = NONE); // proven, and still without a name for the peer
    }
  }
}

const MAX_CHAIN = 10;

/** As both of Node's kinds of certificates have it. */
interface Linked {
  readonly raw: Buffer;
  readonly issuerCertificate?: Linked | undefined;
}

/** What `verifyPeer` gets of the certificate that a peer has shown. */
export function certificateFacts(
  leaf: Linked,
): AlternativeNames & { readonly chain: X509Certificate[] } {
  return { ...alternativeNames(leaf.raw), chain: chainOf(leaf) };
}

/** The certificate and those behind it, as far as they are known. */
function chainOf(leaf: Linked): X509Certificate[] {
  const { X509Certificate: Certificate } = process.getBuiltinModule("node:crypto");
  const chain: X509Certificate[] = [];
  let next: Linked | undefined = leaf;
  while (next !== undefined && chain.length < MAX_CHAIN) {
    chain.push(new Certificate(next.raw));
    const issuer: Linked | undefined = next.issuerCertificate;
    next = issuer?.raw === undefined || issuer.raw.equals(next.raw) ? undefined : issuer;
  }
  return chain;
}
