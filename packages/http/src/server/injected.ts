/**
 * Requests that no connection brought: a test's (`inject` of light-my-request), or those of an adapter
 * that turns events of a platform into requests. They have no socket, or an object that looks like one,
 * so limits of connections, slow clients and lengths do not apply, and they are not counted. Identity
 * headers are taken out all the same: such an adapter passes on what its own clients said.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { Stream } from "node:stream";
import { context, isClaim, ServedRequest } from "@inmesh/core/spi";
import { TIMEOUT_MS, TRACEPARENT, TRACESTATE } from "../headers.ts";
import { CONNECTION, type WithConnection } from "./connection-state.ts";

/** `holder`: its socket, or its HTTP/2 session. Sockets that were open before the mesh came are streams. */
export function isInjected(holder: WithConnection | null | undefined): boolean {
  return holder?.[CONNECTION] === undefined && !(holder instanceof Stream);
}

class InjectedRequest extends ServedRequest {
  readonly #response: ServerResponse;

  constructor({ headers }: IncomingMessage, response: ServerResponse) {
    super({
      traceparent: headers[TRACEPARENT] as string | undefined,
      tracestate: headers[TRACESTATE] as string | undefined,
    });
    this.#response = response;
  }

  override get replied(): boolean {
    return this.#response.writableEnded;
  }
}

/** Runs its handler in a context of its own, with its trace. `keep`: names of claims that stay. */
export function serveInjected(
  request: IncomingMessage,
  response: ServerResponse,
  handler: RequestListener,
  keep: ReadonlySet<string>,
): void {
  dropClaims(request, keep);
  const served = new InjectedRequest(request, response);
  response.on("close", () => {
    if (!served.replied) served.leave();
  });
  context.run(served, handler, request, response);
}

/** Both forms are plain data here: they did not come out of Node's parser. */
function dropClaims({ headers, rawHeaders }: IncomingMessage, keep: ReadonlySet<string>): void {
  const goes = (name: string): boolean => {
    const lower = name.toLowerCase();
    return lower === TIMEOUT_MS || (isClaim(lower) && !keep.has(lower));
  };
  for (const name of Object.keys(headers)) if (goes(name)) delete headers[name];
  let kept = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (goes(rawHeaders[i]!)) continue;
    rawHeaders[kept++] = rawHeaders[i]!;
    rawHeaders[kept++] = rawHeaders[i + 1]!;
  }
  rawHeaders.length = kept;
}
