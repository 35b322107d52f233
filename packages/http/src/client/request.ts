/**
 * One request, as undici takes it and as routes ask about it. The object is built once per call and
 * handed to `pool.dispatch` as it is for every attempt: nothing is copied below.
 */
import type { Duplex } from "node:stream";
import { channel } from "node:diagnostics_channel";
import type { HeadField, HeaderChanges, RoutedRequest, ServedRequest } from "@inmesh/core/spi";
import {
  ATTEMPT,
  HOPS,
  HOST,
  IDEMPOTENCY_KEY,
  isPairs,
  NAMESPACE,
  PRIORITY,
  TIMEOUT_MS,
  TRACEPARENT,
  TRACESTATE,
  type RawHeaders,
} from "../headers.ts";
import { isStreamed, type RequestBody } from "./body.ts";
import { badHeaders, badHost, headerText } from "./call-input.ts";
import type { HeadersInput } from "./call-options.ts";
import { changedList } from "./header-changes.ts";
import { supplied } from "./supplied-body.ts";

/** Learns what happens to the request on the wire, attempt by attempt. Its methods must not throw. */
export interface WireWatcher {
  bodySent(chunk: Buffer): void;
  requestSent(): void;
  /** First byte of a reply, interim or not. */
  replyStarted(): void;
  /** A reply below 200: informative, more follows. */
  interim(status: number, headers: RawHeaders, statusText: string, raw: unknown): void;
  /** The connection is the caller's now: after `101`, or any reply to CONNECT. */
  upgraded(status: number, headers: RawHeaders, socket: Duplex, raw: unknown): void;
}

/** Has subscribers when another instrumentation writes trace headers; two of them would contradict. */
const instrumented = channel("undici:request:create");

/** What `stamp` writes. */
const STAMPS: ReadonlySet<string> = new Set([ATTEMPT, TIMEOUT_MS]);

export class HttpRequest implements RoutedRequest {
  readonly path: string;
  readonly method: string;
  /** Names and values in turn. */
  headers: string[];
  readonly body: unknown;
  readonly streamed: boolean;
  /** Whether the service is one of ours. Writer: callOf. */
  toPeer = true;
  /** The reply's body is decoded in every form that it is read in. Writer: MeshClient. */
  decodes = false;
  /** Only doors that pass every event on have one. */
  watcher: WireWatcher | undefined = undefined;
  #pathname: string | undefined = undefined;
  #query: URLSearchParams | undefined = undefined;
  /** Entries of `headers` that the application wrote; ours stand behind them. */
  #own = 0;
  #timeoutSlot = -1;
  #attemptSlot = -1;

  constructor(path: string, method: string, headers: HeadersInput | undefined, body: RequestBody) {
    this.path = path;
    this.method = method;
    this.headers = headers === undefined ? [] : flatten(headers);
    this.body = body;
    if (body instanceof URLSearchParams) {
      this.body = body.toString();
      if (this.header("content-type") === undefined) {
        this.headers.push("content-type", "application/x-www-form-urlencoded;charset=UTF-8");
      }
    } else if (typeof body === "object" && body !== null) this.body = supplied(body);
    this.streamed = body !== null && isStreamed(this.body);
    this.sealOwn();
  }

  /** What stands in `headers` now is the application's; what comes behind it is ours. */
  protected sealOwn(): void {
    this.#own = this.headers.length;
  }

  /** Only an endpoint is wanted, see client/lease.ts. */
  get leased(): boolean {
    return false;
  }

