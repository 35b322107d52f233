/**
 * What stands under `proxy` in a mesh.yaml: the listeners of mesh-proxy. Each of them is a server of that name, so its
 * limits and its posture stand under `servers`, as those of every other server; where requests go to, and how, stands
 * under `services`. Nothing of either is repeated here.
 */
import type { ConfigSection, KindField, SectionContext } from "@inmesh/core/spi/discovery";
import { readAddress, readSocket } from "@inmesh/core/spi/transport";
import { readListenAddress } from "../listen/address.ts";
import type { Detected } from "../listen/accepted.ts";
import { isPseudonym, PSEUDONYM_RULE } from "../pseudonym.ts";

/** One listener. Plain data, which is compared by value when the configuration changes. */
export interface ListenerConfig {
  /** `127.0.0.1:4140`, or `unix:/run/mesh.sock`. */
  readonly listen: string;
  /** The one service that everything goes to; undefined: each request says it. */
  readonly service: string | undefined;
  /** The application behind an inbound listener; undefined: it is an outbound one. */
  readonly app: string | undefined;
  /** `detect`: found out from the first bytes. */
  readonly protocol: Detected | "detect";
  readonly detectTimeoutMs: number;
  readonly acceptProxyProtocol: boolean;
  readonly sendProxyProtocol: "none" | "v1" | "v2";
  /** Infinity: none. */
  readonly idleTimeoutMs: number;
  /** Infinity: any number. */
  readonly maxConnectionsPerAddress: number;
  readonly allowConnect: boolean;
  /** Undefined: it does not add itself to `via`. */
  readonly via: string | undefined;
}

export interface ProxyConfig {
  readonly listeners: Readonly<Record<string, ListenerConfig>>;
  /** From SIGTERM to the end of the process at the latest. */
  readonly drainGraceMs: number;
}

/** Where the server speaks first: MySQL, SMTP and others, as Linkerd has them. */
export const SERVER_FIRST_PORTS: readonly number[] = [
  25, 587, 3306, 4444, 5432, 6379, 9300, 11_211,
];
export const MAX_LISTENERS = 100;

const DEFAULTS = {
  detectTimeoutMs: 1_000,
  idleTimeoutMs: 3_600_000,
  drainGraceMs: 25_000,
} as const;
const PROTOCOLS = ["detect", "http1", "http2", "tls", "tcp"] as const;
const VERSIONS = ["none", "v1", "v2"] as const;
const NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$/;

const FIELDS: readonly KindField[] = [
  {
    path: "listeners",
    type: "object",
    meaning:
      "The listeners by name. The name is that of a server: `servers.<name>` has its limits and its posture.",
  },
  {
    path: "listeners.*.listen",
    type: "text",
    required: true,
    meaning:
      "Where it listens: an address and a port, or `unix:` and a path. Port 0 is a free one.",
  },
  {
    path: "listeners.*.service",
    type: "text",
    meaning:
      "The service that everything on it goes to. Default: the authority of each request, or the name in a TLS ClientHello, says it.",
  },
  {
    path: "listeners.*.app",
    type: "text",
    meaning:
      "The application on this host that it stands in front of, as host:port or `unix:` and a path: the listener is an inbound one. Default: it is an outbound one.",
  },
  {
    path: "listeners.*.protocol",
    type: "choice",
    choices: [...PROTOCOLS],
    meaning:
      "What is spoken on it. `detect` finds it out from the first bytes. Default: `tcp` on a port on which servers usually speak first, else `detect`.",
  },
  {
    path: "listeners.*.detectTimeout",
    type: "duration",
    min: 10,
    max: 60_000,
    meaning:
      "How long a client may be silent before it is taken for one that waits for the server, and how long a header of the PROXY protocol may take. Default: 1s.",
  },
  {
    path: "listeners.*.acceptProxyProtocol",
    type: "boolean",
    meaning:
      "Every connection begins with a header of the PROXY protocol, version 1 or 2; others are refused. Default: false.",
  },
  {
    path: "listeners.*.sendProxyProtocol",
    type: "choice",
    choices: [...VERSIONS],
    meaning:
      "Which header of the PROXY protocol endpoints get first. No effect on HTTP, whose connections are shared by clients. Default: none.",
  },
  {
    path: "listeners.*.idleTimeout",
    type: "duration",
    min: 100,
    max: 86_400_000,
    none: true,
    meaning: "When a TCP connection without a byte in either direction is closed. Default: 1h.",
  },
  {
    path: "listeners.*.maxConnectionsPerAddress",
    type: "integer",
    min: 1,
    max: 1_000_000,
    meaning: "Connections of one client address. Default: no limit beside that of the server.",
  },
  {
    path: "listeners.*.allowConnect",
    type: "boolean",
    meaning: "CONNECT opens a tunnel to a service of the mesh. Default: false.",
  },
  {
    path: "listeners.*.via",
    type: "text",
    meaning:
      "The name by which it adds itself to `via` in requests and replies of HTTP that it passes on. Default: it does not.",
  },
  {
    path: "drainGrace",
    type: "duration",
    min: 0,
    max: 3_600_000,
    meaning:
      "From SIGTERM to the end of the process at the latest: what is open then is cut off. Default: 25s.",
  },
];

