/**
 * What a caller of `meshClient` wrote, looked at before anything is made of it: one mistake, one sentence
 * that names it. A call that is right pays one pass over the names of its two or three options, some 20 ns;
 * what costs more is done for a call that is wrong.
 */
import { MeshError, TOKEN, unknownKeyRule, type ErrorReason } from "@inmesh/core/spi";
import { HOST, HOST_RULE } from "../headers.ts";
import type { FetchInit, RequestInit } from "./call-options.ts";

/** Every option of a call; the compiler refuses a table that lacks one. */
const OPTIONS: Readonly<Record<keyof RequestInit, true>> = {
  method: true,
  headers: true,
  body: true,
  signal: true,
  timeoutMs: true,
  idempotent: true,
  path: true,
  json: true,
  query: true,
  throwOnError: true,
};

/** What others call it, or where it is said. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  url: 'did you mean "path"?',
  uri: 'did you mean "path"?',
  timeout: 'did you mean "timeoutMs"?',
  data: 'did you mean "json", or "body"?',
  params: 'did you mean "query"?',
  qs: 'did you mean "query"?',
  searchParams: 'did you mean "query"?',
  redirect: "a client follows redirects where it says so: meshClient(name, { redirects: 3 })",
  hooks: "hooks belong to the client: meshClient(name, { hooks })",
  baseURL: "the client has been given it: meshClient(nameOrUrl)",
  retries: "retries are a policy of the service: meshClient(name, { retry: { attempts } })",
  retry: "retries are a policy of the service: meshClient(name, { retry: { attempts } })",
  dispatcher: "the mesh sends the call itself; mesh.fetch takes a dispatcher",
  agent: "the mesh sends the call itself; node:http takes mesh.agent()",
};

/** What HTTP does not allow in a target (RFC 9112 §3.2, RFC 3986 §3), and in a value. */
const NOT_IN_TARGET = /[^\x21-\xff]/;
const NOT_IN_PATH = /[^\x21-\x7e]|#/;
const NOT_IN_VALUE = /[^\t\x20-\x7e\x80-\xff]/;

/** One mistake of a caller. */
export function badInput(service: string, reason: ErrorReason, what: string): MeshError {
  return new MeshError({
    code: "bad_request",
    reason,
    message: service === "" ? what : `${service}: ${what}`,
    progress: "not-sent",
  });
}

/** Throws a MeshError (`bad_request`) for options that are unknown, or cannot mean anything. */
export function checkInit(service: string, init: FetchInit): void {
  if (typeof init !== "object" || init === null) {
    throw badInput(service, "bad_option", `the options must be an object, got ${shown(init)}`);
  }
  for (const name in init) {
    switch (name) {
      case "method":
      case "headers":
      case "path":
      // Looked at where they are used.
      case "json":
      case "query":
        break;
      case "throwOnError":
      case "idempotent": {
        const flag: unknown = init[name];
        if (flag === undefined || typeof flag === "boolean") break;
        const what = `${name} must be true or false, got ${shown(flag)}`;
        throw badInput(service, "bad_option", what);
      }
      case "body":
        if (typeof init.body === "object" || init.body === undefined) break;
        if (typeof init.body !== "string") throw badBody(service, init.body);
        break;
      case "timeoutMs": {
        const { timeoutMs } = init;
        if (timeoutMs === undefined || (typeof timeoutMs === "number" && timeoutMs >= 0)) break;
        const what = `timeoutMs must be a number of milliseconds from 0 up, got ${shown(timeoutMs)}`;
        throw badInput(service, "bad_option", what);
      }
      case "signal":
        checkSignal(service, init.signal);
        break;
      // fetch asks for it where the body is a stream; here it means nothing.
      case "duplex":
        break;
      default:
        checkUnknown(service, init, name);
    }
  }
}

function checkSignal(service: string, signal: unknown): void {
  if (signal === undefined || signal === null) return;
  if (typeof signal === "object" && "aborted" in signal) return;
  const isController = typeof signal === "object" && "signal" in signal;
  const what = isController
    ? "signal must be an AbortSignal, got its controller: write controller.signal"
    : `signal must be an AbortSignal, got ${shown(signal)}`;
  throw badInput(service, "bad_option", what);
}

