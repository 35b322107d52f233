/**
 * Which ended calls and requests a tap shows. Everything is looked at when the call is over, so a filter may ask
 * for what only its end tells: a status, a reason, how long it took. Options are validated by `tapMistakes`
 * before one is made.
 */
import type { EndedCall, EndedRequest } from "../observe/observer.ts";
import type { TapOptions } from "./options.ts";
import { traceIdOf } from "../observe/trace-id.ts";

type Texts = ReadonlySet<string> | undefined;

export class TapFilter {
  readonly #outbound: boolean;
  readonly #inbound: boolean;
  readonly #service: Texts;
  readonly #route: Texts;
  readonly #outcome: Texts;
  readonly #reason: Texts;
  readonly #method: Texts;
  /** Numbers as texts, classes and `none`. */
  readonly #status: Texts;
  readonly #path: string;
  readonly #endpoint: string | undefined;
  readonly #peer: string | undefined;
  readonly #minLatencyMs: number;
  readonly #header: readonly (readonly [name: string, value: string])[];
  readonly #traceId: string | undefined;

  constructor(options: TapOptions) {
    const { direction, method, status, path = "", header = {} } = options;
    this.#outbound = direction !== "inbound";
    this.#inbound = direction !== "outbound";
    this.#service = textsOf(options.service);
    this.#route = textsOf(options.route);
    this.#outcome = textsOf(options.outcome);
    this.#reason = textsOf(options.reason);
    this.#method = textsOf(method, (one) => one.toUpperCase());
    this.#status = textsOf(status);
    this.#path = path;
    this.#endpoint = options.endpoint;
    this.#peer = options.peer;
    this.#minLatencyMs = options.minLatencyMs ?? 0;
    this.#header = Object.entries(header).map(([name, value]) => [name.toLowerCase(), value]);
    this.#traceId = options.traceId?.toLowerCase();
  }

  call(call: EndedCall): boolean {
    return (
      this.#outbound &&
      this.#peer === undefined &&
      this.#both(call, call.service) &&
      (this.#endpoint === undefined || wentTo(call, this.#endpoint)) &&
      (this.#reason === undefined || hasReason(call, this.#reason)) &&
      (this.#traceId === undefined || traceIdOf(call) === this.#traceId)
    );
  }

  request(request: EndedRequest): boolean {
    const { reason } = request;
    return (
      this.#inbound &&
      this.#endpoint === undefined &&
      this.#both(request, request.server) &&
      (this.#reason === undefined || (reason !== undefined && this.#reason.has(reason))) &&
      (this.#traceId === undefined || traceIdOf(request) === this.#traceId) &&
      (this.#peer === undefined || isPeer(request, this.#peer))
    );
  }

  #both(ended: EndedCall | EndedRequest, service: string): boolean {
    return (
      ended.durationMs >= this.#minLatencyMs &&
      (this.#service?.has(service) ?? true) &&
      (this.#route?.has(ended.route) ?? true) &&
      (this.#outcome?.has(ended.outcome) ?? true) &&
      (this.#method?.has(ended.method) ?? true) &&
      (this.#status === undefined || hasStatus(ended, this.#status)) &&
      ended.path.startsWith(this.#path) &&
      this.#header.every(([name, value]) => ended.header(name) === value)
    );
  }
}

function textsOf(
  given: string | number | readonly (string | number)[] | undefined,
  change: (one: string) => string = (one) => one,
): Texts {
  if (given === undefined) return undefined;
  const all = Array.isArray(given) ? (given as readonly (string | number)[]) : [given];
  return new Set(all.map((one) => change(String(one))));
}

/** Numbers of gRPC end at 16 and those of HTTP begin at 100. */
function hasStatus({ status }: EndedCall | EndedRequest, wanted: ReadonlySet<string>): boolean {
  if (status === undefined) return wanted.has("none");
  return (
    wanted.has(String(status)) || (status >= 100 && wanted.has(`${Math.floor(status / 100)}xx`))
  );
}

function wentTo({ lastAttempt }: EndedCall, endpoint: string): boolean {
  for (let one = lastAttempt; one !== undefined; one = one.previous) {
    if (one.endpoint === endpoint) return true;
  }
  return false;
}

function hasReason({ error, lastAttempt }: EndedCall, wanted: ReadonlySet<string>): boolean {
  if (error !== undefined && wanted.has(error.reason)) return true;
  for (let one = lastAttempt; one !== undefined; one = one.previous) {
    if (one.error !== undefined && wanted.has(one.error.reason)) return true;
  }
  return false;
}

function isPeer({ peer }: EndedRequest, wanted: string): boolean {
  return peer.address === wanted || peer.uris.includes(wanted) || peer.names.includes(wanted);
}
