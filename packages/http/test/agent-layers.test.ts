/** A layer of the application that answers a request of `mesh.agent()` itself: there is no connection to give it. */
import { once } from "node:events";
import { request } from "node:http";
import type { Reply } from "@inmesh/core/spi";
import { expect, it } from "vitest";
import { doorsOf } from "./support/doors.ts";
import { answering, OK } from "./wire.ts";

const REPLY: Reply = {
  outcome: "success",
  code: 200,
  nacked: false,
  final: false,
  retryAfterMs: undefined,
  waitsForAll: false,
  changeHeaders() {},
  discard() {},
};
const answer = () => (): Promise<Reply> => Promise.resolve(REPLY);

it("P2: an attempt layer answers in place of the endpoint: the request fails with an error that says so", async () => {
  const peer = await answering(OK);
  const mesh = doorsOf([peer.address], {}, { attemptLayers: [answer] });
  const asked = request("http://orders/", { agent: mesh.agent() }).end();
  const [error] = (await once(asked, "error")) as [Error & { cause?: unknown }];
  expect(error.message).toContain("a layer of the application (callLayers, attemptLayers)");
  expect(error.cause).toMatchObject({ code: "denied", reason: "policy", progress: "not-sent" });
  expect(peer.requests).toEqual([]);
});
