/**
 * Everything that inmesh reads of Node's HTTP modules beyond their documented interface. Each member is
 * where Node 22 to 26 keep it and may be missing in another version: it is probed when a server is made,
 * or at its first use, and without it the public way beside it is taken. What is lost then stands in
 * `snapshot().degraded` of the server and of the mesh, and in the log once.
 */
import type {
  Agent,
  AgentOptions,
  ClientRequest,
  IncomingMessage,
  ServerResponse,
} from "node:http";
import type { Socket } from "node:net";
import { Degraded, type PrivateMember } from "@inmesh/core/spi";

/** Not an `import`, see server/listeners.ts. */
const NODE_HTTP: typeof import("node:http") = process.getBuiltinModule("node:http");

type MemberKey = "fields" | "idleHint" | "length" | "dump" | "streamTimeout" | "agentOptions";

/** All of them: what each is for, and what takes its place where it is missing. Their probes are below. */
export const MEMBERS: Readonly<Record<MemberKey, PrivateMember>> = {
  fields: {
    name: "node:http IncomingMessage._addHeaderLines",
    makes: "faster",
    instead: "the fields are defined on the request, each time they are asked for",
    loss: "a request with fields that are kept from its handler costs a tenth more",
  },
  idleHint: {
    name: "node:http ServerResponse._keepAliveTimeout",
    makes: "faster",
    instead: "`writeHead` sets the header",
    loss: "each reply sets its Keep-Alive header itself, and refusals do not say how long an idle connection is kept",
  },
  length: {
    name: "node:http OutgoingMessage._send, _contentLength, _hasBody or chunkedEncoding",
    makes: "stricter",
    instead: "`strictContentLength`, in a `write` and `end` of the reply's own",
    loss: "the lengths of replies are watched in their `write` and `end`, which hides those of a prototype that an application sets later",
  },
  dump: {
    name: "node:http IncomingMessage._dump or _readableState",
    makes: "faster",
    instead: "Node's own end of such a request",
    loss: "a request without a body costs a tenth more",
  },
  streamTimeout: {
    name: "node:http2 Http2Stream.timeout",
    makes: "stricter",
    instead: "the server's own limit",
    loss: "a timeout that a handler sets on its request over HTTP/2 is replaced by the server's own limit once the request has taken some seconds",
  },
  agentOptions: {
    name: "node:http Agent.options",
    makes: "more is known",
    instead: "the environment, as Node reads it when it starts",
    loss: "requests of mesh.agent() to other origins are written for the proxy of the environment, whatever the application has made of the global agent",
  },
};

// ── servers ────────────────────────────────────────────────────────────────────────────────────

/** Node's own way to set the raw fields, and how many there are. */
interface Fields {
  headers: unknown;
  headersDistinct: unknown;
  _addHeaderLines(lines: string[], count: number): void;
}

/** Every byte of a body passes through `_send`. */
interface Sending {
  readonly _contentLength: number | null;
  readonly _hasBody: boolean;
  /** The head says `Transfer-Encoding: chunked`. */
  readonly chunkedEncoding: boolean;
  _send: Send;
}
export type Send = (
  data: string | Uint8Array,
  encoding: BufferEncoding,
  ...rest: readonly never[]
) => boolean;

interface Dumped {
  /** Called once, when the reply is out and the request was not read. */
  _dump(this: IncomingMessage): void;
  /** What a stream is when it has ended and closed. */
  readonly _readableState: Record<(typeof AT_ITS_END)[number], boolean>;
}
const AT_ITS_END = ["ended", "endEmitted", "destroyed", "closed", "closeEmitted"] as const;

interface Hinting {
  /** What `Keep-Alive: timeout=` says, in milliseconds. */
  _keepAliveTimeout: number;
}

const { prototype: requests } = NODE_HTTP.IncomingMessage as unknown as { prototype: Dumped };
const { prototype: replies } = NODE_HTTP.OutgoingMessage as unknown as { prototype: Sending };

