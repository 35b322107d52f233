/**
 * What Node's parser could not read, or waited for too long. Node answers it by itself as long as
 * no code listens; listening is the only way to count, so the answers are given here, by the same rule.
 */
import type { Socket } from "node:net";
import { CONNECTION, type ConnectionState, type WithConnection } from "./connection-state.ts";
import type { CutReason } from "./cuts.ts";
import type { NodeServer } from "./listeners.ts";
import { closingReply } from "./raw-reply.ts";
import { dropSurplus, type LingerOptions } from "./surplus.ts";

interface Answer {
  readonly reason: CutReason;
  readonly status: number;
}

const MALFORMED: Answer = { reason: "malformed", status: 400 };
const ANSWERS: ReadonlyMap<unknown, Answer> = new Map([
  ["HPE_HEADER_OVERFLOW", { reason: "head_too_large", status: 431 }],
  ["HPE_CHUNK_EXTENSIONS_OVERFLOW", { reason: "chunk_extensions", status: 413 }],
  ["ERR_HTTP_REQUEST_TIMEOUT", { reason: "head_timeout", status: 408 }],
]);

/** `replying`: a reply has begun on that connection. An application that listens itself answers itself. */
export function countMalformed(
  server: NodeServer,
  count: (reason: CutReason) => void,
  replying: (connection: ConnectionState) => boolean,
  options: LingerOptions,
): void {
  server.on("clientError", (error: Error & { code?: unknown }, socket: Socket) => {
    const isParser = typeof error.code === "string" && error.code.startsWith("HPE_");
    const found = ANSWERS.get(error.code) ?? (isParser ? MALFORMED : undefined);
    // Behind the last request of a connection nothing is read as one: see ConnectionState.ended.
    const state = (socket as WithConnection)[CONNECTION];
    const ended = state?.ended === true;
    if (found !== undefined && !ended) count(found.reason);
    if (server.listenerCount("clientError") > 1) return;
    // The replies before it still go out.
    if (found !== undefined && ended && state.active > 0) return dropSurplus(socket, options);
    // A reply that has begun cannot be taken back: another one behind its head would be its body. And
    // behind the last one the client has been asked to leave.
    const mayAnswer = !ended && (state === undefined || state.active === 0 || !replying(state));
    if (found !== undefined && mayAnswer && socket.writable) {
      socket.write(closingReply(found.status));
    }
    socket.destroy(error);
  });
}