export const PROXY_SECTION: ConfigSection<ProxyConfig> = {
  name: "proxy",
  fields: FIELDS,
  read: (written, context) => {
    const all = objectIn(written["listeners"]);
    const names = Object.keys(all);
    if (names.length > MAX_LISTENERS) {
      const rule = `must hold at most ${MAX_LISTENERS} listeners, not ${names.length}`;
      context.mistake(["listeners"], rule);
    }
    const listeners: Record<string, ListenerConfig> = {};
    const places = new Map<string, string>();
    for (const name of names) {
      const read = readListener(name, objectIn(all[name]), context);
      if (read === undefined) continue;
      const other = places.get(read.listen);
      if (other !== undefined && !read.listen.endsWith(":0")) {
        const rule = `must not be the address of the listener ${other} as well`;
        context.mistake(["listeners", name, "listen"], rule, read.listen);
      }
      places.set(read.listen, name);
      listeners[name] = read;
    }
    return { listeners, drainGraceMs: numberIn(written["drainGraceMs"]) ?? DEFAULTS.drainGraceMs };
  },
};

type Written = Readonly<Record<string, unknown>>;

function readListener(
  name: string,
  written: Written,
  context: SectionContext,
): ListenerConfig | undefined {
  const at = ["listeners", name];
  const mistake = (key: string, rule: string, value: unknown): void =>
    context.mistake([...at, key], rule, value);
  if (!NAME.test(name)) {
    context.mistake(
      at,
      "must have a name of letters, digits, -, _ and . that begins and ends with a letter or digit",
    );
  }
  const { listen, service, app } = written;
  const address = typeof listen === "string" ? readListenAddress(listen) : undefined;
  if (typeof address === "string") mistake("listen", address, listen);
  if (typeof service === "string" && typeof app === "string") {
    mistake("service", "must not be written together with app", service);
  }
  if (typeof service === "string" && !context.services.has(service)) {
    mistake(
      "service",
      `must be a service of this configuration${known(context.services)}`,
      service,
    );
  }
  if (typeof app === "string") {
    const wrong = app.startsWith("unix:") ? readSocket(app) : readAddress(app);
    if (typeof wrong === "string") mistake("app", wrong, app);
  }
  const protocol = PROTOCOLS.find((one) => one === written["protocol"]);
  const isNameless = service === undefined && app === undefined;
  if (isNameless && protocol === "tcp") {
    mistake(
      "protocol",
      "must not be tcp without service or app: bytes do not say where they go to",
      protocol,
    );
  }
  if (written["allowConnect"] === true && app !== undefined) {
    mistake("allowConnect", "has no effect on an inbound listener", true);
  }
  if (written["allowConnect"] === true && protocol !== undefined && protocol !== "detect") {
    mistake("allowConnect", "needs protocol: detect", true);
  }
  const { via } = written;
  if (typeof via === "string" && !isPseudonym(via)) mistake("via", PSEUDONYM_RULE, via);
  if (address === undefined || typeof address === "string") return undefined;
  const isServerFirst = address.path === undefined && SERVER_FIRST_PORTS.includes(address.port);
  const usual = isServerFirst && !isNameless ? "tcp" : "detect";
  return {
    listen: String(listen),
    service: textIn(service),
    app: textIn(app),
    protocol: protocol ?? usual,
    detectTimeoutMs: numberIn(written["detectTimeoutMs"]) ?? DEFAULTS.detectTimeoutMs,
    acceptProxyProtocol: written["acceptProxyProtocol"] === true,
    sendProxyProtocol: VERSIONS.find((one) => one === written["sendProxyProtocol"]) ?? "none",
    idleTimeoutMs: numberIn(written["idleTimeoutMs"]) ?? DEFAULTS.idleTimeoutMs,
    maxConnectionsPerAddress: numberIn(written["maxConnectionsPerAddress"]) ?? Infinity,
    allowConnect: written["allowConnect"] === true,
    via: textIn(via),
  };
}

function known(services: ReadonlySet<string>): string {
  if (services.size === 0) return ", which describes none";
  const names = [...services].slice(0, 10).join(", ");
  return `: ${names}${services.size > 10 ? ", …" : ""}`;
}

function objectIn(value: unknown): Written {
  return typeof value === "object" && value !== null ? (value as Written) : {};
}

function textIn(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function numberIn(value: unknown): number | undefined {
  return typeof value === "number" && !Number.isNaN(value) ? value : undefined;
}
