/**
 * What a dispatcher is asked for, as a request of the pipeline. undici checks names and values of
 * headers itself when the request is sent; here is only what it cannot know, or would read too late.
 */
import type { ServiceConfig } from "@inmesh/core/spi";
import type { Dispatcher } from "undici";
import type { RequestBody } from "../client/body.ts";
import { HttpRequest } from "../client/request.ts";
import { errors, util } from "../client/undici.ts";
import { CONTENT_LENGTH, HOST, HOST_RULE, isPairs, NAMESPACE } from "../headers.ts";

export class DispatchedRequest extends HttpRequest {
  /** `connection: close` after this one, as undici's option of that name. */
  readonly reset: boolean | undefined;
  /** The protocol that the connection shall change to, as undici's option of that name. */
  readonly upgrade: string | undefined;

  /** Throws InvalidArgumentError, as undici does. */
  constructor(options: Dispatcher.DispatchOptions, service: ServiceConfig) {
    checkTypes(options);
    super(pathOf(options), methodOf(options), undefined, (options.body ?? null) as RequestBody);
    this.reset = options.reset;
    this.upgrade = upgradeOf(options, service);
    if (options.headers !== undefined && options.headers !== null) {
      flatten(options.headers, this.headers, service, options.origin);
      this.sealOwn();
    }
  }
}

function pathOf({ path, query, method }: Dispatcher.DispatchOptions): string {
  if (typeof path !== "string") invalid("path must be a string");
  if (method === "CONNECT") return path; // an authority
  // The absolute form is for proxies; routes read a path.
  if (path.charCodeAt(0) !== 47) invalid("path must start with a slash");
  return query === undefined || query === null ? path : util.serializePathWithQuery(path, query);
}

function upgradeOf(
  options: Dispatcher.DispatchOptions,
  service: ServiceConfig,
): string | undefined {
  const { method, upgrade } = options;
  const wanted =
    upgrade === undefined || upgrade === null || upgrade === false ? undefined : upgrade;
  if (service.http2 && (wanted !== undefined || method === "CONNECT")) {
    throw new errors.NotSupportedError(`${service.name}: no upgrade or CONNECT over HTTP/2`);
  }
  return wanted as string | undefined;
}

function methodOf(options: Dispatcher.DispatchOptions): string {
  const { method } = options;
  if (typeof method !== "string") invalid("method must be a string");
  return method;
}

/**
 * Options that undici would refuse only once there is a connection, or never over HTTP/2: a caller's mistake
 * would be said as the state of the service. Also of those that have no effect on a service.
 */
function checkTypes(options: Dispatcher.DispatchOptions): void {
  const { reset, upgrade, headersTimeout, bodyTimeout } = options;
  const { expectContinue, throwOnError, maxRedirections } = options as unknown as Record<
    string,
    unknown
  >;
  if (!isFlag(reset)) invalid("invalid reset");
  if (!isFlag(expectContinue)) invalid("invalid expectContinue");
  // undici takes `false`, 0 and an empty text for none.
  if (Boolean(upgrade) && typeof upgrade !== "string") invalid("upgrade must be a string");
  if (!isTimeout(headersTimeout)) invalid("invalid headersTimeout");
  if (!isTimeout(bodyTimeout)) invalid("invalid bodyTimeout");
  if (throwOnError !== undefined && throwOnError !== null) invalid("invalid throwOnError");
  if (maxRedirections !== undefined && maxRedirections !== null && maxRedirections !== 0) {
    invalid("maxRedirections is not supported, use the redirect interceptor");
  }
}

function isFlag(value: unknown): boolean {
  return value === undefined || value === null || typeof value === "boolean";
}

function isTimeout(value: unknown): boolean {
  if (value === undefined || value === null) return true;
  return typeof value === "number" && Number.isFinite(value) && value >= 0;
}

/** undici's own class: who calls a dispatcher looks for its `code`. */
export function invalid(message: string): never {
  throw new errors.InvalidArgumentError(message);
}

function hostOf(origin: unknown): string {
  const text = String(origin);
  return text.slice(text.indexOf("//") + 2);
}

/** Every form that undici takes, as names and values in turn. */
function flatten(
  headers: NonNullable<Dispatcher.DispatchOptions["headers"]>,
  flat: string[],
  service: ServiceConfig,
  origin: unknown,
): void {
  if (Array.isArray(headers) && !Array.isArray(headers[0])) {
    if (headers.length % 2 !== 0) invalid("headers array must be even");
    for (let i = 0; i < headers.length; i += 2) {
      add(flat, headers[i], headers[i + 1], service, origin);
    }
  } else if (typeof headers === "object" && isPairs(headers)) {
    for (const pair of headers as Iterable<readonly unknown[]>) {
      if (!Array.isArray(pair) || pair.length !== 2) {
        invalid("headers must be in key-value pair format");
      }
      add(flat, pair[0], pair[1], service, origin);
    }
  } else if (typeof headers === "object") {
    for (const name of Object.keys(headers)) {
      add(flat, name, (headers as Record<string, unknown>)[name], service, origin);
    }
  } else invalid("headers must be an object or an array");
}

function add(
  flat: string[],
  name: unknown,
  value: unknown,
  service: ServiceConfig,
  origin: unknown,
): void {
  if (typeof name !== "string") invalid("invalid header key");
  if (value === undefined) return;
  // Most names are neither long enough to be ours nor one of two others: a look at the length first.
  switch (name.length) {
    case HOST.length:
      if (name.toLowerCase() === HOST) return checkHost(value, service, origin);
      break;
    case CONTENT_LENGTH.length:
      if (typeof value === "string" && name.toLowerCase() === CONTENT_LENGTH) {
        flat.push(name, onceOnly(value));
        return;
      }
      break;
  }
  const first = name.charCodeAt(0);
  if ((first === 120 || first === 88) && name.toLowerCase().startsWith(NAMESPACE)) return;
  if (typeof value === "string") flat.push(name, value);
  else if (Array.isArray(value)) for (const one of value) flat.push(name, textOf(name, one));
  else flat.push(name, textOf(name, value));
}

/** As undici: null is empty, other primitives are written out, objects are refused. */
function textOf(name: string, value: unknown): string {
  if (value === null) return "";
  if (typeof value === "object") invalid(`invalid ${name} header`);
  return `${value as string | number | boolean | bigint}`;
}

/** The authority belongs to the service. Who repeats it, or names the origin that was asked, may. */
function checkHost(value: unknown, { authority, name }: ServiceConfig, origin: unknown): void {
  if (value === authority || value === name || value === hostOf(origin)) return;
  invalid(HOST_RULE);
}

/** Node 22's fetch says an explicit length twice in one value (RFC 9110 §8.6 allows to take it as one). */
function onceOnly(value: string): string {
  const comma = value.indexOf(",");
  if (comma < 0) return value;
  const first = value.slice(0, comma).trim();
  return value.split(",").every((one) => one.trim() === first) ? first : value;
}
