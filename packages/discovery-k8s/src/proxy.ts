/**
 * The proxy on the way to the API server: that of the kubeconfig, else that of the environment, as kubectl has it.
 * undici's EnvHttpProxyAgent knows no address ranges in NO_PROXY, which is how clusters are excepted, and its sockets
 * would keep the process alive.
 */
import { request as requestHttp, type IncomingMessage } from "node:http";
import { request as requestHttps } from "node:https";
import { BlockList, isIP, type Socket } from "node:net";
import { ApiError } from "./api-error.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** The proxy for `server`; undefined: none. Throws for a URL of the environment that is none. */
export function proxyOf(server: string, env: Environment): string | undefined {
  const { protocol, hostname, port } = new URL(server);
  const name = protocol === "https:" ? "https_proxy" : "http_proxy";
  const proxy = env[name] ?? env[name.toUpperCase()] ?? "";
  if (proxy === "") return undefined;
  const host = hostname.replace(/^\[(.*)\]$/, "$1");
  const number = Number(port) || (protocol === "https:" ? 443 : 80);
  if (isExcepted(host, number, env["no_proxy"] ?? env["NO_PROXY"] ?? "")) return undefined;
  const url = proxy.includes("://") ? proxy : `http://${proxy}`;
  if (isProxy(url)) return url;
  throw new Error(
    `${name.toUpperCase()} is no http or https URL: correct it, or except the API server with NO_PROXY=${host}`,
  );
}

export function isProxy(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}

/** As Go reads it: `*`, names with their subdomains, addresses, ranges of them, each maybe with a port. */
function isExcepted(host: string, port: number, list: string): boolean {
  const family = isIP(host);
  for (const entry of list.split(/[,\s]+/)) {
    if (entry === "*") return true;
    const [, range = "", bits = ""] = /^([0-9a-fA-F.:]+)\/(\d{1,3})$/.exec(entry) ?? [];
    if (range !== "") {
      if (family !== 0 && isIP(range) === family && isWithin(host, range, Number(bits), family)) {
        return true;
      }
      continue;
    }
    const [, bracketed, plain = entry, only] =
      /^(?:\[(.+)\]|([^:]+))(?::(\d+))?$/.exec(entry) ?? [];
    const name = (bracketed ?? plain).toLowerCase().replace(/^\*?\./, "");
    if (name === "" || (only !== undefined && Number(only) !== port)) continue;
    if (host === name || (family === 0 && host.endsWith(`.${name}`))) return true;
  }
  return false;
}

function isWithin(host: string, range: string, bits: number, family: number): boolean {
  if (bits > (family === 4 ? 32 : 128)) return false;
  const list = new BlockList();
  const kind = family === 4 ? "ipv4" : "ipv6";
  list.addSubnet(range, bits, kind);
  return list.check(host, kind);
}

/** A connection through the proxy. No text of an error has the proxy's credentials. `done` is called once. */
export function tunnelTo(
  proxy: string,
  server: string,
  timeoutMs: number,
  done: (...args: [Error, null] | [null, Socket]) => void,
): void {
  const { protocol, hostname, port, username, password } = new URL(proxy);
  const target = new URL(server);
  const host = `${target.hostname}:${target.port || (target.protocol === "https:" ? 443 : 80)}`;
  const request = protocol === "https:" ? requestHttps : requestHttp;
  const shown = `${protocol}//${hostname}${port === "" ? "" : `:${port}`}`;
  const headers: Record<string, string> = { host };
  if (username !== "") {
    const both = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
    headers["proxy-authorization"] = `Basic ${Buffer.from(both).toString("base64")}`;
  }
  let isDone = false;
  const end = (...result: [Error, null] | [null, Socket]): void => {
    if (isDone) return;
    isDone = true;
    done(...result);
  };
  const failed = (why: string): void => {
    end(new ApiError(0, `the proxy ${shown} for the API server ${host}: ${why}`), null);
  };
  const sent = request({
    host: hostname.replace(/^\[(.*)\]$/, "$1"),
    port: port || (protocol === "https:" ? 443 : 80),
    method: "CONNECT",
    path: host,
    headers,
    agent: false,
    timeout: timeoutMs,
  });
  sent.on("socket", (socket) => socket.unref());
  sent.on("timeout", () => sent.destroy(new Error("it has not answered in time")));
  sent.on("error", (error: NodeJS.ErrnoException) => failed(error.code ?? error.message));
  sent.on("response", ({ statusCode }) => {
    sent.destroy();
    failed(`it answered ${statusCode}`);
  });
  sent.on("connect", ({ statusCode }: IncomingMessage, socket: Socket) => {
    if (statusCode === 200) {
      socket.setTimeout(0);
      return end(null, socket);
    }
    socket.destroy();
    failed(
      `it answered ${statusCode}${statusCode === 407 ? ": write user and password into its URL" : ""}`,
    );
  });
  sent.end();
}