  get pathname(): string {
    if (this.#pathname === undefined) {
      const end = this.path.search(/[?#]/);
      this.#pathname = end < 0 ? this.path : this.path.slice(0, end);
    }
    return this.#pathname;
  }

  header(name: string): string | undefined {
    for (let i = 0; i < this.headers.length; i += 2) {
      const key = this.headers[i]!;
      if (key.length === name.length && key.toLowerCase() === name) return this.headers[i + 1];
    }
    return undefined;
  }

  queryParam(name: string): string | undefined {
    if (this.#query === undefined) {
      this.#query = new URLSearchParams(this.queryText);
    }
    return this.#query.get(name) ?? undefined;
  }

  /** Not `query`, which undici would take for an option of its own and add to the path. */
  get queryText(): string {
    const start = this.path.indexOf("?");
    return start < 0 ? "" : this.path.slice(start + 1);
  }

  fields(): HeadField[] {
    const all: HeadField[] = [];
    for (let i = 0; i < this.headers.length; i += 2) {
      all.push([this.headers[i]!.toLowerCase(), this.headers[i + 1]!]);
    }
    return all;
  }

  /** Of target and headers, as HTTP/1.1 writes them, without the few that we add. */
  get headBytes(): number {
    const { headers } = this;
    let bytes = this.path.length;
    for (let i = 0; i < this.#own; i++) bytes += headers[i]!.length + 2;
    return bytes;
  }

  get hasIdempotencyKey(): boolean {
    return this.headers.length > 0 && this.header(IDEMPOTENCY_KEY) !== undefined;
  }

  /** A header that the application has not written itself. Before any attempt. */
  addDefault(name: string, value: string): void {
    if (this.header(name) !== undefined) return;
    this.headers.push(name, value);
    this.sealOwn();
  }

  /** Names and values in turn, each name for itself: one that the application has written stays alone. */
  addDefaults(list: readonly string[]): void {
    const own = this.headers.slice();
    for (let i = 0; i < list.length; i += 2) {
      const name = list[i]!;
      if (!hasName(own, name.toLowerCase())) this.headers.push(name, list[i + 1]!);
    }
    this.sealOwn();
  }

  /** Of what the application wrote. No attempt has written yet, so no slot moves. */
  changeHeaders(changes: HeaderChanges): void {
    const ours = this.headers.slice(this.#own);
    this.headers = changedList(this.headers.slice(0, this.#own), changes);
    this.sealOwn();
    this.headers.push(...ours);
  }

  /** Writes what the next hop has to know of the request being served. Once per call. */
  inherit({ hops, priority }: ServedRequest): void {
    if (!this.toPeer) return;
    this.headers.push(HOPS, String(hops + 1));
    if (priority !== "normal") this.headers.push(PRIORITY, priority);
  }

  /** … and of one that is over, whose work goes on. */
  inheritTrace({ traceparent, tracestate }: ServedRequest): void {
    if (!this.toPeer || traceparent === undefined || instrumented.hasSubscribers) return;
    if (this.header(TRACEPARENT) !== undefined) return;
    this.headers.push(TRACEPARENT, traceparent);
    if (tracestate !== undefined) this.headers.push(TRACESTATE, tracestate);
  }

  /** Writes what the next hop has to know of this attempt. undici reads headers inside dispatch. */
  stamp(number: number, remainingMs: number): void {
    if (!this.toPeer) return;
    if (remainingMs !== Infinity) {
      const text = String(Math.max(1, Math.ceil(remainingMs)));
      this.#timeoutSlot = this.#write(this.#timeoutSlot, TIMEOUT_MS, text);
    }
    if (number > 1) this.#attemptSlot = this.#write(this.#attemptSlot, ATTEMPT, String(number));
  }

  /**
   * The same for an attempt beside another one, in a request of its own: the other may still wait for a
   * connection, and its head is read when it gets one. Only for pools, see `withHeaders`.
   */
  stampedBeside(number: number, remainingMs: number): HttpRequest {
    if (!this.toPeer) return this;
    const given = [ATTEMPT, String(number)];
    if (remainingMs !== Infinity) {
      given.push(TIMEOUT_MS, String(Math.max(1, Math.ceil(remainingMs))));
    }
    return withHeaders(this, { taken: STAMPS, given });
  }

  /** `slot`: where the attempt before has written it, −1 if none has. Gives where it stands now. */
  #write(slot: number, name: string, value: string): number {
    if (slot >= 0) this.headers[slot] = value;
    else if (this.headers.length > 0) return this.headers.push(name, value) - 1;
    else {
      this.headers = [name, value]; // a push would make room for sixteen
      return 1;
    }
    return slot;
  }
}

/**
 * The request of an attempt that has header fields of its own: everything is the call's but the headers,
 * which are written out at once, because other attempts go on writing into the call's. Only for pools,
 * which read plain members.
 */
export function withHeaders(request: HttpRequest, changes: HeaderChanges): HttpRequest {
  const headers = { value: changedList(request.headers, changes) };
  return Object.create(request, { headers }) as HttpRequest;
}

function hasName(list: readonly string[], lower: string): boolean {
  for (let i = 0; i < list.length; i += 2) if (list[i]!.toLowerCase() === lower) return true;
  return false;
}

/** Names and values in turn. Throws a MeshError (`bad_request`) that names what is wrong. */
export function flatten(headers: HeadersInput): string[] {
  const flat: string[] = [];
  if (headers === null) return flat;
  if (typeof headers !== "object") throw badHeaders(headers);
  if (isPairs(headers)) {
    for (const pair of headers as Iterable<readonly unknown[]>) {
      if (!Array.isArray(pair) || pair.length !== 2) throw badHeaders(headers);
      add(flat, String(pair[0]), pair[1]);
    }
    return flat;
  }
  const record = headers as Readonly<Record<string, unknown>>;
  for (const name of Object.keys(record)) {
    const value = record[name];
    if (Array.isArray(value)) for (const one of value) add(flat, name, one);
    else add(flat, name, value);
  }
  return flat;
}

function add(flat: string[], name: string, given: unknown): void {
  const value = typeof given === "string" ? given : headerText(name, given);
  if (value === undefined) return;
  const lower = name.toLowerCase();
  if (lower.startsWith(NAMESPACE)) return;
  if (lower === HOST) throw badHost();
  flat.push(name, value);
}
