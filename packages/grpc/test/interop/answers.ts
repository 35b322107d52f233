/** Calls of grpc-js as promises: the answer with its metadata, and the status of a stream. */
import { Metadata, type requestCallback, type StatusObject } from "@grpc/grpc-js";
import type { EventEmitter } from "node:events";

export interface Answer<T> {
  readonly value: T;
  readonly head: Metadata;
  readonly trailers: Metadata;
}

/** Resolves when value and status are both there; rejects with grpc-js's ServiceError. */
export function answerOf<T>(start: (done: requestCallback<T>) => EventEmitter): Promise<Answer<T>> {
  return new Promise((resolve, reject) => {
    let head = new Metadata();
    let trailers: Metadata | undefined;
    let value: T | undefined;
    const settle = (): void => {
      if (value !== undefined && trailers !== undefined) resolve({ value, head, trailers });
    };
    const call = start((error, answer) => {
      if (error !== null) reject(error);
      value = answer;
      settle();
    });
    call.on("metadata", (metadata: Metadata) => (head = metadata));
    call.on("status", (end: StatusObject) => {
      trailers = end.metadata;
      settle();
    });
  });
}

/** The status that ends a call, whichever it is. A stream must also be read for it to come. */
export function statusOf(call: EventEmitter): Promise<StatusObject> {
  call.on("error", () => {}); // says the same once more
  return new Promise((resolve) => call.once("status", resolve));
}
