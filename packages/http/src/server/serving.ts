/**
 * A request over HTTP at the stages of core's server pipeline that are HTTP's own: its head is read and
 * validated, its connection knows of it, it is given to its handler, a refusal is written, and its end is
 * noticed. The order of the stages is in core (`server/pipeline.ts`).
 */
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type {
  Refusal,
  ServerAnswer,
  ServerPipeline,
  ServerProtocol,
  Stage,
  StandardDuration,
} from "@inmesh/core/spi";
import { LEAVING } from "../headers.ts";
import { hintIdle, replaceDump, type ServerMembers } from "../node-internals.ts";
import type { ConnectionState, WithConnection } from "./connection-state.ts";
import type { Connections } from "./connections.ts";
import { watchBody, watchHead } from "./cut-bodies.ts";
import { answerAndCut, cutShort } from "./cut-short.ts";
import type { CutReason } from "./cuts.ts";
import { emitInContext, INBOUND, serveInContext } from "./in-context.ts";
import { Inbound, responseClosed, type InboundOwner, type WithInbound } from "./inbound.ts";
import { InjectedServing, isInjected } from "./injected.ts";
import { watchPipelined } from "./left-behind.ts";
import { NODE_HTTP } from "./listeners.ts";
import { countBodies } from "./observed-bytes.ts";
import { writeOwnHead } from "./own-marks.ts";
import { peerOf } from "./peer.ts";
import { linger, refuse, sayClose } from "./refuse.ts";
import { REFUSALS } from "./refusals.ts";
import { isReplaced, ReplacedLog } from "./replaced.ts";
import { isShort, watchLength } from "./reply-length.ts";
import type { ServingParts } from "./serving-parts.ts";
import { SlowPeers } from "./slow-peers.ts";
import { dropSurplus } from "./surplus.ts";
import { filterTrailers } from "./trailers.ts";
import { endAtOnce } from "./end-at-once.ts";

export class Serving implements ServerProtocol<Inbound>, InboundOwner {
  readonly name: string;
  readonly members: ServerMembers;
  readonly keepAlive: string | undefined;
  readonly tracedByOthers: boolean;
  readonly answersHealth: ((inbound: Inbound) => boolean) | undefined;
  readonly standard: StandardDuration<Inbound>;
  readonly #parts: ServingParts;
  readonly #connections: Connections;
  /** Said to clients over HTTP/1, as Node does where it keeps the time itself; undefined: it does. */
  readonly #idleHintMs: number | undefined;
  readonly #peers: SlowPeers;
  readonly #newest = (): Inbound | undefined => this.#peers.first;
  readonly #replaced: ReplacedLog;
  readonly #pipeline: ServerPipeline<Inbound>;
  readonly #injected: InjectedServing;

