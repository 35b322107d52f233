/**
 * The two questions an orchestrator asks: is the process alive, and should traffic come here. A
 * draining server is alive and not ready, and so is an overloaded one: restarting it would not help.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { isMet } from "@inmesh/core/spi";

export interface HealthOptions {
  /** Default `/livez`; false: not answered here. */
  readonly live?: string | false;
  /** Default `/readyz`; false: not answered here. */
  readonly ready?: string | false;
  /** Asked for every `/readyz`, below 10 ms: the application's own condition. Default: none. */
  readonly isReady?: () => boolean;
}

export class Health {
  readonly #live: string | false;
  readonly #ready: string | false;
  readonly #isReady: (() => boolean) | undefined;

  constructor({ live = "/livez", ready = "/readyz", isReady }: HealthOptions = {}) {
    this.#live = live;
    this.#ready = ready;
    this.#isReady = isReady;
  }

  /** True: the request was for us, and is answered. */
  answers(request: IncomingMessage, response: ServerResponse, why: () => string): boolean {
    const { url } = request;
    if (url !== this.#live && url !== this.#ready) return false;
    if (request.method !== "GET" && request.method !== "HEAD") return false;
    const state = url === this.#live ? "ok" : this.#readiness(why);
    const body = `${state}\n`;
    response.statusCode = state === "ok" ? 200 : 503;
    response.setHeader("content-type", "text/plain; charset=utf-8");
    response.setHeader("cache-control", "no-store");
    response.setHeader("content-length", body.length);
    response.end(body);
    return true;
  }

  /** Undefined: it is not answered here. */
  get readyPath(): string | undefined {
    return this.#ready === false ? undefined : this.#ready;
  }

  /** The application's own condition, if it has one. */
  get isMet(): boolean {
    return isMet(this.#isReady);
  }

  #readiness(why: () => string): string {
    const state = why();
    if (state !== "ok") return state;
    return this.isMet ? "ok" : "not ready";
  }
}
