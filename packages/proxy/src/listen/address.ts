/** Where a listener listens, and where connections come from. */
import { isIP, type Socket } from "node:net";
import type { PeerAddress } from "./accepted.ts";

/** Port 0: one that is free. `path`: a Unix socket. */
export type ListenAddress =
  | { readonly host: string; readonly port: number; readonly path?: undefined }
  | { readonly path: string };

/** Linux takes 108 bytes with the one that ends them. */
const MAX_PATH_BYTES = 107;
/** On a listener of both families an IPv4 client has an address of this form. */
const MAPPED = /^::ffff:(?=\d+\.)/i;

/** `127.0.0.1:4140`, `[::1]:4140` or `unix:/run/mesh.sock`. A text is the rule that was broken. */
export function readListenAddress(text: string): ListenAddress | string {
  if (text.startsWith("unix:")) return readPath(text.slice("unix:".length));
  const [, six, name = "", portText] =
    /^(?:\[([^\]]*)\]|([^:[\]]*)):([0-9]{1,5})$/.exec(text) ?? [];
  if (portText === undefined) {
    return isIP(text) === 6
      ? `must have brackets around an IPv6 address, such as [${text}]:4140`
      : "must be host:port, such as 127.0.0.1:4140, or unix:/path";
  }
  if (Number(portText) > 65_535) return "must have a port from 0 to 65535";
  const host = (six ?? name).toLowerCase();
  if (six !== undefined && isIP(six) !== 6) return "must have an IPv6 address between the brackets";
  // A name would be looked up, and what it leads to can change: an address is what is meant.
  if (host !== "localhost" && isIP(host) === 0) {
    return "must have an IP address or localhost, such as 127.0.0.1:4140, or 0.0.0.0:4140 for every address";
  }
  return { host, port: Number(portText) };
}

function readPath(path: string): ListenAddress | string {
  if (!path.startsWith("/") || /\p{Cc}/u.test(path)) {
    return "must be an absolute path, such as unix:/run/mesh.sock";
  }
  return Buffer.byteLength(path) > MAX_PATH_BYTES
    ? `must have a path of at most ${MAX_PATH_BYTES} bytes: sockets cannot have longer ones`
    : { path };
}

/** As it is written in a configuration. */
export function listenText(address: ListenAddress): string {
  if (address.path !== undefined) return `unix:${address.path}`;
  const { host, port } = address;
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Undefined: it is a Unix socket, or has gone. */
export function clientOf({ remoteAddress, remotePort }: Socket): PeerAddress | undefined {
  return peer(remoteAddress, remotePort);
}

export function targetOf({ localAddress, localPort }: Socket): PeerAddress | undefined {
  return peer(localAddress, localPort);
}

function peer(address: string | undefined, port: number | undefined): PeerAddress | undefined {
  if (address === undefined || port === undefined) return undefined;
  return { address: address.replace(MAPPED, ""), port };
}