/** Whatever stands on the prototype of all objects, and what is left out by `undefined`, is no option. */
function checkUnknown(service: string, init: object, name: string): void {
  if (!Object.hasOwn(init, name) || (init as Record<string, unknown>)[name] === undefined) return;
  const hint = Object.hasOwn(ELSEWHERE, name) ? ELSEWHERE[name] : undefined;
  const rule =
    hint === undefined ? unknownKeyRule(name, Object.keys(OPTIONS)) : `is not known; ${hint}`;
  throw badInput(service, "bad_option", `the option ${quoted(name)} ${rule}`);
}

/**
 * The six that fetch writes in upper case (Fetch §2.2.1). Others are sent as they are, because methods
 * differ by case; `patch` and `Patch` are refused, because every server takes them for another method than
 * PATCH.
 */
export function methodOf(service: string, method: string): string {
  switch (method) {
    case "GET":
    case "POST":
    case "PUT":
    case "DELETE":
    case "PATCH":
    case "HEAD":
    case "OPTIONS":
      return method;
  }
  if (typeof method !== "string") {
    throw badInput(service, "bad_target", `the method must be a text, got ${shown(method)}`);
  }
  const upper = method.toUpperCase();
  switch (upper) {
    case "GET":
    case "POST":
    case "PUT":
    case "DELETE":
    case "HEAD":
    case "OPTIONS":
      return upper;
    case "PATCH":
      throw badInput(service, "bad_target", `the method ${method}: PATCH is written in upper case`);
  }
  if (!TOKEN.test(method)) {
    const what = `the method must be one word such as POST, got ${quoted(method)}`;
    throw badInput(service, "bad_target", what);
  }
  return method;
}

/** Shows enough to see a URL or a forgotten slash, and too little for the secrets in either. */
export function badPath(service: string, path: unknown): MeshError {
  const rule = 'the path must start with "/"';
  if (typeof path === "string") {
    const start = quoted(path.length > 8 ? `${path.slice(0, 8)}…` : path);
    const hint = /^https?:\/\//i.test(path)
      ? ": give the path alone, the client knows where its service is"
      : "";
    return badInput(service, "bad_target", `${rule}, got ${start}${hint}`);
  }
  if (path instanceof URL) {
    const what = `${rule}, got a URL: give url.pathname + url.search`;
    return badInput(service, "bad_target", what);
  }
  const isInit = typeof path === "object" && path !== null && "path" in path;
  const hint = isInit ? ": request() takes the path among its options" : "";
  return badInput(service, "bad_target", `${rule}, got ${shown(path)}${hint}`);
}

/**
 * What servers refuse with a bare 400, or understand each in its own way, is refused here, where its
 * name can be said. `path` begins with "/".
 */
export function checkPath(service: string, path: string): void {
  const found = NOT_IN_PATH.exec(path);
  if (found === null) return;
  const what =
    found[0] === "#"
      ? `the path holds a "#" at position ${found.index}: a fragment is not sent; leave it out, or write a value with encodeURIComponent`
      : `the path holds ${character(found)}, which must be written by encodeURIComponent`;
  throw badInput(service, "bad_target", what);
}

/** `request()` takes one object. */
export function badRequest(service: string, init: unknown): MeshError {
  const what = `request() takes an object with the path in it, got ${shown(init)}; fetch() takes a path`;
  return badInput(service, "bad_option", what);
}

/** A value of a header as text; undefined: it is left out. Throws a MeshError that names the header. */
export function headerText(name: string, value: unknown): string | undefined {
  switch (typeof value) {
    case "string":
      return value;
    case "boolean":
    case "bigint":
      return String(value);
    case "number":
      // NaN and Infinity come from a calculation that went wrong.
      if (Number.isFinite(value)) return String(value);
      break;
    case "undefined":
      return undefined;
  }
  const hint = value === null ? "; leave it out, or give undefined" : "";
  const what = `the header ${TOKEN.test(name) ? quoted(name) : beginning(name)} must be a text, a number or true or false, got ${shown(value)}${hint}`;
  throw badInput("", "bad_header", what);
}

