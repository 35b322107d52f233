/**
 * The API of one process over HTTP: a server of node:http for programs on this machine, with limits of its own. It is
 * no MeshServer, so that it answers when those refuse, drain or are too busy, and is counted with none of them.
 */
import { chmodSync } from "node:fs";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { resolve as absolute } from "node:path";
import {
  addressOf,
  linesAbout,
  removeStaleSocket,
  withoutCaller,
  type LimitedLog,
  type Timer,
} from "@inmesh/core/spi";
import { announceApi, Inspection, InspectionError } from "@inmesh/core/spi/inspect";
import type { Failure, FailureCode } from "@inmesh/core/inspect";
import { USER_AGENT_TEXT } from "../headers.ts";
import { NODE_HTTP } from "../server/listeners.ts";
import { AdminError } from "./admin-error.ts";
import { sendEvents } from "./events.ts";
import { Guard, isLoopback } from "./guard.ts";
import { readObject } from "./body.ts";
import { answerBytes, safeJson } from "./json.ts";
import { checkOptions, type AdminOptions } from "./options.ts";
import {
  API,
  checkParameters,
  notFound,
  RESOURCES,
  selectionOf,
  type Method,
} from "./resources.ts";
import { openTap } from "./tap.ts";
import { Token } from "./token.ts";
import { viewOf, type AdminView } from "./view.ts";

export { Inspection, viewOf };
export const VERSION: string = USER_AGENT_TEXT.slice("inmesh/".length);

const MAX_HEAD_BYTES = 16_384;
/**
 * A further one takes the place of the one that has asked nothing for the longest time: programs that connect and say
 * nothing, or say it slowly, must not keep an orchestrator from `/livez`, which would then end the process.
 */
const MAX_CONNECTIONS = 64;
/** Answers that are being made, or whose reader has not taken them yet. */
const MAX_ANSWERS = 16;
const HEADERS_MS = 5_000;
const REQUEST_MS = 10_000;
const KEEP_ALIVE_MS = 5_000;
/** For an answer to be taken as a whole. */
const ANSWER_MS = 30_000;
const JSON_TYPE = "application/json; charset=utf-8";
const RETRY_AFTER_SECONDS = "1";
const DEFAULT_GRACE_MS = 1_000;

/** HTTP's, of each code of a failure. */
export const STATUS: Readonly<Record<FailureCode, number>> = {
  token_missing: 401,
  token_wrong: 401,
  host_refused: 403,
  origin_refused: 403,
  not_found: 404,
  method_not_allowed: 405,
  bad_request: 400,
  body_too_large: 413,
  not_json: 415,
  unknown_service: 404,
  bad_filter: 400,
  too_many_readers: 503,
  not_available: 503,
  failed: 500,
};

/** What a browser must not do with an answer: keep it, guess its kind, show it inside of another page, or say where it was. */
const HEADERS: Readonly<Record<string, string>> = {
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
};

/** A listener of the API of a process. */
export class AdminListener implements AsyncDisposable {
  /** `http://127.0.0.1:9464`, or `unix:/run/app.sock`. */
  readonly address: string;
  /** 0 of a socket with a path. */
  readonly port: number;
  /** The token that was made because none was given, or none stood in its file. Undefined: the one given counts. */
  readonly token: string | undefined;
  readonly #close: (graceMs: number) => Promise<void>;
  #closing: Promise<void> | undefined = undefined;

  /** Use `mesh.admin.listen`. */
  constructor(
    address: string,
    port: number,
    token: string | undefined,
    close: (graceMs: number) => Promise<void>,
  ) {
    this.address = address;
    this.port = port;
    this.token = token;
    this.#close = close;
  }