/** Which members one server may use. */
export class ServerMembers {
  readonly degraded: Degraded = new Degraded();
  /** `setFields` works. */
  readonly setsFields: boolean;
  /** `hintIdle` works. */
  readonly hintsIdle: boolean;
  /** `replaceSend` works, and `lengthOf`. */
  readonly seesSends: boolean;
  /** `replaceDump` works. */
  readonly seesDump: boolean;
  #seesTimeouts = true;

  constructor() {
    const request = attempt(() => new NODE_HTTP.IncomingMessage(undefined as never));
    const reply = attempt(() => new NODE_HTTP.ServerResponse(request as IncomingMessage));
    const { degraded } = this;
    this.seesDump = degraded.allows(MEMBERS.dump, isDumped((request ?? {}) as Partial<Dumped>));
    this.hintsIdle = degraded.allows(
      MEMBERS.idleHint,
      isHinting((reply ?? {}) as Partial<Hinting>),
    );
    this.seesSends = degraded.allows(MEMBERS.length, isSending(reply ?? {}));
    this.setsFields = degraded.allows(MEMBERS.fields, hasFields(request ?? {}));
  }

  /** The timeout in force on a stream of HTTP/2; 0: none, or unknown. */
  streamTimeoutMs(stream: object): number {
    return this.#seesTimeouts ? ((stream as Timed).timeout ?? 0) : 0;
  }

  /** A timeout has been set on this stream, so that it can be looked up. */
  timed(stream: object): void {
    const isThere = typeof (stream as Timed).timeout === "number";
    this.#seesTimeouts = this.degraded.allows(MEMBERS.streamTimeout, isThere);
  }
}

interface Timed {
  readonly timeout?: number;
}

/** `raw`, of which `count` entries are left, are the fields of a request over HTTP/1 from now on. */
export function setFields(request: IncomingMessage, raw: string[], count: number): void {
  // Both are built from the raw fields when asked for, as many as Node remembers. Node itself has
  // asked for Host: what it built is dropped, or the fields would be added to it once more.
  const fields = request as unknown as Fields;
  if (count > 0 && !request.complete) {
    fields.headers = fields.headersDistinct = undefined;
    fields._addHeaderLines(raw, count);
    return;
  }
  // Given none, Node goes by the count that it had, and reads beyond their end; given those of a whole
  // request, it takes them for trailers. What another message makes of them is right in both cases.
  const other = new NODE_HTTP.IncomingMessage(undefined as never);
  if (count > 0) (other as unknown as Fields)._addHeaderLines(raw, count);
  fields.headers = other.headers;
  fields.headersDistinct = other.headersDistinct;
}

export function hintIdle(response: ServerResponse, ms: number): void {
  (response as unknown as Hinting)._keepAliveTimeout = ms;
}

/** Every byte of the reply's body goes through `send` then, which calls `nodeSend`. */
export function replaceSend(response: ServerResponse, send: Send): void {
  (response as unknown as Sending)._send = send;
}

export function nodeSend(
  response: ServerResponse,
  data: string | Uint8Array,
  encoding: BufferEncoding,
  callback: never,
  bytes: never,
): boolean {
  return replies._send.call(response, data, encoding, callback, bytes);
}

/** The Content-Length by which the client reads the body; null if there is none, or no body. */
export function lengthOf(response: ServerResponse): number | null {
  const { _hasBody, _contentLength } = response as unknown as Sending;
  return _hasBody ? _contentLength : null;
}

/** The head says `Transfer-Encoding: chunked`. */
export function isChunked(response: ServerResponse): boolean {
  return (response as unknown as Sending).chunkedEncoding;
}

/** `dump` is called instead of Node's own when the reply is out and the request was not read. */
export function replaceDump(request: IncomingMessage, dump: (this: IncomingMessage) => void): void {
  (request as unknown as { _dump: unknown })._dump = dump;
}

export function nodeDump(request: IncomingMessage): void {
  requests._dump.call(request);
}