/** Of headers that are no list of pairs and no object. */
export function badHeaders(headers: unknown): MeshError {
  const what = `headers must be an object, or a list of pairs [name, value], got ${shown(headers)}`;
  return badInput("", "bad_header", what);
}

export function badHost(): MeshError {
  return badInput("", "bad_header", `${HOST}: ${HOST_RULE}`);
}

/** A body that is of no kind that can be sent. */
export function badBody(service: string, body: unknown): MeshError {
  const what = `the body must be a text, bytes, a form, a stream or chunks of bytes, got ${shown(body)}: JSON.stringify it, or use json:`;
  return badInput(service, "bad_body", what);
}

/** True for objects that could only be meant as JSON. Others are read when they are sent. */
export function isJsonLike(body: object): boolean {
  if (Array.isArray(body)) {
    const [first] = body as unknown[];
    return body.length > 0 && typeof first !== "string" && !ArrayBuffer.isView(first);
  }
  return !(
    ArrayBuffer.isView(body) ||
    body instanceof ArrayBuffer ||
    body instanceof SharedArrayBuffer ||
    Symbol.iterator in body ||
    Symbol.asyncIterator in body ||
    body instanceof Blob ||
    // A stream, of whichever library.
    typeof (body as { pipe?: unknown }).pipe === "function" ||
    Object.prototype.toString.call(body) === "[object FormData]"
  );
}

export interface HeadFault {
  readonly reason: "bad_target" | "bad_header";
  readonly what: string;
}

/** What of a head cannot be sent; undefined: the fault is elsewhere. Values are not shown: they may be secret. */
export function faultOfHead(head: {
  readonly method: unknown;
  readonly path: unknown;
  readonly headers: readonly string[];
}): HeadFault | undefined {
  const { method, path, headers } = head;
  if (typeof method !== "string" || !TOKEN.test(method)) {
    return { reason: "bad_target", what: "the method must be one word such as POST" };
  }
  const inPath = typeof path === "string" ? NOT_IN_TARGET.exec(path) : null;
  if (inPath !== null) {
    const what = `the path holds ${character(inPath)}, which must be written by encodeURIComponent`;
    return { reason: "bad_target", what };
  }
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!;
    const value = headers[i + 1]!;
    if (!TOKEN.test(name)) {
      const what = `a header's name that begins with ${beginning(name)} holds what no name may`;
      return { reason: "bad_header", what };
    }
    const inValue = NOT_IN_VALUE.exec(value);
    if (inValue === null) continue;
    const what = `the header ${quoted(name)} holds ${character(inValue)}, which no value may`;
    return { reason: "bad_header", what };
  }
  return undefined;
}

function character({ 0: text, index }: RegExpExecArray): string {
  const code = text.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0");
  return `the character U+${code} at position ${index}`;
}

function quoted(text: string): string {
  return JSON.stringify(text.length > 64 ? `${text.slice(0, 64)}…` : text);
}

/** Enough to recognise it: what was pasted as a name may be a secret. */
function beginning(text: string): string {
  return quoted(text.length > 8 ? `${text.slice(0, 8).replace(/\W.*/s, "")}…` : text);
}

/** What it is, with its value only where that can be no secret. */
export function shown(value: unknown): string {
  switch (typeof value) {
    case "undefined":
    case "boolean":
    case "number":
      return String(value);
    case "string":
      return `the text ${beginning(value)}`;
    case "object": {
      if (value === null) return "null";
      if (Array.isArray(value)) return "a list";
      const name = (value as { constructor?: { name?: unknown } }).constructor?.name;
      return typeof name === "string" && name !== "Object" && name !== ""
        ? `an object of class ${name.slice(0, 64)}`
        : "an object";
    }
    case "function":
      return "a function";
  }
  return `a ${typeof value}`;
}
