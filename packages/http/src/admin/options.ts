/** What `mesh.admin.listen` may be given, and every mistake in it at once. */
import { isIP } from "node:net";
import { ConfigError } from "@inmesh/core";
import { makeMistake, optionMistakes, type Mistake, type OptionKinds } from "@inmesh/core/spi";

export interface AdminOptions {
  /** TCP port; 0 chooses a free one. Default 0. A mistake beside `socketPath`. */
  readonly port?: number;
  /**
   * Address to listen on, as a literal or a name. Default `127.0.0.1`: only this machine. Others send the token in
   * plain text through the network. No effect with `socketPath`.
   */
  readonly host?: string;
  /**
   * A Unix socket in the place of a port, which only the user of this process may open (mode 0600). One that a killed
   * process left behind is taken away, unless a process answers on it. At most 103 bytes. Default: none.
   */
  readonly socketPath?: string;
  /**
   * What readers have to send as `Authorization: Bearer <token>`: at least 16 characters of printable ASCII without
   * spaces, or a file whose first line it is. A file that is not there is written with a random one (mode 0600), and a
   * changed one counts from its next use on. Default: a random token, which `listen` gives back.
   */
  readonly token?: string | { readonly file: string };
  /** `open`: `/metrics` needs no token, for a Prometheus that has none. Default `token`. */
  readonly metrics?: "token" | "open";
  /** False: only `/metrics`, `/livez` and `/readyz` are served. Default true. */
  readonly api?: boolean;
  /**
   * Further names by which readers may reach it, in their `Host` header: without port, lower case. Default: those of
   * this machine, the address that a connection was accepted on, and `host`.
   */
  readonly hosts?: readonly string[];
}

const OPTIONS: OptionKinds<AdminOptions> = {
  port: "count",
  host: "text",
  socketPath: "text",
  token: "any",
  metrics: "text",
  api: "boolean",
  hosts: "list",
};
const HINTS = {
  path: 'did you mean "socketPath"?',
  socket: 'did you mean "socketPath"?',
  address: 'did you mean "host"?',
};
const OWNER = "mesh.admin.listen";
const MAX_PORT = 65_535;
/** `sun_path` of the shortest of the systems, less its end. */
const MAX_SOCKET_BYTES = 103;
const MIN_TOKEN = 16;
const MAX_TOKEN = 512;
const TOKEN = /^[\u0021-\u007e]+$/;
const HOST_NAME = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;

/** What keeps a text from being a token; undefined: nothing. */
export function tokenRule(token: string): string | undefined {
  if (token.length < MIN_TOKEN || token.length > MAX_TOKEN) {
    return `must have ${MIN_TOKEN} to ${MAX_TOKEN} characters, as \`openssl rand -hex 32\` makes them`;
  }
  return TOKEN.test(token) ? undefined : "must be of printable ASCII characters without spaces";
}

/** Throws a ConfigError with every mistake. */
export function checkOptions(options: AdminOptions): void {
  const mistakes: Mistake[] = optionMistakes(OWNER, options, OPTIONS, HINTS);
  const add = (path: (string | number)[], rule: string, value: unknown): void =>
    void mistakes.push(makeMistake(path, rule, value, OWNER));
  if (mistakes.length === 0) {
    const { port, socketPath, host, token, metrics, hosts = [] } = options;
    if (port !== undefined && port > MAX_PORT) add(["port"], `must be at most ${MAX_PORT}`, port);
    if (socketPath !== undefined) {
      const bytes = Buffer.byteLength(socketPath);
      if (port !== undefined) add(["port"], "must be left out beside socketPath", port);
      if (bytes === 0 || bytes > MAX_SOCKET_BYTES || socketPath.includes("\0")) {
        add(["socketPath"], `must have 1 to ${MAX_SOCKET_BYTES} bytes`, socketPath);
      }
    }
    if (host === "") add(["host"], "must not be empty: leave it out for this machine alone", host);
    if (typeof token === "string") {
      const rule = tokenRule(token);
      if (rule !== undefined) add(["token"], rule, token);
    } else if (token !== undefined && !isFile(token)) {
      add(["token"], "must be a text, or { file } with the path of a file", token);
    }
    if (metrics !== undefined && metrics !== "token" && metrics !== "open") {
      add(["metrics"], 'must be "token" or "open"', metrics);
    }
    for (const [i, name] of hosts.entries()) {
      if (typeof name === "string" && (HOST_NAME.test(name) || isIP(name) !== 0)) continue;
      add(["hosts", i], "must be a name in lower case or an address, without port", name);
    }
  }
  if (mistakes.length > 0) throw new ConfigError(mistakes);
}

function isFile(token: unknown): boolean {
  if (typeof token !== "object" || token === null) return false;
  const { file } = token as { readonly file?: unknown };
  return Object.keys(token).length === 1 && typeof file === "string" && file !== "";
}
