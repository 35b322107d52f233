/**
 * Dials one endpoint for a pool whose origin is the service: Host and SNI are the service's, the
 * address is the endpoint's. Keeps what undici does not tell: whether an error came from dialling,
 * and whether a connection is being reset at this very moment.
 */
import type { Socket } from "node:net";
import { MeshError, type EndpointInfo, type Runtime, type ServiceConfig } from "@inmesh/core/spi";
import { buildConnector } from "./undici.ts";

/** A spare connection from a breaker's handshake is kept no longer than an idle one. */
const SPARE_MS = 4_000;
/** RFC 8305 §5; Node's own default differs between its versions. */
const FAMILY_ATTEMPT_MS = 250;
const KEEPALIVE_DELAY_MS = 10_000;

type Connect = ReturnType<typeof buildConnector>;
type Options = Parameters<Connect>[0];
type Callback = Parameters<Connect>[1];

export class Connector {
  /**
   * Connections to this endpoint that ended in an error so far. undici ends a reply whose length
   * only the close tells as if it were complete, also when the close was a reset (faults.md C12),
   * and it may do so long after the event if the reader had paused. A reset of another connection
   * meanwhile is taken for one of this: rather an error too many than a body cut in silence.
   */
  resets = 0;
  readonly #base: Connect;
  readonly #endpoint: EndpointInfo;
  readonly #service: ServiceConfig;
  readonly #runtime: Runtime;
  readonly #connectErrors = new WeakSet<Error>();
  #spare: Socket | undefined = undefined;

  constructor(endpoint: EndpointInfo, service: ServiceConfig, runtime: Runtime) {
    this.#endpoint = endpoint;
    this.#service = service;
    this.#runtime = runtime;
    // The types leave out what net.connect and tls.connect take; undici passes it on.
    const options = {
      allowH2: false,
      timeout: 0, // ours is exact and covers the handshake
      autoSelectFamily: true,
      autoSelectFamilyAttemptTimeout: FAMILY_ATTEMPT_MS,
      keepAlive: true,
      keepAliveInitialDelay: KEEPALIVE_DELAY_MS,
    };
    this.#base = buildConnector(options);
  }

  /** The `connect` function of the pool. Calls back in a later turn, as undici needs. */
  readonly connect = (options: Options, callback: Callback): void => {
    const spare = this.#spare;
    this.#spare = undefined;
    if (spare !== undefined && !spare.destroyed && spare.readable && spare.writable) {
      spare.ref();
      queueMicrotask(() => callback(null, spare));
      return;
    }
    this.#dial(options, callback);
  };

  failedToConnect(error: unknown): boolean {
    return error instanceof Error && this.#connectErrors.has(error);
  }

  /** Completes a handshake and keeps the connection for the next request. */
  probe(): Promise<boolean> {
    const url = new URL(`${this.#service.scheme}://${this.#service.authority}`);
    const options = {
      hostname: url.hostname,
      host: url.host,
      protocol: url.protocol,
      port: url.port,
    } as Options;
    return new Promise((resolve) => {
      this.#dial(options, (error, socket) => {
        if (error !== null || socket === null) return resolve(false);
        this.#spare?.destroy();
        this.#spare = socket;
        socket.unref();
        this.#runtime.after(
          SPARE_MS,
          (one) => {
            if (this.#spare !== one) return;
            this.#spare = undefined;
            one.destroy();
          },
          socket,
        );
        resolve(true);
      });
    });
  }

  close(): void {
    this.#spare?.destroy();
    this.#spare = undefined;
  }

  #dial(options: Options, callback: Callback): void {
    const { connectMs } = this.#service.timeouts;
    const { host, port } = this.#endpoint;
    let settled = false;
    let reached = false;
    const finish = (error: Error | null, socket: Socket | null): void => {
      if (settled) return;
      settled = true;
      timer.cancel();
      if (error !== null) {
        const failed =
          reached && !(error instanceof MeshError) ? this.#handshakeError(error) : error;
        this.#connectErrors.add(failed);
        callback(failed, null);
      } else if (socket !== null) callback(null, socket);
    };
    // Its type says nothing is returned; it is the socket, and we need it before it connects.
    const socket = this.#base(
      { ...options, hostname: host, port: String(port) },
      (error, connected) => finish(error, connected),
    ) as unknown as Socket;
    const timer = this.#runtime.after(
      connectMs,
      () => {
        const error = new MeshError({
          code: "connect_failed",
          reason: "connect_timeout",
          message: `${this.#service.name} → ${host}:${port}: no connection within ${connectMs} ms (timeouts.connect)`,
          progress: "not-sent",
          stackless: true,
        });
        finish(error, null);
        socket.destroy();
      },
      undefined,
    );
    // Of a TLS socket this is TCP's part alone; what fails after it is the handshake.
    if (this.#service.scheme === "https") {
      socket.once("connect", () => {
        reached = true;
      });
    }
    // Ours is the first `error` listener: it counts before undici ends the reply.
    socket.on("error", () => {
      this.resets++;
    });
    // libuv before 1.52 (Node 22) reports a reset that came while the reader had paused as an end,
    // without the read that would tell. Only after a FIN does the socket still know its peer.
    socket.on("end", () => {
      if (socket.remoteAddress === undefined) this.resets++;
    });
  }

  /** A FIN or RST in a handshake has no code that tells it from a refused connection (faults.md C17). */
  #handshakeError(cause: Error & { readonly code?: unknown }): MeshError {
    const { host, port } = this.#endpoint;
    const why = typeof cause.code === "string" ? cause.code : cause.message;
    return new MeshError({
      code: "connect_failed",
      reason: "tls_handshake",
      message: `${this.#service.name} → ${host}:${port}: TLS handshake failed (${why})`,
      progress: "not-sent",
      cause,
      stackless: true,
    });
  }
}
