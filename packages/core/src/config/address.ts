/** Reads hosts, addresses and paths of sockets, as they are written in URLs, lists and options. */
import { isIP } from "node:net";
import type { EndpointInfo } from "../endpoint-info.ts";

const DNS_LABELS = /^(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?$/;
export const DEFAULT_PORTS: Readonly<Record<"http" | "https", number>> = { http: 80, https: 443 };

/** `host:port` or `[::1]:port` to its pieces; a text is the rule that was broken. */
export function readAddress(text: string, defaultPort?: number): EndpointInfo | string {
  const parts = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::([0-9]{1,6}))?$/.exec(text);
  if (parts === null) {
    return isIP(text) === 6
      ? `must have brackets around an IPv6 address, such as [${text}]:8080`
      : "must be host:port, such as 10.0.0.1:8080";
  }
  const [, six, name = "", portText] = parts;
  if (six !== undefined && isIP(six) !== 6) return "must have an IPv6 address between the brackets";
  const host = (six ?? name).toLowerCase();
  // A port alone, as other programs take it.
  if (portText === undefined && /^[0-9]{1,5}$/.test(host)) {
    return `must be host:port, such as 127.0.0.1:${host}`;
  }
  const wrong = hostRule(host);
  if (wrong !== undefined) return wrong;
  if (portText === undefined && defaultPort === undefined) return "must have a port, as host:port";
  const port = portText === undefined ? (defaultPort ?? 0) : Number(portText);
  if (port < 1 || port > 65_535) return "must have a port from 1 to 65535";
  return { host, port };
}

/** What Linux takes: 108 bytes with the one that ends them. */
const MAX_PATH_BYTES = 107;

/** `unix:/path`, also as `unix:///path`; a text is the rule that was broken. */
export function readSocket(text: string): EndpointInfo | string {
  const path = /^unix:(?:\/\/(?=\/))?(\/(?!\/)\P{Cc}+)$/u.exec(text)?.[1];
  if (path === undefined) return "must be an absolute path, such as unix:/run/orders.sock";
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    return `must have a path of at most ${MAX_PATH_BYTES} bytes: sockets cannot have longer ones`;
  }
  return { host: `unix:${path}`, port: 0 };
}

export function hostRule(host: string): string | undefined {
  if (host.includes("%")) return "must not have an IPv6 zone";
  if (isIP(host) !== 0) return undefined;
  if (host === "") return "must have a host";
  // 10.0.1 or 256.1.1.1 would be looked up as names, or read as other addresses by some parsers.
  if (/^[0-9.]+$/.test(host)) return "must be a whole IPv4 address, such as 10.0.0.1";
  if (host.length > 254 || !DNS_LABELS.test(host)) return "must be a DNS name or an IP address";
  return undefined;
}

/** The authority for a host and port, without the port that its scheme has anyway. */
export function authorityOf(host: string, port: number, scheme: "http" | "https"): string {
  return port === DEFAULT_PORTS[scheme] ? bracketed(host) : `${bracketed(host)}:${port}`;
}

/** A host as it is written before a port: an IPv6 address in brackets. */
export function bracketed(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}
