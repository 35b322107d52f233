/**
 * The certificates of a service as grpc-js's channel credentials. Our own, because grpc-js's would
 * put an IP address into SNI, and take whatever ALPN chose. They are methods with an underscore, which
 * another version of grpc-js may not call: then its own credentials are made of the same certificates.
 */
import { isIP, type Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import {
  CallCredentials,
  ChannelCredentials,
  credentials,
  type ChannelOptions,
  type experimental,
} from "@grpc/grpc-js";
import type { TlsContext } from "@inmesh/core/spi";
import { takesOwnCredentials } from "../internals.ts";

type Connector = ReturnType<ChannelCredentials["_createSecureConnector"]>;
type Connected = Awaited<ReturnType<Connector["connect"]>>;

const PROTOCOLS = ["h2"] as const;
/** What a server says that has nothing in common with us, and one that says nothing. */
const NO_ALPN = "ALPN did not agree on h2";
const ALERT = "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL";

/** The peer speaks TLS, and another protocol over it. */
export function isOtherProtocol({ code, message }: Error & { readonly code?: unknown }): boolean {
  return code === ALERT || message === NO_ALPN;
}

/** SNI of grpc-js's own credentials where a service has an address for its name. It must have some. */
const NO_NAME = "endpoint.invalid";

/** Of credentials that grpc-js has made, which says of a failed handshake no more than a text: their server name. */
export const foreignNames: WeakMap<ChannelCredentials, string> = new WeakMap();

/** For one channel, with the options that it needs for them. */
export function tlsCredentials(context: TlsContext): [ChannelCredentials, ChannelOptions] {
  if (takesOwnCredentials()) return [new TlsCredentials(context), {}];
  const { secureContext, checkServerIdentity, serverName } = context;
  const foreign = credentials.createFromSecureContext(secureContext, {
    checkServerIdentity,
    rejectUnauthorized: true,
  });
  foreignNames.set(foreign, serverName);
  return [
    foreign,
    { "grpc.ssl_target_name_override": isIP(serverName) === 0 ? serverName : NO_NAME },
  ];
}

export class TlsCredentials extends ChannelCredentials {
  /** Why the last handshake failed; undefined: it did not. */
  failure: (Error & { readonly code?: unknown }) | undefined = undefined;
  /** TCP has connected, and the handshake is under way. */
  handshaking = false;
  readonly serverName: string;
  readonly #context: TlsContext;

  constructor(context: TlsContext) {
    super();
    this.#context = context;
    this.serverName = context.serverName;
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(
    _target: experimental.GrpcUri,
    _options: object,
    callCredentials?: CallCredentials,
  ): Connector {
    const own = callCredentials ?? CallCredentials.createEmpty();
    return {
      connect: (socket) => this.#connect(socket),
      waitForReady: () => Promise.resolve(),
      getCallCredentials: () => own,
      destroy() {},
    };
  }

  #connect(socket: Socket): Promise<Connected> {
    return new Promise((resolve, reject) => {
      this.handshaking = true;
      const secure = this.#context.connect({ socket }, PROTOCOLS) as TLSSocket;
      // It stays: an error after the handshake is the session's to report, not the process's.
      secure.on("error", (error) => {
        this.handshaking = false;
        this.failure ??= error;
        reject(error);
      });
      secure.once("close", () => reject(new Error("TLS handshake: the connection was closed")));
      secure.once("secureConnect", () => {
        this.handshaking = false;
        if (secure.alpnProtocol === "h2") {
          this.failure = undefined;
          resolve({ socket: secure, secure: true });
        } else secure.destroy(new Error(NO_ALPN));
      });
    });
  }
}
