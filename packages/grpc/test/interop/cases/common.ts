/** What all cases share: what they are given, and the messages they send. */
import { Metadata } from "@grpc/grpc-js";
import assert from "node:assert/strict";
import { answerOf, type Answer } from "../answers.ts";
import type { Running } from "../processes.ts";
import type {
  ClientArguments,
  OutputRequest,
  SimpleRequest,
  SimpleResponse,
  TestClient,
} from "../testing.ts";
import type { Way } from "../way.ts";

/** What a case works with. */
export interface Target {
  readonly client: TestClient;
  /** Arguments for one more client of the same servers. */
  readonly args: () => ClientArguments;
  readonly way: Way;
  readonly servers: readonly Running[];
}

/** Throws when something does not hold. */
export type Case = (target: Target) => Promise<void>;
export type Cases = Readonly<Record<string, Case>>;

export const REQUEST_BYTES = 271_828;
export const RESPONSE_BYTES = 314_159;

export function unary(
  client: TestClient,
  request: SimpleRequest,
  metadata: Metadata = new Metadata(),
): Promise<Answer<SimpleResponse>> {
  return answerOf((done) => client.unaryCall(request, metadata, {}, done));
}

export function largeRequest(): SimpleRequest {
  return { responseSize: RESPONSE_BYTES, payload: { body: Buffer.alloc(REQUEST_BYTES) } };
}

export async function largeUnary(client: TestClient): Promise<void> {
  const { value } = await unary(client, largeRequest());
  assert.equal(lengthOf(value), RESPONSE_BYTES);
}

export function outputRequest(responseBytes: number, requestBytes: number): OutputRequest {
  return {
    responseParameters: [{ size: responseBytes }],
    payload: { body: Buffer.alloc(requestBytes) },
  };
}

export function lengthOf(message: SimpleResponse): number {
  return message.payload?.body?.length ?? 0;
}
