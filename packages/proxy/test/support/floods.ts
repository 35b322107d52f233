/** Frames that no request and no reply needs in great numbers: clients and servers send the same ones to the proxy. */
import {
  frame,
  PING,
  SETTINGS,
  settings,
  WINDOW_UPDATE,
  words,
} from "../../../http/test/support/h2-frames.ts";

export interface Flood {
  readonly name: string;
  /** So many are let through, by both sides of the proxy. */
  readonly few: number;
  /** More than a client may send. */
  readonly many: number;
  /** Of `snapshot().refused`, where it came from a client. */
  readonly reason: "pings" | "settings" | "frames";
  make(i: number): Buffer;
}

const PRIORITY = 2;
const UNKNOWN = 0xbe;
/** More than any peer may send, whatever it is. */
export const TOO_MANY = 2_000;

export const FLOODS: readonly Flood[] = [
  { name: "PING", few: 10, many: 20, reason: "pings", make: (i) => frame(PING, 0, 0, words(0, i)) },
  { name: "SETTINGS", few: 8, many: 30, reason: "settings", make: () => settings() },
  {
    name: "PRIORITY",
    few: 90,
    many: 200,
    reason: "frames",
    make: () => frame(PRIORITY, 0, 3, Buffer.from([0, 0, 0, 0, 1])),
  },
  {
    name: "frames of unknown type",
    few: 90,
    many: 200,
    reason: "frames",
    make: () => frame(UNKNOWN, 0xff, 0, Buffer.from("x")),
  },
  {
    name: "WINDOW_UPDATE",
    few: 400,
    many: TOO_MANY,
    reason: "frames",
    make: () => frame(WINDOW_UPDATE, 0, 0, words(1)),
  },
  {
    name: "acknowledgements of SETTINGS",
    few: 90,
    many: 200,
    reason: "frames",
    make: () => frame(SETTINGS, 1, 0),
  },
  {
    name: "answers to no PING",
    few: 90,
    many: 200,
    reason: "frames",
    make: (i) => frame(PING, 1, 0, words(0, i)),
  },
];

export function repeat(count: number, make: (i: number) => Buffer): Buffer {
  return Buffer.concat(Array.from({ length: count }, (_, i) => make(i)));
}
