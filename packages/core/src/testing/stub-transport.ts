/** A transport without sockets: the test plays the server, per endpoint, in real or virtual time. */
import type { Attempt, Outcome, Reply } from "../call.ts";
import type { EndpointInfo } from "../endpoint-info.ts";
import { addressOf } from "../endpoint-info.ts";
import { MeshError } from "../errors.ts";
import type { Protocol } from "../protocol.ts";
import type { HeaderChanges } from "../header-changes.ts";
import type { HeadField, RoutedRequest } from "../route/facts.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Connection, Transport } from "../transport.ts";

export class StubRequest implements RoutedRequest {
  readonly method: string;
  readonly pathname: string;
  headers: Readonly<Record<string, string>>;
  constructor(pathname = "/", method = "GET", headers: Readonly<Record<string, string>> = {}) {
    this.pathname = pathname;
    this.method = method;
    this.headers = headers;
  }
  header(name: string): string | undefined {
    return this.headers[name];
  }
  queryParam(): string | undefined {
    return undefined;
  }
  get queryText(): string {
    return "";
  }
  fields(): HeadField[] {
    return Object.entries(this.headers);
  }
  changeHeaders(changes: HeaderChanges): void {
    this.headers = changed(this.headers, changes);
  }
}

export class StubReply implements Reply {
  readonly outcome: Outcome;
  readonly code: number;
  nacked = false;
  final = false;
  retryAfterMs: number | undefined = undefined;
  waitsForAll = false;
  headers: Readonly<Record<string, string>> = {};
  /** The body: resolves at its end, rejects if it is cut. */
  readonly ended: Promise<void>;
  readonly #drop: () => void;
  constructor(outcome: Outcome, code: number, ended: Promise<void>, drop: () => void) {
    this.outcome = outcome;
    this.code = code;
    this.ended = ended;
    this.#drop = drop;
  }
  changeHeaders(changes: HeaderChanges): void {
    this.headers = changed(this.headers, changes);
  }
  discard(): void {
    this.#drop();
  }
}

function changed(
  headers: Readonly<Record<string, string>>,
  { taken, given }: HeaderChanges,
): Record<string, string> {
  const result = Object.fromEntries(Object.entries(headers).filter(([name]) => !taken.has(name)));
  for (let i = 0; i < given.length; i += 2) {
    const [name, value] = [given[i]!, given[i + 1]!];
    result[name] = name in result ? `${result[name]}, ${value}` : value;
  }
  return result;
}

/** What the test's server does with an attempt: reply, fail, or leave it pending. */
export interface StubExchange {
  readonly attempt: Attempt<StubRequest>;
  /** Starts the reply; its body ends at once, or when `end` is called if `open`. */
  reply(
    outcome?: Outcome,
    code?: number,
    more?: {
      retryAfterMs?: number;
      waitsForAll?: boolean;
      nacked?: boolean;
      final?: boolean;
      open?: boolean;
    },
  ): void;
  end(outcome?: Outcome): void;
  fail(error: MeshError, outcome?: Outcome, connect?: boolean): void;
}

export type StubServer = (exchange: StubExchange, address: string) => void;

class StubConnection implements Connection<StubRequest, StubReply> {
  readonly #serve: StubServer;
  readonly #address: string;
  readonly #pending = new Set<(error: MeshError, outcome: Outcome) => void>();
  readonly #probe: (address: string) => Promise<boolean>;
  readonly #runtime: Runtime;
  #onIdle: (() => void) | undefined = undefined;
  #closing: Promise<void> | undefined = undefined;
  constructor(
    serve: StubServer,
    address: string,
    probe: (address: string) => Promise<boolean>,
    runtime: Runtime,
  ) {
    this.#serve = serve;
    this.#address = address;
    this.#probe = probe;
    this.#runtime = runtime;
  }

  send(attempt: Attempt<StubRequest>): Promise<StubReply> {
    return new Promise((resolve, reject) => {
      const body = Promise.withResolvers<void>();
      body.promise.catch(() => {});
      const finish = (outcome: Outcome): void => {
        if (!this.#pending.delete(fail)) return;
        attempt.settle(outcome);
        body.resolve();
        if (this.#pending.size === 0) this.#onIdle?.();
      };
      const fail = (error: MeshError, outcome: Outcome): void => {
        if (!this.#pending.delete(fail)) return;
        attempt.error = error;
        attempt.settle(outcome);
        reject(error);
        body.reject(error);
        if (this.#pending.size === 0) this.#onIdle?.();
      };
      attempt.canceller = { cancelAttempt: fail };
      this.#pending.add(fail);
      this.#serve(
        {
          attempt,
          reply: (outcome = "success", code = 200, more = {}) => {
            if (attempt.outcome !== undefined) return;
            const reply = new StubReply(outcome, code, body.promise, () => finish(outcome));
            reply.nacked = more.nacked ?? false;
            reply.final = more.final ?? false;
            reply.retryAfterMs = more.retryAfterMs;
            reply.waitsForAll = more.waitsForAll ?? false;
            attempt.code = code;
            if (outcome === "overloaded") attempt.busyForMs = more.retryAfterMs ?? 0;
            attempt.answered(more.open === true ? this.#runtime.now() : 0);
            if (more.open !== true) finish(outcome);
            resolve(reply);
          },
          end: (outcome = "success") => finish(outcome),
          fail: (error, outcome = "failure", connect = false) => {
            attempt.connectFailed = connect;
            fail(error, outcome);
          },
        },
        this.#address,
      );
    });
  }

  close(graceMs: number): Promise<void> {
    this.#closing ??= this.#close(graceMs);
    return this.#closing;
  }

  async #close(graceMs: number): Promise<void> {
    if (this.#pending.size > 0 && graceMs > 0) {
      await new Promise<void>((resolve) => {
        const timer = this.#runtime.after(graceMs, resolve, undefined, true);
        this.#onIdle = () => {
          timer.cancel();
          resolve();
        };
      });
    }
    for (const fail of this.#pending) {
      const message = `${this.#address}: closed before the attempt ended`;
      fail(
        new MeshError({
          code: "cancelled",
          reason: "shutdown",
          message,
          progress: "maybe-processed",
        }),
        "abandoned",
      );
    }
  }

  probe(): Promise<boolean> {
    return this.#probe(this.#address);
  }
}

export function stubProtocol(
  serve: StubServer,
  probe: (address: string) => Promise<boolean> = () => Promise.resolve(true),
): Protocol<StubRequest, StubReply> {
  return {
    name: "stub",
    transport: (_service, runtime): Transport<StubRequest, StubReply> => ({
      connect: (endpoint: EndpointInfo) =>
        new StubConnection(serve, addressOf(endpoint), probe, runtime),
    }),
  };
}
