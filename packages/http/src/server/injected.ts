/**
 * Requests that no connection brought: a test's (`inject` of light-my-request), or those of an adapter
 * that turns events of a platform into requests. They have no socket, or an object that looks like one,
 * so what is about connections, framing and slow clients does not apply. What their heads say is treated
 * as that of any other request: such an adapter passes on what its own clients said.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { Stream } from "node:stream";
import {
  context,
  isClaim,
  type Refusal,
  type ServerAnswer,
  type ServerPipeline,
  type ServerProtocol,
  type Stage,
} from "@inmesh/core/spi";
import { TIMEOUT_MS } from "../headers.ts";
import type { ServerMembers } from "../node-internals.ts";
import { CONNECTION, type WithConnection } from "./connection-state.ts";
import type { CutReason } from "./cuts.ts";
import { Inbound, type InboundOwner } from "./inbound.ts";
import { refuse } from "./refuse.ts";
import { countSize } from "./reply-size.ts";
import type { ServingParts } from "./serving-parts.ts";

/** `holder`: its socket, or its HTTP/2 session. Sockets that were open before the mesh came are streams. */
export function isInjected(holder: WithConnection | null | undefined): boolean {
  return holder?.[CONNECTION] === undefined && !(holder instanceof Stream);
}

/** The stages of core's server pipeline for them. */
export class InjectedServing implements ServerProtocol<Inbound>, InboundOwner {
  readonly name: string;
  readonly members: ServerMembers;
  readonly keepAlive: undefined = undefined;
  readonly answersHealth: ((inbound: Inbound) => boolean) | undefined;
  readonly #parts: ServingParts;
  readonly #pipeline: ServerPipeline<Inbound>;

  constructor(parts: ServingParts, answersHealth: ((inbound: Inbound) => boolean) | undefined) {
    this.#parts = parts;
    this.name = parts.core.name;
    this.members = parts.members;
    this.answersHealth = answersHealth;
    this.#pipeline = parts.core.pipeline<Inbound>(this);
  }

  request(request: IncomingMessage, response: ServerResponse, handler: RequestListener): void {
    const connection = this.#parts.connections.stateOf({}); // what is refused may say that it ends
    connection.trust = this.#parts.core.trust;
    const inbound = new Inbound(request, response, connection, this, false, handler);
    inbound.ownHeaders = true;
    fillRaw(request);
    this.#pipeline.serve(inbound);
  }

  read(inbound: Inbound): Refusal | undefined {
    const { reader, validator, keep, core } = this.#parts;
    const refusal = reader.read(inbound) ?? validator.checkInjected(inbound);
    dropClaims(inbound.request, keep);
    if (inbound.glitch !== undefined) core.count(inbound.glitch);
    return refusal;
  }

  check({ request }: Inbound): Refusal | undefined {
    return this.#parts.chosen?.check(request);
  }

  /** A response without a socket says neither `finish` nor `close`. */
  admitted(inbound: Inbound): void {
    const { response } = inbound;
    const ended = (): void => this.ended(inbound);
    response.on("close", ended);
    const end = response.end.bind(response);
    response.end = ((...args: Parameters<typeof end>) => {
      const self = end(...args);
      ended();
      return self;
    }) as typeof end;
  }

  released(): void {}

  enter(inbound: Inbound, inner: Stage<Inbound>): ServerAnswer {
    return context.run(inbound, inner, inbound);
  }

  handle({ handler, request, response, observed }: Inbound): void {
    if (observed !== undefined) countSize(response, request.method, observed);
    handler(request, response);
  }

  refuse(inbound: Inbound, refusal: Refusal): void {
    inbound.hasBody = false; // it is no stream that holds anything up
    const { core, linger } = this.#parts;
    refuse(inbound, refusal, core.trust.givesReasons, linger);
  }

  ended(inbound: Inbound): void {
    if (this.#pipeline.ended(inbound) && !inbound.replied) inbound.leave();
  }

  misframed(): void {}

  countGlitch(_inbound: Inbound, what: CutReason): void {
    this.#parts.core.count(what);
  }
}

/** Adapters give plain data: `headers` alone, or values that are no strings. Afterwards all raw fields are there, as text. */
function fillRaw({ headers, rawHeaders }: IncomingMessage): void {
  if (rawHeaders.length === 0) {
    for (const [name, value] of Object.entries(headers)) {
      for (const one of Array.isArray(value) ? value : [value]) rawHeaders.push(name, String(one));
    }
  }
  for (let i = 0; i < rawHeaders.length; i++) rawHeaders[i] = String(rawHeaders[i]);
}

/** Names in `headers` can be written as the adapter likes. `keep`: names of claims that stay. */
function dropClaims({ headers }: IncomingMessage, keep: ReadonlySet<string>): void {
  for (const name of Object.keys(headers)) {
    const lower = name.toLowerCase();
    if (lower === TIMEOUT_MS || (isClaim(lower) && !keep.has(lower))) delete headers[name];
  }
}
