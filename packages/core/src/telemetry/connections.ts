/**
 * The connections of a mesh as they are measured: how many are open, how they came about and ended, and what
 * went over them. Transports and servers report them here. What a connection knows by itself, such as its
 * bytes, is read with each scrape: a call pays for none of it.
 */
import type { Place } from "../place.ts";
import type { Runtime } from "../runtime/runtime.ts";
import {
  CONNECT_DURATION,
  CONNECTION_CLOSED,
  CONNECTION_OPENED,
  CONNECTIONS,
  IO,
  STREAMS_RESET,
  TLS_HANDSHAKE_DURATION,
  TLS_HANDSHAKES,
} from "./connection-instruments.ts";
import { totalIn, type Counter, type Histogram, type Labels, type Telemetry } from "./telemetry.ts";

export type Direction = "inbound" | "outbound";
/** What is spoken on a connection. */
export type Spoken = "http1" | "http2" | "grpc" | "tcp";
/** Whether both ends have shown a certificate that the other believes. */
export type Mutual = "true" | "false" | "unknown";
/** Where an endpoint stands, seen from this process. */
export type Nearness = "local" | "remote" | "unknown";

/**
 * What ended a connection. `idle`: this side, with nothing in progress on it; `peer`: the other side; `drain`: it
 * is not needed any more, or its server leaves; `glitch`: what the client did on it; `identity`: other
 * certificates are in force; `shutdown`: mesh or server was closed.
 */
export type CloseTrigger =
  | "idle"
  | "age"
  | "peer"
  | "drain"
  | "error"
  | "glitch"
  | "identity"
  | "shutdown";

/** Who reset a stream of HTTP/2; `limit`: the server, because of one of its limits. */
export type ResetTrigger = "client" | "server" | "limit";

/** What is read of a socket. */
export interface MeteredSocket {
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly errored: Error | null;
  readonly readableEnded: boolean;
  once(event: "close", listener: () => void): unknown;
}

export interface OpenedConnection {
  readonly protocol: Spoken;
  readonly mutual: Mutual;
  /** Default `unknown`. */
  readonly zone?: Nearness;
  /** Those of one owner can be said to end together. Default: the socket alone. */
  readonly owner?: object | undefined;
}

interface Open {
  readonly owner: object | undefined;
  readonly zone: Nearness;
  trigger: CloseTrigger | undefined;
  /** Asked at its end, where nothing was said before. */
  why: (() => CloseTrigger | undefined) | undefined;
}

export const ZONES: readonly Nearness[] = ["local", "remote", "unknown"];

/** Where a zone is, for a process that stands in `own`; undefined: it is not known. */
export function nearness(zone: string | undefined, own: string | undefined): Nearness {
  if (zone === undefined || own === undefined) return "unknown";
  return zone === own ? "local" : "remote";
}

/** The connections of one mesh, as they are counted and measured. */
export class ConnectionRecords {
  /** The mesh is being closed: what ends now ends for that. Writer: the mesh. */
  ending = false;
  /** Servers that listen. Writer: server halves. */
  servers = 0;
  readonly telemetry: Telemetry;
  readonly runtime: Runtime;
  readonly #place: Pick<Place, "zone">;
  readonly #records = new Map<string, ConnectionRecord>();
  readonly #open = new Map<string, { count: number }>();
  #total = 0;

  constructor(telemetry: Telemetry, runtime: Runtime, place: Pick<Place, "zone">) {
    this.telemetry = telemetry;
    this.runtime = runtime;
    this.#place = place;
  }

  /** Of this process; undefined: it is not known. */
  get zone(): string | undefined {
    return this.#place.zone;
  }

  /** Open now, of both directions. */
  get size(): number {
    return this.#total;
  }

  /** Of a service that is called, or of the server of that name. `protocol`: `http` or `grpc`. */
  of(direction: Direction, service: string, protocol: string): ConnectionRecord {
    const key = `${direction} ${protocol} ${service}`;
    let record = this.#records.get(key);
    if (record === undefined) {
      record = new ConnectionRecord(this, { direction, service, protocol });
      this.#records.set(key, record);
    }
    return record;
  }

  /** One more is open, until the function that it gives is called. */
  add(direction: Direction, protocol: Spoken, mutual: Mutual): () => void {
    const labels = { direction, protocol, mtls: mutual };
    const key = `${direction} ${protocol} ${mutual}`;
    let open = this.#open.get(key);
    if (open === undefined) {
      const added = (open = { count: 0 });
      this.#open.set(key, added);
      this.telemetry.gauge(CONNECTIONS, labels, () => added.count);
    }
    const counted = open;
    counted.count++;
    this.#total++;
    return () => {
      counted.count--;
      this.#total--;
    };
  }
}

export class ConnectionRecord {
  readonly #all: ConnectionRecords;
  readonly #direction: Direction;
  readonly #service: string;
  readonly #counters = new Map<string, Counter>();
  readonly #durations = new Map<string, Histogram>();
  readonly #handshakes: Histogram;
  readonly #sockets = new Map<MeteredSocket, Open>();
  /** Bytes of connections that have ended. */
  readonly #sent: Record<Nearness, number> = { local: 0, remote: 0, unknown: 0 };
  readonly #received: Record<Nearness, number> = { local: 0, remote: 0, unknown: 0 };
  readonly #measured = new Set<Nearness>();
  readonly #labels: Labels;

