/**
 * The sockets that a lane is dialling. grpc-js forgets a dial that it gives up, and the kernel goes on
 * with it for two minutes, during which the process cannot end; here it ends with the time to connect.
 * Node's diagnostics channel names each socket that is being dialled, and an AsyncLocalStorage the lane
 * that it is dialled for. Both are public.
 *
 * The same two find the streams that a server pushes on such a socket. grpc-js leaves push allowed and
 * listens to no pushed stream, so the next error of the connection would be an uncaught exception. And
 * they find its session, which has to be ended in the order of core's `streams-first.ts`.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { subscribe } from "node:diagnostics_channel";
// oxlint-disable-next-line no-restricted-imports -- types only
import type { ClientHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import { endStreamsFirst, watchOpen, withoutCaller } from "@inmesh/core/spi";
import { dialledUnseen } from "../internals.ts";

const KEEPALIVE_DELAY_MS = 10_000;
/** RFC 9113 §7: REFUSED_STREAM. */
const REFUSED_STREAM = 7;

const dialling = new AsyncLocalStorage<Dials>();
let subscribed = false;

/** From the first lane on and for good: a channel that is closed dials once more, a second later. */
function subscribeOnce(): void {
  if (subscribed) return;
  subscribed = true;
  subscribe("net.client.socket", (message) => {
    dialling.getStore()?.add((message as { readonly socket: Socket }).socket);
  });
  // Node publishes it in the context in which the connection was made.
  subscribe("http2.client.stream.created", (message) => {
    const { stream } = message as { readonly stream: ClientHttp2Stream };
    const isOurs = dialling.getStore() !== undefined || opening;
    if (isOurs && stream.session !== undefined) endStreamsFirst(stream.session);
    watchOpen(stream);
    if (isOurs && isPushed(stream)) refuse(stream);
  });
}

/** What `open` begins on a connection of a lane's, in the context of a caller, is known as the lane's. */
let opening = false;
export function onLane<T>(open: () => T): T {
  opening = true;
  try {
    return open();
  } finally {
    opening = false;
  }
}

/** Is called for the sockets of a lane. */
export interface DialEvents {
  /** It is being dialled. */
  dialling(socket: Socket): void;
  /** It has become the lane's connection. */
  won(socket: Socket): void;
}

export class Dials {
  readonly #events: DialEvents | undefined;
  readonly #sockets = new Set<Socket>();
  #seen = false;
  #over = false;

  /** `events`: default none. */
  constructor(events?: DialEvents) {
    this.#events = events;
    subscribeOnce();
  }

  /** What `run` dials, then or later, is this lane's, and outlives the call that needed it first. */
  during<T>(run: () => T): T {
    return withoutCaller(() => dialling.run(this, run));
  }

  /** The socket is not connecting yet. */
  add(socket: Socket): void {
    this.#seen = true;
    socket.setKeepAlive(true, KEEPALIVE_DELAY_MS);
    // Not at once: a socket that is destroyed before it connects comes back to life when it does.
    if (this.#over) process.nextTick(destroy, socket);
    else {
      this.#sockets.add(socket);
      this.#events?.dialling(socket);
    }
  }

  /** TCP has connected, and what comes after that is under way. */
  get connected(): boolean {
    for (const { connecting, destroyed } of this.#sockets)
      if (!connecting && !destroyed) return true;
    return false;
  }

  /** There is a connection: of two address families one was faster. */
  won(): void {
    if (!this.#seen) dialledUnseen();
    for (const socket of this.#sockets) {
      if (socket.connecting) socket.destroy();
      else if (!socket.destroyed) this.#events?.won(socket);
    }
    this.#sockets.clear();
  }

  /** There will be none, or no further one. */
  giveUp(): void {
    this.#over = true;
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }
}

/** Servers begin streams of even numbers; one of ours that waits for its turn has no number yet. */
function isPushed({ id = 1 }: ClientHttp2Stream): boolean {
  return id % 2 === 0;
}

function refuse(stream: ClientHttp2Stream): void {
  stream.on("error", ignore);
  stream.close(REFUSED_STREAM);
}

function ignore(): void {}

function destroy(socket: Socket): void {
  socket.destroy();
}