/** What asks later finds a request that has ended and closed. */
export function markEnded(request: IncomingMessage): void {
  const { _readableState: state } = request as unknown as Dumped;
  state.ended = state.endEmitted = true;
  state.destroyed = state.closed = state.closeEmitted = true;
}

// ── their probes ───────────────────────────────────────────────────────────────────────────────

function attempt<T>(make: () => T): T | undefined {
  try {
    return make();
  } catch {
    return undefined;
  }
}

/** Its fields can be set twice, and the second time counts: forged identity headers depend on it. */
function hasFields(request: Partial<Fields>): boolean {
  if (typeof request._addHeaderLines !== "function") return false;
  const left = attempt(() => {
    request._addHeaderLines!(["a", "1", "b", "2"], 4);
    const before = Object.keys(request.headers as object).length;
    setFields(request as IncomingMessage & Fields, ["a", "1"], 2);
    const { headers, headersDistinct } = request as Record<string, object>;
    return [before, Object.keys(headers!), Object.keys(headersDistinct!)];
  });
  return JSON.stringify(left) === '[2,["a"],["a"]]';
}

function isHinting(response: Partial<Hinting>): boolean {
  return typeof response._keepAliveTimeout === "number";
}

function isSending(response: Partial<Sending>): boolean {
  return (
    response._contentLength === null &&
    typeof response._hasBody === "boolean" &&
    typeof response.chunkedEncoding === "boolean" &&
    typeof response._send === "function"
  );
}

function isDumped(request: Partial<Dumped>): boolean {
  const { _dump, _readableState: state } = request;
  return typeof _dump === "function" && AT_ITS_END.every((name) => state?.[name] === false);
}

// ── clients: mesh.agent() ──────────────────────────────────────────────────────────────────────

/** Of the client half, in the whole process. */
const client = new Degraded();

/** What node:http asks of an agent, and an agent of a request: not documented, but the way of every agent on npm. */
export type AgentsRequest = ClientRequest & {
  onSocket(socket: Socket | null, error?: Error): void;
};

/**
 * Throws an Error if this version of Node does not give its requests to agents: they would pass by the
 * mesh, or wait for ever.
 */
export function expectAgents(): void {
  const { Agent: agents, ClientRequest: made } = NODE_HTTP as unknown as Record<
    string,
    { readonly prototype: Record<string, unknown> }
  >;
  const { addRequest } = agents!.prototype;
  const { onSocket } = made!.prototype;
  if (typeof addRequest === "function" && typeof onSocket === "function") return;
  throw new Error(
    `mesh.agent(): Node ${process.version} has no Agent.addRequest or ClientRequest.onSocket, by which its requests find their connections; use mesh.fetch or mesh.dispatcher`,
  );
}

/** As `proxyEnv` of an agent, which older declarations of Node do not know. */
type ProxyEnv = NodeJS.Dict<string> | undefined;

/** The proxy of an agent, which its requests are written for. Only versions of Node that know it read it. */
export function proxyEnvOf(agent: Agent): ProxyEnv {
  const { options } = agent as Agent & { readonly options?: AgentOptions };
  const isThere = typeof options === "object" && options !== null;
  if (client.allows(MEMBERS.agentOptions, isThere)) return options!.proxyEnv;
  return (envProxy ??= [readEnvProxy()])[0];
}

/** In a list, because it may be undefined. Node reads the environment once, too. */
let envProxy: [ProxyEnv] | undefined;
const PROXY_VARIABLES = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];

/** What Node gives its global agents as it starts. */
function readEnvProxy(): ProxyEnv {
  const { env, execArgv } = process;
  const flags = [...execArgv, ...(env["NODE_OPTIONS"] ?? "").split(/\s+/)];
  if (env["NODE_USE_ENV_PROXY"] !== "1" && !flags.includes("--use-env-proxy")) return undefined;
  const read: Record<string, string> = {};
  for (const name of PROXY_VARIABLES.flatMap((one) => [one, one.toLowerCase()])) {
    if (env[name] !== undefined) read[name] = env[name];
  }
  return read;
}
