/** One message each way: sizes, statuses, metadata, and many calls at once and in turn. */
import { Metadata, status } from "@grpc/grpc-js";
import assert from "node:assert/strict";
import { answerOf, statusOf } from "../answers.ts";
import { testClient, unimplementedClient, type SimpleResponse } from "../testing.ts";
import {
  largeRequest,
  largeUnary,
  lengthOf,
  outputRequest,
  REQUEST_BYTES,
  RESPONSE_BYTES,
  unary,
  type Cases,
} from "./common.ts";

const SPECIAL_MESSAGE = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n";
const PARALLEL_CALLS = 40;
const SOAK_CALLS = 20;

export const UNARY_CASES: Cases = {
  async empty_unary({ client }) {
    await answerOf((done) => client.emptyCall({}, new Metadata(), {}, done));
  },

  async large_unary({ client }) {
    await largeUnary(client);
  },

  async status_code_and_message({ client }) {
    const responseStatus = { code: status.UNKNOWN, message: "test status message" };
    await mustEnd(unary(client, { responseStatus }), responseStatus);
    const call = client.fullDuplexCall(new Metadata(), {});
    const ended = statusOf(call);
    call.on("data", () => {});
    call.write({ responseStatus });
    call.end();
    const { code, details } = await ended;
    assert.deepEqual({ code, message: details }, responseStatus);
  },

  async special_status_message({ client }) {
    const responseStatus = { code: status.UNKNOWN, message: SPECIAL_MESSAGE };
    await mustEnd(unary(client, { responseStatus }), responseStatus);
  },

  async unimplemented_method({ client }) {
    const call = answerOf((done) => client.unimplementedCall({}, new Metadata(), {}, done));
    await mustEnd(call, { code: status.UNIMPLEMENTED });
  },

  async unimplemented_service({ args }) {
    const client = unimplementedClient(args());
    const call = answerOf((done) => client.unimplementedCall({}, new Metadata(), {}, done));
    await mustEnd(call, { code: status.UNIMPLEMENTED }).finally(() => client.close());
  },

  async custom_metadata({ client }) {
    const answer = await unary(client, largeRequest(), echoed());
    mustEcho(answer.head, answer.trailers);
    const call = client.fullDuplexCall(echoed(), {});
    const ended = statusOf(call);
    const sizes: number[] = [];
    let head = new Metadata();
    call.on("metadata", (metadata: Metadata) => (head = metadata));
    call.on("data", (message: SimpleResponse) => sizes.push(lengthOf(message)));
    call.write(outputRequest(RESPONSE_BYTES, REQUEST_BYTES));
    call.end();
    const end = await ended;
    assert.equal(end.code, status.OK);
    assert.deepEqual(sizes, [RESPONSE_BYTES]);
    mustEcho(head, end.metadata);
  },

  async concurrent_large_unary({ client }) {
    await Promise.all(Array.from({ length: PARALLEL_CALLS }, () => largeUnary(client)));
  },

  async rpc_soak({ client }) {
    for (let i = 0; i < SOAK_CALLS; i += 1) await largeUnary(client);
  },

  async channel_soak({ args }) {
    for (let i = 0; i < SOAK_CALLS; i += 1) {
      const client = testClient(args());
      await largeUnary(client).finally(() => client.close());
    }
  },
};

async function mustEnd(
  call: Promise<unknown>,
  expected: { readonly code: number; readonly message?: string },
): Promise<void> {
  const error = await call.then(
    () => assert.fail("the call succeeded"),
    (reason: unknown) => reason as { code: number; details: string },
  );
  assert.equal(error.code, expected.code, error.details);
  if (expected.message !== undefined) assert.equal(error.details, expected.message);
}

const INITIAL = "x-grpc-test-echo-initial";
const TRAILING = "x-grpc-test-echo-trailing-bin";
const TRAILING_VALUE = Buffer.from([0xab, 0xab, 0xab]);

function echoed(): Metadata {
  const metadata = new Metadata();
  metadata.set(INITIAL, "test_initial_metadata_value");
  metadata.set(TRAILING, TRAILING_VALUE);
  return metadata;
}

function mustEcho(head: Metadata, trailers: Metadata): void {
  assert.deepEqual(head.get(INITIAL), ["test_initial_metadata_value"]);
  assert.deepEqual(trailers.get(TRAILING), [TRAILING_VALUE]);
}