  constructor(parts: ServingParts) {
    const { core, limits, members, given, health } = parts;
    this.#parts = parts;
    this.name = core.name;
    this.standard = parts.standard;
    this.members = members;
    this.tracedByOthers = parts.tracedByOthers;
    this.#connections = parts.connections;
    this.#idleHintMs = given ? undefined : limits.keepAliveIdleMs;
    const saysByItself = given || members.hintsIdle;
    this.keepAlive = saysByItself
      ? undefined
      : `timeout=${Math.floor(limits.keepAliveIdleMs / 1_000)}`;
    this.#replaced = new ReplacedLog(core.log);
    const readiness = (): string => core.readiness;
    this.answersHealth =
      health && (({ request, response }) => health.answers(request, response, readiness));
    this.#peers = new SlowPeers(limits, core.runtime, {
      bodyTimedOut: (inbound) => this.#bodyTimedOut(inbound),
      writeStalled: (inbound) => this.#writeStalled(inbound),
    });
    this.#pipeline = core.pipeline<Inbound>(this);
    this.#injected = new InjectedServing(parts, this.answersHealth);
  }

  /** `handler` gets it if it is to be served. `asksToContinue`: it waits for a 100, and no listener sends one. */
  request(
    request: IncomingMessage,
    response: ServerResponse,
    handler: RequestListener,
    asksToContinue: boolean,
  ): void {
    const http2 = isHttp2(request);
    const holder = holderOf(request, http2);
    if (isInjected(holder)) return this.#injected.request(request, response, handler);
    const connection = this.#connections.stateOf(holder);
    // Behind the last request of the connection: never answered.
    if (connection.ended) return dropSurplus(request.socket, this.#parts.linger);
    connection.trust ??= this.#parts.core.trustOf(() => peerOf(connection, request));
    const inbound = new Inbound(request, response, connection, this, http2, handler);
    inbound.asksToContinue = asksToContinue;
    connection.streams++;
    if (!http2 && this.#idleHintMs !== undefined && this.members.hintsIdle) {
      hintIdle(response, this.#idleHintMs);
    }
    if (connection.leaving) endAfter(inbound);
    this.#pipeline.serve(inbound);
  }

  // ── the stages, in their order ───────────────────────────────────────────────────────────────

  read(inbound: Inbound): Refusal | undefined {
    const { reader, validator } = this.#parts;
    const refusal = reader.read(inbound) ?? validator.check(inbound);
    // Node drops what came in one piece with the end of such a request, and reads on behind it: in the
    // middle of the next one, whose body could be another request.
    if (inbound.asksUpgrade && !inbound.http2) endAfter(inbound);
    if (inbound.glitch !== undefined) this.countGlitch(inbound, inbound.glitch);
    return refusal;
  }

  check({ connection, http2, headBytes, request }: Inbound): Refusal | undefined {
    const { limits, chosen } = this.#parts;
    if (connection.active >= limits.maxPipelined && !http2) return REFUSALS.too_many_pipelined;
    if (!this.#connections.misuse.holds(connection, headBytes)) return REFUSALS.connection_headers;
    return chosen?.check(request);
  }

  admitted(inbound: Inbound): void {
    const { connection, request, response, http2 } = inbound;
    connection.active++;
    if (connection.active > 1 && !http2) watchPipelined(connection, request, this.#newest);
    connection.headBytes += inbound.headBytes;
    this.#peers.add(inbound);
    (response as WithInbound)[INBOUND] = inbound;
    response.on("close", responseClosed);
    if (http2 && this.#parts.given && request.method === "HEAD")
      watchHead(response, responseClosed);
  }

  released(inbound: Inbound): void {
    this.#leaves(inbound);
    delete (inbound.response as WithInbound)[INBOUND];
    // All of its body came while a layer waited: nothing has to be waited for, or dropped.
    if (inbound.request.complete) inbound.hasBody = false;
  }

  enter(inbound: Inbound, inner: Stage<Inbound>): ServerAnswer {
    return serveInContext(inbound, inner);
  }

  handle(inbound: Inbound): void {
    const { request, response, http2, hasBody, handler } = inbound;
    const { given, limits, chosen } = this.#parts;
    response.writeHead = writeOwnHead;
    const { observed } = inbound;
    if (!http2) {
      watchLength(response, this.members);
      if (!hasBody && this.members.seesDump) replaceDump(request, endAtOnce);
    } else if (given) {
      // Node's own reply over HTTP/2 ends in a callback of the connection; ours knows its context.
      response.emit = emitInContext as typeof response.emit;
    }
    if (inbound.chunked || (http2 && hasBody)) {
      filterTrailers(inbound, limits, chosen?.refusesUnderscores === true);
    }
    if (observed !== undefined) countBodies(request, response, observed);
    if (inbound.asksToContinue) response.writeContinue();
    if (http2) {
      const ofRequest = Object.getPrototypeOf(request) as object;
      const ofResponse = Object.getPrototypeOf(response) as object;
      handler(request, response);
      if (isReplaced(request, ofRequest) || isReplaced(response, ofResponse)) {
        Object.setPrototypeOf(request, ofRequest);
        Object.setPrototypeOf(response, ofResponse);
        return this.#refuseHttp1(inbound);
      }
    } else handler(request, response);
    if (hasBody || request.listenerCount("end") > 0) {
      (request as WithInbound)[INBOUND] = inbound;
      if (http2 && given && hasBody) watchBody(request);
      else request.emit = emitInContext as typeof request.emit;
    }
  }

  refuse(inbound: Inbound, refusal: Refusal): void {
    // Its connection goes on, where one of HTTP/1 is closed at once.
    if (refusal.close && inbound.http2) this.#connections.misuse.glitch(inbound.connection);
    refuse(inbound, refusal, inbound.connection.trust!.givesReasons, this.#parts.linger);
  }

  // ── its end ──────────────────────────────────────────────────────────────────────────────────

  /** The reply is out, or its connection has gone. */
  ended(inbound: Inbound): void {
    const { connection, request, response, http2 } = inbound;
    if (http2 && inbound.isReset) {
      this.#connections.streamReset("client");
      const { deadlineAt, remainingMs } = inbound;
      this.#connections.misuse.reset(connection, deadlineAt - remainingMs, deadlineAt);
    }
    if (inbound.last) {
      if (inbound.asksUpgrade && !http2) dropSurplus(request.socket, this.#parts.linger);
      // Or the application said keep-alive: then what follows is served, unless it was dropped.
      if (connection.surplus) request.socket.destroySoon();
      else connection.ended = false;
    }
    this.#leaves(inbound);
    const { writableEnded } = response;
    if (writableEnded && !http2 && isShort(response, inbound, this.members)) {
      this.misframed(inbound);
      this.#pipeline.ended(inbound);
      return;
    }
    this.#pipeline.ended(inbound);
    if (!writableEnded) return inbound.leave();
    if (!inbound.hasBody || request.complete || request.destroyed) return;
    // A handler that goes on reading after its reply may; other bodies are read for a second only.
    if (request.listenerCount("data") > 0 || request.listenerCount("readable") > 0) {
      connection.unread = request;
      return;
    }
    linger(request, this.#parts.linger, () => {
      if (!request.complete) cutShort(inbound);
    });
  }

  /** Its connection has it no longer. */
  #leaves(inbound: Inbound): void {
    const { connection } = inbound;
    connection.active--;
    connection.headBytes -= inbound.headBytes;
    this.#peers.remove(inbound);
    // Its timer was the socket's. Node sets it anew where it watches idle connections.
    const isOurs = this.#idleHintMs !== undefined && !inbound.http2;
    if (isOurs && inbound.watched && connection.active === 0) inbound.request.socket.setTimeout(0);
  }

  countGlitch(inbound: Inbound, what: CutReason): void {
    this.#parts.core.count(what);
    const { connection, http2, response } = inbound;
    if (!this.#connections.misuse.glitch(connection) || http2) return;
    if (response.headersSent) connection.leaving = true;
    else endAfter(inbound);
  }

  misframed(inbound: Inbound): void {
    if (inbound.sentBytes === Infinity) return; // it goes on writing
    inbound.sentBytes = Infinity;
    this.#cut(inbound, "content_length_mismatch");
    cutShort(inbound);
  }

  #bodyTimedOut(inbound: Inbound): void {
    const { status } = REFUSALS.body_timeout;
    if (!answerAndCut(inbound, status)) return;
    inbound.answeredStatus = status;
    this.#cut(inbound, "body_timeout");
    inbound.leave();
  }

  #writeStalled(inbound: Inbound): void {
    if (inbound.http2) this.#connections.streamReset("server");
    this.#cut(inbound, "write_stall");
    cutShort(inbound);
  }

  /** What its handler has begun goes on with messages whose client has gone. */
  #refuseHttp1(inbound: Inbound): void {
    const { status } = REFUSALS.bad_version;
    this.#cut(inbound, "http1_application");
    inbound.answeredStatus = status;
    this.#replaced.say(this.name);
    answerAndCut(inbound, status);
    inbound.leave();
  }

  #cut(inbound: Inbound, reason: CutReason): void {
    inbound.cut = this.#parts.core.count(reason);
  }

  // ── the connection ───────────────────────────────────────────────────────────────────────────

  /** A reply has begun on it. Costs O(requests in progress), and is asked only of connections that have some. */
  isReplying(connection: ConnectionState): boolean {
    for (let one = this.#peers.first; one !== undefined; one = one.next) {
      if (one.connection === connection && one.response.headersSent) return true;
    }
    return false;
  }

  /** Replies in progress say that their connections end with them. */
  leave(): void {
    for (let inbound = this.#peers.first; inbound !== undefined; inbound = inbound.next) {
      // Newest first: of pipelined requests only the last may say it. A head that is out has promised
      // to keep the connection: the next reply on it will say close.
      const { connection, response } = inbound;
      if (inbound.http2) inbound.last = true; // its handler has the response
      else if (!connection.ended && !response.headersSent) endAfter(inbound);
    }
  }
}

function isHttp2(request: IncomingMessage): boolean {
  return !(request instanceof NODE_HTTP.IncomingMessage) && "stream" in request;
}

/** What its connection's state hangs on: the session, or the socket. */
function holderOf(request: IncomingMessage, http2: boolean): WithConnection {
  return http2
    ? (request as unknown as { stream: { session: WithConnection } }).stream.session
    : (request.socket as WithConnection);
}

/** The reply says close, and nothing behind its request is served. */
function endAfter(inbound: Inbound): void {
  inbound.last = true;
  if (inbound.http2) {
    inbound.response.setHeader(LEAVING, "1"); // of a refusal; a handler's reply gets it with its head
    return;
  }
  sayClose(inbound.response);
  inbound.connection.ended = true;
}
