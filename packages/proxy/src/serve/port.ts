/**
 * A listener of the configuration that runs: its address, the half of it that speaks HTTP, and the half that passes bytes
 * on. What the configuration changes while it runs, it takes without closing its address or a connection.
 */
import type { Socket } from "node:net";
import type { LimitedLog } from "@inmesh/core/spi/server";
import { DEFAULT_HTTP_LIMITS, linesAbout, ServerSettings } from "@inmesh/core/spi/server";
import type { ConnectionRecord, Posture } from "@inmesh/core/spi/server";
import type { Mesh, Runtime } from "@inmesh/core/spi/transport";
import type { Accepted, Detected, Front, PeerAddress } from "../listen/accepted.ts";
import { readListenAddress, type ListenAddress } from "../listen/address.ts";
import { Listener, type ListenerOptions, type ListenReason } from "../listen/listener.ts";
import type { ProxyListener, ProxyOptions, RunningProxy } from "../listener.ts";
import { ConnectFront } from "../tcp/connect.ts";
import { TcpFront, type TcpReason, type TcpService } from "../tcp/front.ts";
import { TCP } from "../tcp/protocol.ts";
import type { ListenerConfig } from "./section.ts";

/** Opens the half that speaks HTTP: `startProxy`. */
export type StartHttp = (options: ProxyOptions) => RunningProxy;

export interface PortParts {
  readonly mesh: Mesh;
  readonly startHttp: StartHttp;
  /** Several processes share its port. */
  readonly reusePort: boolean;
}

type Reason = ListenReason | TcpReason;

const SOCKET_MODE = 0o660;
/** For people. A reason of TLS and of HTTP is said by those who refuse. */
const SAID: Readonly<Record<Exclude<Reason, "no_bytes" | "tunnel_idle">, string>> = {
  connections: "there are as many as limits.maxConnections allows",
  connections_per_address: "its address has as many as maxConnectionsPerAddress allows",
  proxy_header:
    "it does not begin with a header of the PROXY protocol, which acceptProxyProtocol asks for",
  proxy_header_timeout: "the header of the PROXY protocol did not come within detectTimeout",
  no_service:
    "nothing says which service it is for: give the listener a service, or speak HTTP or TLS with a server name",
  no_endpoint: "no endpoint of its service could be reached",
};

export class Port {
  readonly name: string;
  config: ListenerConfig;
  readonly #parts: PortParts;
  readonly #listener: Listener;
  readonly #lines: LimitedLog;
  readonly #record: ConnectionRecord | undefined;
  #halves: Halves;
  /** Those of settings that were replaced, whose connections go on. */
  readonly #leaving = new Set<Halves>();

  /** Rejects with a ListenError that says what to do. */
  static async open(name: string, config: ListenerConfig, parts: PortParts): Promise<Port> {
    const port = new Port(name, config, parts);
    try {
      await port.#listener.listen();
    } catch (error) {
      void port.drain(0, true);
      throw error;
    }
    return port;
  }

