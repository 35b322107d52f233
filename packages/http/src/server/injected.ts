/**
 * Requests that no connection brought: a test's (`inject` of light-my-request), or those of an adapter
 * that turns events of a platform into requests. They have no socket, or an object that looks like one,
 * so what is about connections, framing and slow clients does not apply. What their heads say is treated
 * as that of any other request: such an adapter passes on what its own clients said.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { Stream } from "node:stream";
import { context, isClaim } from "@inmesh/core/spi";
import { TIMEOUT_MS } from "../headers.ts";
import { CONNECTION, type ConnectionState, type WithConnection } from "./connection-state.ts";
import { Inbound, type InboundOwner } from "./inbound.ts";

/** `holder`: its socket, or its HTTP/2 session. Sockets that were open before the mesh came are streams. */
export function isInjected(holder: WithConnection | null | undefined): boolean {
  return holder?.[CONNECTION] === undefined && !(holder instanceof Stream);
}

/** `connection`: a state of its own. Its raw fields are all there afterwards, as text. */
export function injectedOf(
  request: IncomingMessage,
  response: ServerResponse,
  connection: ConnectionState,
  owner: InboundOwner,
): Inbound {
  const inbound = new Inbound(request, response, connection, owner, false);
  inbound.ownHeaders = true;
  fillRaw(request);
  return inbound;
}

/** Adapters give plain data: `headers` alone, or values that are no strings. */
function fillRaw({ headers, rawHeaders }: IncomingMessage): void {
  if (rawHeaders.length === 0) {
    for (const [name, value] of Object.entries(headers)) {
      for (const one of Array.isArray(value) ? value : [value]) rawHeaders.push(name, String(one));
    }
  }
  for (let i = 0; i < rawHeaders.length; i++) rawHeaders[i] = String(rawHeaders[i]);
}

/** Names in `headers` can be written as the adapter likes. `keep`: names of claims that stay. */
export function dropClaims({ headers }: IncomingMessage, keep: ReadonlySet<string>): void {
  for (const name of Object.keys(headers)) {
    const lower = name.toLowerCase();
    if (lower === TIMEOUT_MS || (isClaim(lower) && !keep.has(lower))) delete headers[name];
  }
}

/** Runs its handler in a context of its own. Its owner learns once that the reply has ended or closed. */
export function serveInjected(inbound: Inbound, handler: RequestListener): void {
  const { request, response, owner } = inbound;
  let over = false;
  const ended = (): void => {
    if (over) return;
    over = true;
    owner.ended(inbound);
  };
  response.on("close", ended);
  // A response without a socket says neither `finish` nor `close`.
  const end = response.end.bind(response);
  response.end = ((...args: Parameters<typeof end>) => {
    const self = end(...args);
    ended();
    return self;
  }) as typeof end;
  context.run(inbound, handler, request, response);
}
