/** Many messages one way or both, and streams that end early. */
import { Metadata, status } from "@grpc/grpc-js";
import assert from "node:assert/strict";
import { answerOf, statusOf } from "../answers.ts";
import type { InputResponse, SimpleResponse } from "../testing.ts";
import { lengthOf, outputRequest, type Cases } from "./common.ts";

const REQUEST_SIZES = [27_182, 8, 1_828, 45_904];
const RESPONSE_SIZES = [31_415, 9, 2_653, 58_979];

export const STREAM_CASES: Cases = {
  async client_streaming({ client }) {
    const { value } = await answerOf<InputResponse>((done) => {
      const call = client.streamingInputCall(new Metadata(), {}, done);
      for (const size of REQUEST_SIZES) call.write({ payload: { body: Buffer.alloc(size) } });
      call.end();
      return call;
    });
    assert.equal(value.aggregatedPayloadSize, 74_922);
  },

  async server_streaming({ client }) {
    const request = { responseParameters: RESPONSE_SIZES.map((size) => ({ size })) };
    const call = client.streamingOutputCall(request, new Metadata(), {});
    const sizes: number[] = [];
    for await (const message of call) sizes.push(lengthOf(message));
    assert.deepEqual(sizes, RESPONSE_SIZES);
  },

  async ping_pong({ client }) {
    const call = client.fullDuplexCall(new Metadata(), {});
    const ended = statusOf(call);
    const sizes: number[] = [];
    const next = (): void => {
      const at = sizes.length;
      if (at === REQUEST_SIZES.length) call.end();
      else call.write(outputRequest(RESPONSE_SIZES[at]!, REQUEST_SIZES[at]!));
    };
    call.on("data", (message: SimpleResponse) => {
      sizes.push(lengthOf(message));
      next();
    });
    next();
    assert.equal((await ended).code, status.OK);
    assert.deepEqual(sizes, RESPONSE_SIZES);
  },

  async empty_stream({ client }) {
    const call = client.fullDuplexCall(new Metadata(), {});
    const ended = statusOf(call);
    let messages = 0;
    call.on("data", () => (messages += 1));
    call.end();
    assert.equal((await ended).code, status.OK);
    assert.equal(messages, 0);
  },

  async timeout_on_sleeping_server({ client }) {
    const call = client.fullDuplexCall(new Metadata(), { deadline: Date.now() + 1 });
    const ended = statusOf(call);
    call.on("data", () => {});
    call.write({ payload: { body: Buffer.alloc(27_182) } });
    assert.equal((await ended).code, status.DEADLINE_EXCEEDED);
  },

  async cancel_after_begin({ client }) {
    const call = client.streamingInputCall(new Metadata(), {}, () => {});
    const ended = statusOf(call);
    call.cancel();
    assert.equal((await ended).code, status.CANCELLED);
  },

  async cancel_after_first_response({ client }) {
    const call = client.fullDuplexCall(new Metadata(), {});
    const ended = statusOf(call);
    call.on("data", () => call.cancel());
    call.write(outputRequest(31_415, 27_182));
    assert.equal((await ended).code, status.CANCELLED);
  },
};
