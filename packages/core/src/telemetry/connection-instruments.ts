/** What is measured of connections, at both ends of them, by name. */
import { SECONDS, type Histogrammed } from "./buckets.ts";
import type { Instrument } from "./telemetry.ts";

const HANDSHAKE_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export const CONNECTIONS: Instrument = {
  name: "inmesh.connections",
  unit: "{connection}",
  description: "Connections that are open.",
};
export const CONNECTION_OPENED: Instrument = {
  name: "inmesh.connection.opened",
  unit: "{connection}",
  description: "Connections that came about, with reason none, or why one did not.",
};
export const CONNECTION_CLOSED: Instrument = {
  name: "inmesh.connection.closed",
  unit: "{connection}",
  description: "Connections that ended, by what ended them.",
};
export const CONNECTION_REUSE: Instrument = {
  name: "inmesh.connection.reuse",
  unit: "{attempt}",
  description: "Attempts that got a connection: a new one, or one that had carried another before.",
};
export const CONNECT_DURATION: Histogrammed = {
  name: "inmesh.connect.duration",
  unit: "s",
  description: "Until TCP had connected, and from there to the end of the TLS handshake.",
  bounds: SECONDS,
};
export const IO: Instrument = {
  name: "inmesh.io",
  unit: "By",
  description: "Bytes of connections, with heads and framing.",
};
export const TLS_HANDSHAKES: Instrument = {
  name: "inmesh.tls.handshakes",
  unit: "{handshake}",
  description: "TLS handshakes that ended: ok, or why they failed.",
};
export const TLS_HANDSHAKE_DURATION: Histogrammed = {
  name: "inmesh.tls.handshake.duration",
  unit: "s",
  description: "Time of a TLS handshake that succeeded.",
  bounds: HANDSHAKE_SECONDS,
};
export const STREAMS_RESET: Instrument = {
  name: "inmesh.streams.reset",
  unit: "{stream}",
  description: "HTTP/2 streams that were reset before their end, by who did it.",
};

export const CONNECTION_INSTRUMENTS: readonly Instrument[] = [
  CONNECTIONS,
  CONNECTION_OPENED,
  CONNECTION_CLOSED,
  CONNECTION_REUSE,
  CONNECT_DURATION,
  IO,
  TLS_HANDSHAKES,
  TLS_HANDSHAKE_DURATION,
  STREAMS_RESET,
];
