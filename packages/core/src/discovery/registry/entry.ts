/**
 * What a server announces: one small JSON file for each server that listens. The name of the file says whom it is
 * about, so that a reader opens those of its own service alone:
 *
 *   orders~http~4711-9f86d081.0.json    name, protocol, process (its pid, and chance), number in the process
 *   4711-9f86d081.sock                  a socket that takes connections while that process lives (presence.ts)
 */
import type { AddressInfo } from "node:net";
import { resolve } from "node:path";
import { bracketed, readAddress, readSocket } from "../../config/address.ts";
import { isRaw } from "../../config/plain.ts";
import type { EndpointInfo } from "../../endpoint-info.ts";
import { messageOf } from "../../errors.ts";

export interface RegistryEntry {
  readonly version: 1;
  /** Of the server, which is what clients ask for. */
  readonly name: string;
  /** `http` or `grpc`, or `admin` for the API of the process. */
  readonly protocol: string;
  /** `http/1.1`, `h2` (by ALPN) and `h2c` (prior knowledge). */
  readonly speaks: readonly string[];
  readonly tls: boolean;
  /** `host:port` or `unix:/path`, at least one. */
  readonly addresses: readonly string[];
  /** `draining`: it is about to go, and is the last choice. */
  readonly state: "serving" | "draining";
  readonly pid: number;
  /** Start of the process in milliseconds since 1970, for people. Whether it lives is asked of its socket. */
  readonly startedAtUnixMs: number;
  /** Of `admin`: what its readers have to send, or where that stands. */
  readonly token?: string | undefined;
  readonly tokenFile?: string | undefined;
}

/** The protocol under which processes announce their API. No service is called by it. */
export const ADMIN = "admin";

export const MAX_ENTRY_BYTES = 16_384;
const MAX_ADDRESSES = 64;

/** As names of services in a configuration; short enough to be part of a file's name. */
const NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,118}[A-Za-z0-9])?$/;
const FILE =
  /^([A-Za-z0-9._-]{1,120})~([a-z]{1,16})~([0-9]{1,10}-[0-9a-f]{8})\.([0-9]{1,6})\.json$/;

/** A name that can be announced. */
export function isRegistryName(name: string): boolean {
  return NAME.test(name);
}

export interface EntryFile {
  readonly name: string;
  readonly protocol: string;
  /** Of the process: its socket is `<id>.sock`. */
  readonly id: string;
}

export function fileNameOf(name: string, protocol: string, id: string, number: number): string {
  return `${name}~${protocol}~${id}.${number}.json`;
}

/** Undefined: it is no entry. */
export function parseFileName(file: string): EntryFile | undefined {
  const [, name, protocol, id] = FILE.exec(file) ?? [];
  if (name === undefined || protocol === undefined || id === undefined) return undefined;
  return NAME.test(name) ? { name, protocol, id } : undefined;
}

/** Files that belong to a process: entries, its socket, and what it was writing. */
export function idOfFile(file: string): string | undefined {
  return /(?:^|~)([0-9]{1,10}-[0-9a-f]{8})\.(?:sock|[0-9]{1,6}\.json(?:\.tmp)?)$/.exec(file)?.[1];
}

/** Where the process with that id can be asked whether it lives. */
export function presencePath(dir: string, id: string): string {
  // Pipes of Windows have no place in a directory, and vanish with their process.
  return process.platform === "win32" ? `\\\\.\\pipe\\inmesh-${id}` : `${dir}/${id}.sock`;
}

export function writeEntry(entry: RegistryEntry): string {
  return `${JSON.stringify(entry)}\n`;
}

/** A text says what is wrong with it. */
export function parseEntry(text: string, file: EntryFile): RegistryEntry | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return `is no JSON: ${messageOf(error)}`;
  }
  if (!isRaw(value)) return "is no JSON object";
  const { version, name, protocol, speaks, tls, addresses, state, pid, startedAtUnixMs } = value;
  const { token, tokenFile } = value;
  if (version !== 1) return `has version ${shown(version)}, and 1 is known here`;
  if (name !== file.name || protocol !== file.protocol) {
    return `is about ${shown(name)} over ${shown(protocol)}, which its own name does not say`;
  }
  if (!isTexts(speaks, 1, 8)) return "must have the list speaks";
  if (typeof tls !== "boolean") return "must have tls: true or false";
  if (!isTexts(addresses, 1, MAX_ADDRESSES)) {
    return `must have 1 to ${MAX_ADDRESSES} addresses`;
  }
  const wrong = addresses.map(endpointAt).find((one) => typeof one === "string");
  if (typeof wrong === "string") return `has an address that ${wrong}`;
  if (state !== "serving" && state !== "draining") return "must have state: serving or draining";
  if (typeof pid !== "number" || typeof startedAtUnixMs !== "number") {
    return "must have pid and startedAtUnixMs";
  }
  if (!isTextOrNone(token) || !isTextOrNone(tokenFile)) return "must have texts as its token";
  return {
    version,
    name,
    protocol: file.protocol,
    speaks,
    tls,
    addresses,
    state,
    pid,
    startedAtUnixMs,
    ...(token !== undefined && { token }),
    ...(tokenFile !== undefined && { tokenFile }),
  };
}

/** A text is the rule that was broken. */
export function endpointAt(address: string): EndpointInfo | string {
  return address.startsWith("unix:") ? readSocket(address) : readAddress(address);
}

/** Where processes of this machine reach what listens there; undefined: they cannot. */
export function announcedAddress(address: AddressInfo | string | null): string | undefined {
  if (address === null) return undefined;
  const text = typeof address === "string" ? `unix:${resolve(address)}` : socketAddress(address);
  return typeof endpointAt(text) === "string" ? undefined : text;
}

function socketAddress({ address, port }: AddressInfo): string {
  // All addresses of this host. An IPv6 socket takes IPv4 too, and a host may have ::1 turned off.
  const isAll = address === "::" || address === "0.0.0.0";
  return `${isAll ? "127.0.0.1" : bracketed(address)}:${port}`;
}

function isTextOrNone(value: unknown): value is string | undefined {
  return value === undefined || typeof value === "string";
}

function isTexts(value: unknown, least: number, most: number): value is string[] {
  return (
    Array.isArray(value) &&
    value.length >= least &&
    value.length <= most &&
    value.every((one) => typeof one === "string")
  );
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? typeof value;
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