  /** It listens from `takeAddress` on. */
  constructor(name: string, config: ListenerConfig, parts: PortParts) {
    const { mesh, reusePort } = parts;
    this.name = name;
    this.config = config;
    this.#parts = parts;
    // Of these only the number of connections is read here, which a running server does not change.
    const { limits } = new ServerSettings("mesh-proxy", { name, mesh }, DEFAULT_HTTP_LIMITS);
    this.#lines = linesAbout(name, mesh.log, mesh.runtime);
    this.#record = mesh.connections.of("inbound", name, "tcp");
    this.#halves = this.#openHalves(config);
    this.#listener = new Listener(
      {
        ...listenerOptions(config),
        address: addressOf(config),
        reusePort,
        socketMode: SOCKET_MODE,
      },
      this.#fronts(),
      {
        runtime: mesh.runtime,
        limits,
        count: (reason) => this.#count(reason),
      },
    );
  }

  /** Of a port that `has` it, whose connections stay with it. */
  takeAddress(from: Port): void {
    this.#listener.takeAddress(from.#listener);
  }

  /** It listens on that address of a configuration, and can give it to another one. Port 0 is another one each time. */
  has(listen: string): boolean {
    if (!this.#listener.hasAddress) return false;
    return listen === this.address || (listen === this.config.listen && !listen.endsWith(":0"));
  }

  /** As bound. */
  get address(): string {
    return this.#listener.text;
  }

  /** Connections that are open. */
  get connections(): number {
    return this.#listener.size;
  }

  /** What the configuration says now. The address stays. */
  configure(config: ListenerConfig): void {
    const before = this.config;
    this.config = config;
    const { service, app, allowConnect, via } = config;
    const same =
      service === before.service &&
      app === before.app &&
      allowConnect === before.allowConnect &&
      via === before.via;
    if (!same) {
      const old = this.#halves;
      this.#halves = this.#openHalves(config);
      this.#leaving.add(old);
      // New connections go elsewhere; those that are open stay as long as their clients like.
      void old.close(Infinity).then(() => this.#leaving.delete(old));
    }
    this.#halves.tcp.configure(this.#tcpOptions(config));
    this.#listener.configure(listenerOptions(config), this.#fronts());
  }

  /**
   * Says that it is not ready, waits until callers have noticed, accepts no more, asks clients to leave, and cuts off
   * what is left after `graceMs`. `noticed`: callers need no time.
   */
  async drain(graceMs: number, noticed: boolean): Promise<void> {
    const { runtime } = this.#parts.mesh;
    const endsAt = runtime.now() + graceMs;
    const all = [this.#halves, ...this.#leaving];
    await Promise.all(
      all.map((halves) => (noticed ? halves.close(graceMs) : halves.drain(graceMs))),
    );
    // A connection that came last may be about to say what it speaks.
    const leftMs = Math.max(0, endsAt - runtime.now());
    const end = runtime.after(leftMs, () => this.#listener.destroy(), undefined, true);
    await this.#listener.decided();
    await this.#halves.tcp.emptied();
    end.cancel();
    this.#listener.destroy();
    this.#lines.close();
  }

  #openHalves(config: ListenerConfig): Halves {
    const { mesh, startHttp } = this.#parts;
    const { service, app, via } = config;
    const target = app === undefined ? service : openApp(mesh, this.name, app);
    const posture = this.#posture(config);
    const tcp = new TcpFront({
      ...this.#tcpOptions(config),
      runtime: mesh.runtime,
      connections: this.#record,
      serviceOf: (connection) => serviceOf(mesh, target, connection),
      count: (reason) => this.#count(reason),
    });
    const http = startHttp({
      mesh,
      listeners: [
        {
          name: this.name,
          mode: app === undefined ? "outbound" : "inbound",
          ...(target !== undefined && { service: target }),
          ...(posture !== undefined && { posture }),
          ...(via !== undefined && { via }),
          stopListening: () => {
            if (this.#halves.http !== http) return undefined;
            this.#listener.stopListening();
            return this.#listener.decided();
          },
        },
      ],
    });
    return new Halves(http, tcp, mesh.runtime);
  }

  /** An outbound listener that other hosts can reach is not the application's own. */
  #posture({ app }: ListenerConfig): Posture | undefined {
    const said = this.#parts.mesh.config.current.servers?.[this.name]?.posture;
    if (said !== undefined || app !== undefined) return said;
    const address = addressOf(this.config);
    return address.path !== undefined || isLoopback(address.host) ? "local" : "edge";
  }

  #tcpOptions({ idleTimeoutMs, sendProxyProtocol }: ListenerConfig): {
    readonly idleTimeoutMs: number;
    readonly announces: "v1" | "v2" | undefined;
  } {
    return {
      idleTimeoutMs,
      announces: sendProxyProtocol === "none" ? undefined : sendProxyProtocol,
    };
  }

  #fronts(): Readonly<Record<Detected, Front>> {
    const { http, tcp } = this.#halves;
    const { mesh } = this.#parts;
    const [listener] = http.listeners;
    const http1 = new HttpFront(listener!, "http1");
    return {
      http1: this.config.allowConnect
        ? new ConnectFront({
            runtime: mesh.runtime,
            tcp,
            http: http1,
            serviceOf: (authority) => serviceBehind(mesh, authority),
          })
        : http1,
      http2: new HttpFront(listener!, "http2"),
      tls: tcp,
      tcp,
    };
  }

  #count(reason: Reason): void {
    if (reason === "no_bytes") return;
    if (reason === "tunnel_idle") return;
    this.#record?.failed("tcp", reason);
    this.#lines.write(
      "proxy.connection_refused",
      () => `a connection was refused: ${SAID[reason]}`,
    );
  }
}

/** What has a listener's connections. */
class Halves {
  readonly http: RunningProxy;
  readonly tcp: TcpFront;
  readonly #runtime: Runtime;