  constructor(
    all: ConnectionRecords,
    labels: { direction: Direction; service: string; protocol: string },
  ) {
    this.#all = all;
    this.#labels = labels;
    this.#direction = labels.direction;
    this.#service = labels.service;
    this.#handshakes = all.telemetry.histogram(TLS_HANDSHAKE_DURATION, {
      direction: labels.direction,
    });
  }

  /** Where an endpoint stands. */
  nearness(zone: string | undefined): Nearness {
    return nearness(zone, this.#all.zone);
  }

  /** On the clock of the mesh, for what is measured here. */
  now(): number {
    return this.#all.runtime.now();
  }

  // ── how they come about ──────────────────────────────────────────────────────────────────────

  /** It is connected, its TLS handshake included. */
  opened(
    socket: MeteredSocket,
    { protocol, mutual, zone = "unknown", owner }: OpenedConnection,
  ): void {
    if (this.#sockets.has(socket)) return;
    this.#count(CONNECTION_OPENED, { ...this.#where(protocol), reason: "none" });
    this.#measure(zone);
    const gone = this.#all.add(this.#direction, protocol, mutual);
    const open: Open = { owner, zone, trigger: undefined, why: undefined };
    this.#sockets.set(socket, open);
    socket.once("close", () => {
      this.#sockets.delete(socket);
      this.#sent[zone] += socket.bytesWritten;
      this.#received[zone] += socket.bytesRead;
      gone();
      const trigger = triggerOf(socket, open);
      this.#count(CONNECTION_CLOSED, { direction: this.#direction, trigger });
    });
  }

  /** None came about. `reason`: of a closed set, such as that of the error. */
  failed(protocol: Spoken, reason: string): void {
    this.#count(CONNECTION_OPENED, { ...this.#where(protocol), reason });
  }

  /** A step of connecting took so long. */
  connected(phase: "tcp" | "tls", ms: number): void {
    let duration = this.#durations.get(phase);
    if (duration === undefined) {
      const labels = { service: this.#service, phase };
      duration = this.#all.telemetry.histogram(CONNECT_DURATION, labels);
      this.#durations.set(phase, duration);
    }
    duration.record(ms / 1_000);
    if (phase === "tls") this.shookHands(ms);
  }

  /** `ms`: undefined if it is not known how long it took. */
  shookHands(ms: number | undefined): void {
    this.#count(TLS_HANDSHAKES, { direction: this.#direction, result: "ok" });
    if (ms !== undefined) this.#handshakes.record(ms / 1_000);
  }

  /** A TLS handshake has failed. `reason`: of a closed set. */
  handshakeFailed(reason: string): void {
    this.#count(TLS_HANDSHAKES, { direction: this.#direction, result: reason });
  }

  // ── how they end ─────────────────────────────────────────────────────────────────────────────

  /** Why those of an owner, or that socket, are about to end; what is said first counts. */
  closing(which: object, trigger: CloseTrigger): void {
    const said = trigger === "drain" && this.#all.ending ? "shutdown" : trigger;
    const open = this.#sockets.get(which as MeteredSocket);
    if (open !== undefined) open.trigger ??= said;
    else for (const one of this.#sockets.values()) if (one.owner === which) one.trigger ??= said;
  }

  /** One of that owner's is open. O(n): for those who scrape. */
  has(owner: object): boolean {
    for (const one of this.#sockets.values()) if (one.owner === owner) return true;
    return false;
  }

  /** `why` is asked when the connection ends, if no trigger was given before. */
  explain(socket: MeteredSocket, why: () => CloseTrigger | undefined): void {
    const open = this.#sockets.get(socket);
    if (open !== undefined) open.why = why;
  }

  reset(trigger: ResetTrigger): void {
    this.#count(STREAMS_RESET, { direction: this.#direction, trigger });
  }

  // ── what goes over them ──────────────────────────────────────────────────────────────────────

  #measure(zone: Nearness): void {
    if (this.#measured.has(zone)) return;
    this.#measured.add(zone);
    const { telemetry } = this.#all;
    const labels = { ...this.#labels, zone };
    totalIn(telemetry, IO, { ...labels, op: "sent" }, () => {
      let bytes = this.#sent[zone];
      for (const [socket, open] of this.#sockets)
        if (open.zone === zone) bytes += socket.bytesWritten;
      return bytes;
    });
    totalIn(telemetry, IO, { ...labels, op: "received" }, () => {
      let bytes = this.#received[zone];
      for (const [socket, open] of this.#sockets) if (open.zone === zone) bytes += socket.bytesRead;
      return bytes;
    });
  }

  #where(protocol: Spoken): Labels {
    return { direction: this.#direction, service: this.#service, protocol };
  }

  /** Once for a connection, or a stream that was reset; never for a call that goes well. */
  #count(instrument: Parameters<Telemetry["counter"]>[0], labels: Labels): void {
    const key = `${instrument.name} ${Object.values(labels).join(" ")}`;
    let counter = this.#counters.get(key);
    if (counter === undefined) {
      counter = this.#all.telemetry.counter(instrument, labels);
      this.#counters.set(key, counter);
    }
    counter.add(1);
  }
}

function triggerOf(socket: MeteredSocket, { trigger, why }: Open): CloseTrigger {
  const known = trigger ?? why?.();
  if (known !== undefined) return known;
  if (socket.errored !== null) return "error";
  return socket.readableEnded ? "peer" : "idle";
}
