/**
 * A handler that makes a request over HTTP/2 one of HTTP/1 by replacing its prototype, as an application
 * of Express does. Nothing works on such messages: they hang, and throw in callbacks of Node where no code
 * can catch it. So they get their prototypes back as soon as their handler has returned.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Log } from "@inmesh/core";
import { safeLog } from "@inmesh/core/spi";

let classes: readonly object[] | undefined;

/** `before`: its prototype when its handler got it. A bridge's own that inherits from Node's for HTTP/2 is fine. */
export function isReplaced(message: IncomingMessage | ServerResponse, before: object): boolean {
  if (Object.getPrototypeOf(message) === before) return false;
  const { Http2ServerRequest, Http2ServerResponse } = process.getBuiltinModule("node:http2");
  classes ??= [Http2ServerRequest.prototype, Http2ServerResponse.prototype];
  return !classes.some((one) => Object.prototype.isPrototypeOf.call(one, message));
}

/** Logs the first one of a server: all others are by the same handler. */
export class ReplacedLog {
  readonly #log: Log;
  #logged = false;

  constructor(log: Log | undefined) {
    this.#log = safeLog(log);
  }

  say(server: string): void {
    if (this.#logged) return;
    this.#logged = true;
    const message = `${server}: the handler replaced the prototype of a request over HTTP/2, as an Express application does; such requests get 505. Leave out \`http2\`, or use a framework that can do HTTP/2 (Fastify, Koa, Hono, connect).`;
    this.#log({ level: "warn", event: "server.http1_application", message });
  }
}
