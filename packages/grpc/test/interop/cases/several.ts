/** What only several servers can show. The last case takes one away, so they come at the end. */
import { Metadata } from "@grpc/grpc-js";
import assert from "node:assert/strict";
import { answerOf } from "../answers.ts";
import { testClient } from "../testing.ts";
import { largeUnary, type Cases } from "./common.ts";

const CALLS = 90;

export const SEVERAL_CASES: Cases = {
  async all_servers_share({ way, servers }) {
    // A mesh of its own, which has learned nothing from the failures of other cases.
    const opened = way.open(servers.map(({ port }) => port));
    const client = testClient(opened.args());
    const peers = new Set<string>();
    const one = (): Promise<unknown> =>
      answerOf((done) => {
        const call = client.emptyCall({}, new Metadata(), {}, (error, value) => {
          peers.add(call.getPeer());
          done(error, value);
        });
        return call;
      });
    await Promise.all(Array.from({ length: CALLS }, one));
    client.close();
    await opened.close();
    assert.equal(peers.size, servers.length, [...peers].join(", "));
  },

  async one_server_gone({ client, servers }) {
    const calls = Promise.all(Array.from({ length: 30 }, () => largeUnary(client)));
    await Promise.all([calls, servers[0]!.kill()]);
    for (let i = 0; i < CALLS; i += 1) await largeUnary(client);
  },
};