  constructor(http: RunningProxy, tcp: TcpFront, runtime: Runtime) {
    this.http = http;
    this.tcp = tcp;
    this.#runtime = runtime;
  }

  /**
   * HTTP knows when callers have noticed, and the address closes then. What TCP carries is not known, so there is no way
   * to ask its ends to leave: it has all of the time.
   */
  async drain(graceMs: number): Promise<void> {
    await this.#within(graceMs, () => this.http.drain(graceMs));
  }

  async close(graceMs: number): Promise<void> {
    await this.#within(graceMs, () => this.http.close(graceMs));
  }

  async #within(graceMs: number, leave: () => Promise<void>): Promise<void> {
    const timer = this.#runtime.after(graceMs, () => this.tcp.destroy(), undefined, true);
    await leave();
    await this.tcp.emptied();
    timer.cancel();
  }
}

class HttpFront implements Front {
  readonly #listener: ProxyListener;
  readonly #spoken: "http1" | "http2";

  constructor(listener: ProxyListener, spoken: "http1" | "http2") {
    this.#listener = listener;
    this.#spoken = spoken;
  }

  accept({ socket, head, client }: Accepted): void {
    if (client !== undefined && client.address !== socket.remoteAddress) speakFor(socket, client);
    this.#listener.handle(socket, head.length === 0 ? undefined : head, this.#spoken);
  }
}

/**
 * The client that a header of the PROXY protocol names is what layers, observers and logs see of the connection: they read
 * its address from the socket, so it gets members of its own in front of those that ask the kernel.
 */
function speakFor(socket: Socket, { address, port }: PeerAddress): void {
  Object.defineProperties(socket, {
    remoteAddress: { value: address },
    remotePort: { value: port },
  });
}

function listenerOptions(
  config: ListenerConfig,
): Omit<ListenerOptions, "address" | "reusePort" | "socketMode"> {
  const { protocol, detectTimeoutMs, acceptProxyProtocol, maxConnectionsPerAddress } = config;
  return {
    protocol: protocol === "detect" ? undefined : protocol,
    detectTimeoutMs,
    proxyProtocol: acceptProxyProtocol,
    maxConnectionsPerAddress,
  };
}

function addressOf({ listen }: ListenerConfig): ListenAddress {
  const address = readListenAddress(listen);
  // The section has been read before.
  if (typeof address === "string") throw new TypeError(`${listen} ${address}`);
  return address;
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host.startsWith("127.");
}

/**
 * The service that stands for the application: its one endpoint is that application, and what it refuses is for its
 * caller to repeat.
 */
function openApp(mesh: Mesh, listener: string, app: string): string {
  const name = app.startsWith("unix:") ? `${listener}.app` : app;
  mesh.service(name, TCP, { discovery: { static: [app] }, retry: { attempts: 1 } });
  return name;
}

function serviceOf(
  mesh: Mesh,
  target: string | undefined,
  { serverName }: Accepted,
): TcpService | undefined {
  return opened(
    mesh,
    target ?? (serverName === undefined ? undefined : nameOf(mesh, serverName, undefined)),
  );
}

/** The service that CONNECT asks for. A port has to be that of the service, or one that its name alone does not say. */
function serviceBehind(mesh: Mesh, authority: string): TcpService | undefined {
  const at = authority.lastIndexOf(":");
  return opened(mesh, nameOf(mesh, authority.slice(0, at), authority.slice(at + 1)));
}

function opened(mesh: Mesh, name: string | undefined): TcpService | undefined {
  if (name === undefined) return undefined;
  try {
    return mesh.service(name, TCP);
  } catch {
    // It was taken out of the configuration, or the mesh is closed.
    return undefined;
  }
}

/**
 * The service of that name, at any port; or of that authority, at its port where one is asked for. Once for each connection
 * of TLS or by CONNECT.
 */
function nameOf(mesh: Mesh, host: string, port: string | undefined): string | undefined {
  const { services } = mesh.config.current;
  for (const name of Object.keys(services)) {
    const lower = name.toLowerCase();
    if (lower === host || lower === `${host}:${port}`) return name;
  }
  return Object.values(services).find(({ authority, scheme }) => {
    const lower = authority.toLowerCase();
    const own = /:(\d+)$/.exec(lower)?.[1] ?? (scheme === "https" ? "443" : "80");
    return lower.replace(/:\d+$/, "") === host && (port === undefined || port === own);
  })?.name;
}