  /**
   * No further connections; answers that are being read have `graceMs` (default 1 s), taps end at once. Idempotent:
   * later calls give the same promise. `mesh.close` calls it.
   */
  close(graceMs: number = DEFAULT_GRACE_MS): Promise<void> {
    return (this.#closing ??= this.#close(graceMs));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** `closed`: called when it has closed. Rejects with a ConfigError for options, and an AdminError if it cannot listen. */
export async function openListener(
  view: AdminView,
  options: AdminOptions,
  closed: () => void,
): Promise<AdminListener> {
  checkOptions(options);
  const { socketPath, host = "127.0.0.1", port = 0 } = options;
  const token = await Token.of(options.token, view.runtime);
  const serving = new Serving(view, options, token);
  const { server } = serving;
  const where = socketPath === undefined ? addressOf({ host, port }) : `unix:${socketPath}`;
  if (socketPath !== undefined) await removeStaleSocket(socketPath);
  await listening(server, where, () => {
    if (socketPath === undefined) server.listen({ host, port, exclusive: true });
    else {
      server.listen({ path: socketPath, exclusive: true });
      // Bound by now. What connects before this line has no token yet.
      if (server.listening && process.platform !== "win32") chmodSync(socketPath, 0o600);
    }
  });
  server.unref();
  const bound = server.address() as AddressInfo | string;
  const isPath = typeof bound === "string";
  const address = isPath
    ? `unix:${bound}`
    : `http://${addressOf({ host: bound.address, port: bound.port })}`;
  const beyond = isPath || isLoopback(bound.address) ? "" : ", beyond this machine in plain text";
  view.log({
    level: "info",
    event: "admin.listening",
    message: `admin: the API of this process listens on ${address}${beyond}`,
  });
  const takeBack = await announced(view, bound, options, token);
  return new AdminListener(address, isPath ? 0 : bound.port, token.made, async (graceMs) => {
    takeBack();
    await serving.close(graceMs);
    closed();
  });
}

/** To the commands of this user, where the registry of the machine is on. Gives what takes it back. */
async function announced(
  { announcedIn: dir, runtime, log }: AdminView,
  address: AddressInfo | string,
  { api = true, token: given }: AdminOptions,
  { made }: Token,
): Promise<() => void> {
  if (dir === undefined || !api) return () => {};
  const tokenFile = typeof given === "object" ? absolute(given.file) : undefined;
  const token = tokenFile === undefined ? made : undefined;
  return announceApi({ dir, address, token, tokenFile }, runtime, (why) => {
    const message = `admin: not announced to the commands of this user: ${why}`;
    log({ level: "warn", event: "registry.failed", message });
  });
}

function listening(server: Server, where: string, listen: () => void): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const failed = (error: Error): void => {
    server.close();
    reject(AdminError.of(error, where));
  };
  server.once("error", failed);
  server.once("listening", () => {
    server.off("error", failed);
    // Such as EMFILE as a connection is accepted: the server goes on.
    server.on("error", () => {});
    resolve();
  });
  try {
    // Its sockets outlive the request in which it may have been opened.
    withoutCaller(listen);
  } catch (error) {
    failed(error as Error);
  }
  return promise;
}

class Serving {
  readonly server: Server;
  readonly #view: AdminView;
  readonly #token: Token;
  readonly #guard: Guard;
  readonly #hasApi: boolean;
  readonly #metricsAreOpen: boolean;
  readonly #refusals: LimitedLog;
  readonly #sockets = new Set<Socket>();
  /** Of these: no request of theirs is being answered. Those that have been so for the longest time come first. */
  readonly #silent = new Set<Socket>();
  #answers = 0;
  readonly #ended = Promise.withResolvers<void>();

  constructor(view: AdminView, options: AdminOptions, token: Token) {
    const { host, hosts = [], api = true, metrics = "token", socketPath } = options;
    this.#view = view;
    this.#token = token;
    this.#hasApi = api;
    this.#metricsAreOpen = metrics === "open";
    this.#guard = new Guard(
      host === undefined ? hosts : [host, ...hosts],
      socketPath !== undefined,
    );
    this.#refusals = linesAbout("admin", view.log, view.runtime);
    this.server = NODE_HTTP.createServer(
      {
        maxHeaderSize: MAX_HEAD_BYTES,
        headersTimeout: HEADERS_MS,
        requestTimeout: REQUEST_MS,
        keepAliveTimeout: KEEP_ALIVE_MS,
        connectionsCheckingInterval: 1_000,
        noDelay: true,
      },
      (request, response) => void this.#serve(request, response),
    );
    this.server.on("connection", (socket: Socket) => this.#connected(socket));
  }

  #connected(socket: Socket): void {
    // It must not keep the process alive, while a reader stays connected.
    socket.unref();
    if (this.#sockets.size >= MAX_CONNECTIONS) {
      const [longest = socket] = this.#silent;
      this.#forget(longest);
      longest.destroy();
      if (longest === socket) return;
    }
    this.#sockets.add(socket);
    this.#silent.add(socket);
    socket.once("close", () => this.#forget(socket));
  }

  #forget(socket: Socket): void {
    this.#sockets.delete(socket);
    this.#silent.delete(socket);
  }

  async close(graceMs: number): Promise<void> {
    const { runtime } = this.#view;
    this.#ended.resolve();
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    this.server.closeIdleConnections();
    const timer = runtime.after(
      Math.max(0, graceMs),
      () => {
        for (const socket of this.#sockets) socket.destroy();
      },
      undefined,
      true,
    );
    await closed;
    timer.cancel();
    this.#refusals.close();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on("error", ignore);
    request.on("error", ignore);
    for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
    const timer: Timer = this.#view.runtime.after(
      ANSWER_MS,
      () => request.socket.destroy(),
      undefined,
    );
    const { socket } = request;
    this.#silent.delete(socket);
    response.once("close", () => {
      timer.cancel();
      if (this.#sockets.has(socket)) this.#silent.add(socket);
      if (!this.server.listening) socket.destroySoon();
    });
    try {
      await this.#answer(request, response, timer);
    } catch (error) {
      this.#fail(request, response, error);
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse, timer: Timer): Promise<void> {
    const { method = "", url = "" } = request;
    const mark = url.indexOf("?");
    const path = mark < 0 ? url : url.slice(0, mark);
    const reads = method === "GET" || method === "HEAD";
    // Orchestrators ask by addresses of theirs, and learn one word.
    if (reads && path === "/livez") return this.#health(response, "ok");
    if (reads && path === "/readyz") {
      const { reasons } = await this.#view.ready();
      return this.#health(response, reasons[0]?.reason ?? "ok");
    }
    this.#guard.check(request, !reads);
    if (!(path === "/metrics" && this.#metricsAreOpen)) await this.#authorize(request);
    if (path === "/livez" || path === "/readyz") throw notAllowed(response, method, ["GET"]);
    if (this.#answers >= MAX_ANSWERS) throw tooMany(response, `${MAX_ANSWERS} answers`);
    this.#answers++;
    response.once("close", () => this.#answers--);
    const parameters = new URLSearchParams(mark < 0 ? "" : url.slice(mark + 1));
    if (path === "/metrics") {
      if (!reads) throw notAllowed(response, method, ["GET"]);
      return this.#metrics(request, response);
    }
    if (!this.#hasApi || !path.startsWith(API)) {
      const known = ["/metrics", "/livez", "/readyz", ...(this.#hasApi ? [`${API}about`] : [])];
      const hint = `there are ${known.join(", ")}`;
      throw new InspectionError("not_found", `${safeJson(path.slice(0, 64))} is not known`, hint);
    }
    const name = path.slice(API.length);
    if (name === "tap") {
      if (method !== "GET") throw notAllowed(response, method, ["GET"]);
      return this.#tap(request, response, parameters, timer);
    }
    const resource = Object.hasOwn(RESOURCES, name) ? RESOURCES[name] : undefined;
    if (resource === undefined) throw notFound(name, [...Object.keys(RESOURCES), "tap"]);
    const asked = (method === "HEAD" ? "GET" : method) as Method;
    const way = resource.methods[asked];
    if (way === undefined) throw notAllowed(response, method, Object.keys(resource.methods));
    checkParameters(parameters, resource.parameters);
    const answer = await this.#view.answer({
      resource: name,
      method: asked,
      ...selectionOf(parameters),
      body: way.body === undefined ? undefined : await readObject(request, way.body),
      about: {
        version: VERSION,
        resources: [...Object.keys(RESOURCES), "tap"].map((one) => API + one),
        may: ["read", "tap", "log-level"],
      },
      by: peerOf(request),
    });
    const buffers = await answerBytes(answer, this.#view.runtime);
    send(request, response, 200, JSON_TYPE, buffers);
  }

  #health(response: ServerResponse, state: string): void {
    const status = state === "ok" ? 200 : 503;
    send(response.req, response, status, "text/plain; charset=utf-8", `${state}\n`);
  }

  async #metrics(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { contentType, body } = await this.#view.metrics(request.headers.accept);
    send(request, response, 200, contentType, body);
  }

  async #tap(
    request: IncomingMessage,
    response: ServerResponse,
    parameters: URLSearchParams,
    timer: Timer,
  ): Promise<void> {
    const tap = await openTap((options) => this.#view.tap(options), parameters);
    timer.cancel();
    if (response.destroyed) return void (await tap.return());
    // It is no answer that ends, and the mesh bounds taps itself.
    this.#answers--;
    try {
      request.resume();
      await sendEvents(response, tap, this.#view.runtime, this.#ended.promise);
    } finally {
      this.#answers++;
    }
  }

  async #authorize(request: IncomingMessage): Promise<void> {
    const { authorization } = request.headers;
    const given = /^Bearer +([\u0021-\u007e]+) *$/i.exec(authorization ?? "")?.[1];
    if (given !== undefined && (await this.#token.accepts(given))) return;
    const isMissing = authorization === undefined;
    this.#refusals.write(
      "admin.refused",
      () =>
        `a request without ${isMissing ? "a" : "the right"} token was refused, from ${peerOf(request)}`,
    );
    throw new InspectionError(
      isMissing ? "token_missing" : "token_wrong",
      isMissing ? "the request has no token" : "the token is not the one of this listener",
      "send Authorization: Bearer <token>, with the token that mesh.admin.listen was given or gave back",
    );
  }

  #fail(request: IncomingMessage, response: ServerResponse, error: unknown): void {
    if (response.headersSent || response.destroyed) {
      request.socket.destroy();
      return;
    }
    const known = error instanceof InspectionError ? error : undefined;
    const code = known?.code ?? "failed";
    const body: Failure = {
      apiVersion: "inmesh.dev/v1",
      kind: "Error",
      code,
      message: known?.message ?? `the answer could not be made: ${(error as Error)?.message}`,
      hint: known?.hint ?? "this is a defect of inmesh: please report it",
    };
    if (STATUS[code] === 401) response.setHeader("www-authenticate", 'Bearer realm="inmesh"');
    // A body that was not read would be taken for the next request.
    if (!request.complete) response.setHeader("connection", "close");
    send(request, response, STATUS[code], JSON_TYPE, `${safeJson(body)}\n`);
  }
}

function send(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  type: string,
  body: string | readonly Buffer[],
): void {
  const buffers = typeof body === "string" ? [Buffer.from(body)] : body;
  response.statusCode = status;
  response.setHeader("content-type", type);
  response.setHeader(
    "content-length",
    buffers.reduce((sum, buffer) => sum + buffer.length, 0),
  );
  if (request.method !== "HEAD") for (const buffer of buffers) response.write(buffer);
  response.end();
}

function notAllowed(
  response: ServerResponse,
  method: string,
  allowed: readonly string[],
): InspectionError {
  const all = allowed.includes("GET") ? ["HEAD", ...allowed] : allowed;
  response.setHeader("allow", all.join(", "));
  return new InspectionError(
    "method_not_allowed",
    `${JSON.stringify(method.slice(0, 32))} is not what this path is asked by`,
    `ask with ${all.join(", ")}`,
  );
}

function tooMany(response: ServerResponse, what: string): InspectionError {
  response.setHeader("retry-after", RETRY_AFTER_SECONDS);
  return new InspectionError(
    "too_many_readers",
    `${what} are being read already`,
    "wait for one of them to end",
  );
}

function peerOf({ socket }: IncomingMessage): string {
  const { remoteAddress: host, remotePort: port = 0 } = socket;
  return host === undefined ? "a process on this machine" : addressOf({ host, port });
}

function ignore(): void {}
