/**
 * The Transport contract as a list of checks, whatever the protocol. An adapter plays the server;
 * the checks know nothing of wires. Run them with any test framework:
 *
 *   for (const { title, run } of transportConformance(adapter)) it(title, run);
 */
import { strict as assert } from "node:assert";
import type { Reply } from "../call.ts";
import { MeshError } from "../errors.ts";
import type { RoutedRequest } from "../route/facts.ts";
import {
  cancelled,
  microtasks,
  observed,
  settled,
  SOON_MS,
  until,
  wait,
  watched,
  type ConformanceAdapter,
  type ConformanceBench,
  type ConformanceCheck,
} from "./conformance-parts.ts";
import { sideBySideChecks } from "./side-by-side-conformance.ts";

const GRACE_MS = 100;

export function transportConformance<Req extends RoutedRequest, Res extends Reply>(
  adapter: ConformanceAdapter<Req, Res>,
): ConformanceCheck[] {
  type Bench = ConformanceBench<Req, Res>;
  const checks: ConformanceCheck[] = [];
  const check = (title: string, body: (bench: Bench) => Promise<void>, queueing = false): void => {
    checks.push({
      title,
      run: async () => {
        const bench = await adapter.open(queueing);
        try {
          await body(bench);
        } finally {
          await bench.connection.close(0);
          await bench.close();
        }
      },
    });
  };

  check("resolves when the head is here and settles when the body has ended", async (bench) => {
    const { attempt, outcomes } = watched(bench.request("answer"));
    const reply = await bench.connection.send(attempt);
    assert.equal(reply.outcome, "success");
    await bench.read(reply);
    await settled(outcomes);
    assert.deepEqual(outcomes, ["success"]);
    assert.ok(attempt.code > 0);
  });

  check("request and reply carry out changes of headers, and no verdict changes", async (bench) => {
    const name = "x-conformance";
    const request = bench.request("answer");
    request.changeHeaders({ taken: new Set(), given: [name, "1"] });
    request.changeHeaders({ taken: new Set([name]), given: [name, "2"] });
    assert.equal(request.header(name), "2");
    const { attempt, outcomes } = watched(request);
    const reply = await bench.connection.send(attempt);
    const { outcome, code } = reply;
    reply.changeHeaders({ taken: new Set([name]), given: [name, "3"] });
    assert.deepEqual([reply.outcome, reply.code], [outcome, code]);
    assert.equal(await bench.headerOf(reply, name), "3");
    reply.discard();
    await settled(outcomes);
  });

  check("resolves at the head although the body never ends", async (bench) => {
    const { attempt, outcomes } = watched(bench.request("stall-in-body"));
    await bench.connection.send(attempt);
    await wait(20);
    assert.deepEqual(outcomes, []);
    attempt.cancel(cancelled(), "abandoned");
    assert.deepEqual(outcomes, ["abandoned"]);
  });

  check("installs the canceller before it returns", async (bench) => {
    const { attempt } = watched(bench.request("silence"));
    const sending = bench.connection.send(attempt);
    assert.notEqual(attempt.canceller, undefined);
    attempt.cancel(cancelled(), "abandoned");
    await assert.rejects(sending);
  });

  for (const outcome of ["abandoned", "timeout"] as const) {
    check(`a cancelled attempt rejects in the same turn (${outcome})`, async (bench) => {
      const { attempt, outcomes } = watched(bench.request("silence"));
      const sending = observed(bench.connection.send(attempt));
      await until(() => bench.seen("silence") === 1);
      const error = cancelled(outcome);
      attempt.cancel(error, outcome);
      assert.deepEqual(outcomes, [outcome]);
      await microtasks();
      assert.equal(sending.error, error);
      await wait(20);
      assert.equal(outcomes.length, 1);
    });
  }

  check("cancelling twice settles once", async (bench) => {
    const { attempt, outcomes } = watched(bench.request("silence"));
    const sending = observed(bench.connection.send(attempt));
    attempt.cancel(cancelled(), "abandoned");
    attempt.cancel(cancelled("timeout"), "timeout");
    await microtasks();
    assert.ok(sending.error instanceof MeshError);
    assert.equal(outcomes.length, 1);
  });

  check("a cancel after the end changes nothing", async (bench) => {
    const { attempt, outcomes } = watched(bench.request("answer"));
    await bench.read(await bench.connection.send(attempt));
    await settled(outcomes);
    attempt.cancel(cancelled(), "abandoned");
    await wait(20);
    assert.deepEqual(outcomes, ["success"]);
  });

  check("a stalled body fails in the turn of the cancel", async (bench) => {
    const { attempt, outcomes } = watched(bench.request("stall-in-body"));
    const reading = observed(bench.read(await bench.connection.send(attempt)));
    await wait(20);
    attempt.cancel(cancelled("timeout"), "timeout");
    assert.deepEqual(outcomes, ["timeout"]);
    await wait(20);
    assert.ok(reading.error instanceof Error);
    assert.equal(outcomes.length, 1);
  });

  for (const behaviour of ["answer", "stall-in-body"] as const) {
    check(`an unread body can be dropped, twice (${behaviour})`, async (bench) => {
      const { attempt, outcomes } = watched(bench.request(behaviour));
      const reply = await bench.connection.send(attempt);
      reply.discard();
      reply.discard();
      if (behaviour === "stall-in-body") {
        // Whether the rest is awaited or the connection given up is the transport's choice.
        await wait(20);
        attempt.cancel(cancelled(), "abandoned");
      }
      await settled(outcomes);
      assert.equal(outcomes.length, 1);
      const next = watched(bench.request("answer"));
      await bench.read(await bench.connection.send(next.attempt));
      await settled(next.outcomes);
    });
  }

  check("a break before the reply rejects with a MeshError, already settled", async (bench) => {
    const { attempt, outcomes } = watched(bench.request("break"));
    let settledBefore = false;
    const error: unknown = await bench.connection.send(attempt).then(
      () => undefined,
      (reason: unknown) => {
        settledBefore = outcomes.length === 1;
        return reason;
      },
    );
    assert.ok(error instanceof MeshError);
    assert.equal(error.progress, "maybe-processed");
    assert.equal(attempt.error, error);
    assert.equal(settledBefore, true);
    assert.deepEqual(outcomes, ["failure"]);
    assert.equal(attempt.connectFailed, false);
  });

  check("a break in the body fails the body and settles as a failure", async (bench) => {
    const { attempt, outcomes } = watched(bench.request("break-in-body"));
    const reply = await bench.connection.send(attempt);
    await assert.rejects(bench.read(reply));
    assert.deepEqual(outcomes, ["failure"]);
    assert.ok(attempt.error instanceof MeshError);
  });

  check("no connection is a strike, and nothing was sent", async (bench) => {
    const { attempt, outcomes } = watched(bench.request("refuse", adapter.streams));
    await assert.rejects(bench.connection.send(attempt), (error) => {
      assert.ok(error instanceof MeshError);
      assert.equal(error.code, "connect_failed");
      assert.equal(error.progress, "not-sent");
      return true;
    });
    assert.deepEqual(outcomes, ["failure"]);
    assert.equal(attempt.connectFailed, true);
    assert.equal(attempt.call.replayable, true);
  });

  if (adapter.streams) {
    check(
      "a streamed body is replayable only until its first byte may have left",
      async (bench) => {
        const { attempt, outcomes } = watched(bench.request("answer", true));
        const sending = bench.connection.send(attempt);
        assert.equal(attempt.call.replayable, true);
        await bench.read(await sending);
        await settled(outcomes);
        assert.equal(attempt.call.replayable, false);
      },
    );
  }

  if (adapter.queues) {
    check(
      "a queued attempt rejects in the turn of its cancel, and is never sent",
      async (bench) => {
        const first = watched(bench.request("stall-in-body"));
        const reply = await bench.connection.send(first.attempt);
        for (const outcome of ["abandoned", "timeout"] as const) {
          const { attempt, outcomes } = watched(bench.request("answer", adapter.streams));
          const sending = observed(bench.connection.send(attempt));
          await wait(10);
          attempt.cancel(cancelled(outcome), outcome);
          // The endpoint had no part in it.
          assert.deepEqual(outcomes, ["abandoned"]);
          await microtasks();
          assert.ok(sending.error instanceof MeshError);
          assert.equal(attempt.call.replayable, true);
        }
        first.attempt.cancel(cancelled(), "abandoned");
        await bench.read(reply).catch(() => {});
        const last = watched(bench.request("answer"));
        await bench.read(await bench.connection.send(last.attempt));
        assert.equal(bench.seen("answer"), 1);
      },
      true,
    );
  }

  check("close waits for what is in flight", async (bench) => {
    const { attempt, outcomes } = watched(bench.request("answer"));
    const sending = bench.connection.send(attempt).then((reply) => bench.read(reply));
    await bench.connection.close(SOON_MS);
    await sending;
    assert.deepEqual(outcomes, ["success"]);
  });

  for (const behaviour of ["silence", "stall-in-body"] as const) {
    check(`close breaks off what outlasts its grace (${behaviour})`, async (bench) => {
      const { attempt, outcomes } = watched(bench.request(behaviour));
      const whole = observed(bench.connection.send(attempt).then((reply) => bench.read(reply)));
      await until(() => bench.seen(behaviour) === 1);
      await wait(20);
      const startedAt = performance.now();
      const closing = bench.connection.close(GRACE_MS);
      await Promise.all([closing, bench.connection.close(GRACE_MS)]);
      assert.ok(performance.now() - startedAt < GRACE_MS + 150, "closed within its grace");
      await settled(outcomes);
      await wait(20);
      assert.ok(whole.error instanceof Error);
      assert.deepEqual(outcomes, ["abandoned"]);
    });
  }

  return [...checks, ...sideBySideChecks(adapter)];
}
