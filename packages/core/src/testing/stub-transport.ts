/** A transport without sockets: the test plays the server, per endpoint, in real or virtual time. */
import type { Attempt, Outcome, Reply } from "../call.ts";
import type { EndpointInfo } from "../discovery/discovery.ts";
import { addressOf } from "../discovery/discovery.ts";
import type { MeshError } from "../errors.ts";
import type { Protocol } from "../mesh.ts";
import type { RouteFacts } from "../route/facts.ts";
import type { Connection, Transport } from "../transport.ts";

export class StubRequest implements RouteFacts {
  readonly method: string;
  readonly pathname: string;
  readonly headers: Readonly<Record<string, string>>;
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
}

export class StubReply implements Reply {
  readonly outcome: Outcome;
  readonly code: number;
  nacked = false;
  retryAfterMs: number | undefined = undefined;
  readonly #attempt: Attempt<StubRequest>;
  constructor(attempt: Attempt<StubRequest>, outcome: Outcome, code: number) {
    this.#attempt = attempt;
    this.outcome = outcome;
    this.code = code;
  }
  discard(): void {
    this.#attempt.settle(this.outcome);
  }
}

/** What the test's server does with an attempt: reply, fail, or leave it pending. */
export interface StubExchange {
  readonly attempt: Attempt<StubRequest>;
  /** Starts the reply; its body ends at once, or when `end` is called if `open`. */
  reply(
    outcome?: Outcome,
    code?: number,
    more?: { retryAfterMs?: number; nacked?: boolean; open?: boolean },
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
  constructor(serve: StubServer, address: string, probe: (address: string) => Promise<boolean>) {
    this.#serve = serve;
    this.#address = address;
    this.#probe = probe;
  }

  send(attempt: Attempt<StubRequest>): Promise<StubReply> {
    return new Promise((resolve, reject) => {
      const fail = (error: MeshError, outcome: Outcome): void => {
        this.#pending.delete(fail);
        attempt.error = error;
        attempt.settle(outcome);
        reject(error);
      };
      attempt.canceller = { cancelAttempt: fail };
      this.#pending.add(fail);
      this.#serve(
        {
          attempt,
          reply: (outcome = "success", code = 200, more = {}) => {
            if (attempt.outcome !== undefined) return;
            const reply = new StubReply(attempt, outcome, code);
            reply.nacked = more.nacked ?? false;
            reply.retryAfterMs = more.retryAfterMs;
            attempt.code = code;
            if (outcome === "overloaded") attempt.busyForMs = more.retryAfterMs ?? 0;
            attempt.answered();
            if (more.open !== true) {
              this.#pending.delete(fail);
              attempt.settle(outcome);
            }
            resolve(reply);
          },
          end: (outcome = "success") => {
            this.#pending.delete(fail);
            attempt.settle(outcome);
          },
          fail: (error, outcome = "failure", connect = false) => {
            attempt.connectFailed = connect;
            fail(error, outcome);
          },
        },
        this.#address,
      );
    });
  }

  close(): Promise<void> {
    return Promise.resolve();
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
    transport: (): Transport<StubRequest, StubReply> => ({
      connect: (endpoint: EndpointInfo) => new StubConnection(serve, addressOf(endpoint), probe),
    }),
  };
}
