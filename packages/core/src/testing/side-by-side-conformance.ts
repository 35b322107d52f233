/**
 * The part of the Transport contract about two attempts of one call in flight: each has its own head, its own end
 * and its own verdict, and the one that is not chosen is ended without a trace on the other.
 */
import { strict as assert } from "node:assert";
import { Attempt, Call, type Outcome, type Reply } from "../call.ts";
import type { RoutedRequest } from "../route/facts.ts";
import {
  cancelled,
  observed,
  PLAY,
  settled,
  until,
  wait,
  watch,
  watched,
  type Behaviour,
  type ConformanceAdapter,
  type ConformanceBench,
  type ConformanceCheck,
} from "./conformance-parts.ts";

export function sideBySideChecks<Req extends RoutedRequest, Res extends Reply>(
  adapter: ConformanceAdapter<Req, Res>,
): ConformanceCheck[] {
  type Bench = ConformanceBench<Req, Res>;
  const checks: ConformanceCheck[] = [];

  /** Runs with both attempts on one connection, and with one of their own each. */
  const check = (title: string, body: (one: Bench, two: Bench) => Promise<void>): void => {
    for (const shared of [true, false]) {
      checks.push({
        title: `side by side, ${shared ? "one connection" : "two endpoints"}: ${title}`,
        run: async () => {
          const one = await adapter.open(false);
          const two = shared ? one : await adapter.open(false);
          try {
            await body(one, two);
            await until(() => one.open() + two.open() === 0);
            // What is left works.
            for (const bench of [one, two]) await whole(bench);
          } finally {
            for (const bench of [one, two]) {
              await bench.connection.close(0);
              await bench.close();
            }
          }
        },
      });
    }
  };

  async function whole(bench: Bench): Promise<void> {
    const { attempt, outcomes } = watched(bench.request("answer"));
    await bench.read(await bench.connection.send(attempt));
    await settled(outcomes);
    assert.deepEqual(outcomes, ["success"]);
  }

  /** Two attempts of a call, of which the server sees the behaviour of each. */
  function pairOf(bench: Bench, request: Req, plays: readonly [Behaviour, Behaviour]) {
    const call = new Call<Req>("svc", request, true, true);
    bench.begun?.(call);
    const first = watch(new Attempt(call, 1, "first"));
    call.attempt = first.attempt;
    const beside = first.attempt.beside();
    assert.ok(typeof beside !== "string", "there is a second attempt");
    const second = watch(beside);
    first.attempt.setHeader(PLAY, plays[0]);
    second.attempt.setHeader(PLAY, plays[1]);
    return { call, first, second };
  }

  check("both succeed, each with a body of its own", async (one, two) => {
    const { call, first, second } = pairOf(one, one.request("silence"), ["answer", "answer"]);
    const sent = [one.connection.send(first.attempt), two.connection.send(second.attempt)];
    const [reply, other] = await Promise.all(sent);
    // A reader that a protocol has one of is the chosen one's.
    call.choose(second.attempt);
    await two.read(other!);
    reply!.discard();
    await settled(first.outcomes);
    await settled(second.outcomes);
    assert.deepEqual(second.outcomes, ["success"]);
    assert.equal(first.outcomes.length, 1);
    assert.notEqual(first.outcomes[0], "failure");
  });

  check("one runs out of its own time and the other goes on", async (one, two) => {
    const { call, first, second } = pairOf(one, one.request("answer"), ["silence", "answer"]);
    const failing = observed(one.connection.send(first.attempt));
    const reply = await two.connection.send(second.attempt);
    first.attempt.cancel(cancelled("timeout"), "timeout");
    assert.deepEqual(first.outcomes, ["timeout"]);
    call.choose(second.attempt);
    await two.read(reply);
    await settled(second.outcomes);
    assert.deepEqual([first.outcomes, second.outcomes], [["timeout"], ["success"]]);
    assert.equal((failing.error as { reason?: unknown }).reason, "call_deadline");
  });

  for (const behaviour of ["silence", "stall-in-head", "stall-in-body"] as const) {
    check(
      `the one that loses is ended in the turn of the choice (${behaviour})`,
      async (one, two) => {
        const { call, first, second } = pairOf(one, one.request("answer"), [behaviour, "answer"]);
        const losing = observed(
          one.connection.send(first.attempt).then((reply) => {
            if (behaviour !== "stall-in-body") return undefined;
            return one.read(reply);
          }),
        );
        await until(() => one.seen(behaviour) === 1);
        await wait(20);
        const reply = await two.connection.send(second.attempt);
        call.choose(second.attempt);
        assert.deepEqual(first.outcomes, ["abandoned"]);
        assert.equal(first.attempt.error?.reason, "hedge_lost");
        assert.equal(first.attempt.connectFailed, false);
        assert.equal(first.attempt.busyForMs, 0);
        await two.read(reply);
        await settled(second.outcomes);
        await until(() => losing.error !== undefined);
        assert.deepEqual([first.outcomes, second.outcomes], [["abandoned"], ["success"]]);
        assert.equal(second.attempt.error, undefined);
      },
    );
  }

  check("the second loses as the first does", async (one, two) => {
    const { call, first, second } = pairOf(one, one.request("answer"), ["answer", "silence"]);
    const losing = observed(two.connection.send(second.attempt));
    await until(() => two.seen("silence") === 1);
    const reply = await one.connection.send(first.attempt);
    call.choose(first.attempt);
    assert.deepEqual(second.outcomes, ["abandoned"]);
    await one.read(reply);
    await settled(first.outcomes);
    assert.deepEqual(first.outcomes, ["success"]);
    assert.ok(losing.error instanceof Error);
  });

  check(
    "the choice comes when the other has ended already: it keeps its verdict",
    async (one, two) => {
      const { call, first, second } = pairOf(one, one.request("answer"), ["answer", "silence"]);
      const losing = observed(two.connection.send(second.attempt));
      await one.read(await one.connection.send(first.attempt));
      await settled(first.outcomes);
      call.choose(second.attempt);
      assert.deepEqual([first.outcomes, second.outcomes], [["success"], []]);
      second.attempt.cancel(cancelled(), "abandoned");
      assert.deepEqual([first.outcomes, second.outcomes], [["success"], ["abandoned"]]);
      await until(() => losing.error !== undefined);
    },
  );

  for (const outcome of ["abandoned", "timeout"] as const) {
    const what = outcome === "timeout" ? "the deadline passes" : "the caller leaves";
    check(`${what} while both run: both end, once each`, async (one, two) => {
      const { call, first, second } = pairOf(one, one.request("answer"), [
        "silence",
        "stall-in-body",
      ]);
      const running = [
        observed(one.connection.send(first.attempt)),
        observed(two.connection.send(second.attempt).then((reply) => two.read(reply))),
      ];
      await until(() => one.seen("silence") === 1 && two.seen("stall-in-body") === 1);
      await wait(20);
      call.cancel(cancelled(outcome), outcome);
      assert.deepEqual([first.outcomes, second.outcomes], [[outcome], [outcome]]);
      await until(() => running.every(({ error }) => error !== undefined));
      await wait(20);
      assert.deepEqual([first.outcomes, second.outcomes], [[outcome], [outcome]]);
    });
  }

  check("what one attempt alone sends is not in the head of the other", async (one, two) => {
    const { call, first, second } = pairOf(one, one.request("silence"), ["answer", "answer"]);
    first.attempt.setHeader("x-of-first", "1");
    second.attempt.setHeader("x-of-second", "2");
    const replies = [
      await one.connection.send(first.attempt),
      await two.connection.send(second.attempt),
    ];
    call.choose(second.attempt);
    await two.read(replies[1]!);
    replies[0]!.discard();
    await settled(first.outcomes);
    const heads = one === two ? one.heads : [...one.heads, ...two.heads];
    const own = heads.map((head) => ({
      first: head.includes("x-of-first: 1"),
      second: head.includes("x-of-second: 2"),
    }));
    assert.deepEqual(own, [
      { first: true, second: false },
      { first: false, second: true },
    ]);
    assert.equal(one.request("answer").header("x-of-first"), undefined);
    assert.equal(call.request.header("x-of-second"), undefined);
  });

  if (adapter.bodies) {
    check("a body that can be sent again is sent by both", async (one, two) => {
      const { call, first, second } = pairOf(one, one.requestWith!("the body"), [
        "silence",
        "answer",
      ]);
      const losing = observed(one.connection.send(first.attempt));
      await until(() => one.seen("silence") === 1);
      await until(() => one.bodies.length === 1);
      const reply = await two.connection.send(second.attempt);
      call.choose(second.attempt);
      await two.read(reply);
      await settled(second.outcomes);
      const bodies = one === two ? one.bodies : [...one.bodies, ...two.bodies];
      assert.deepEqual(bodies, ["the body", "the body"]);
      assert.ok(losing.error instanceof Error);
    });
  }

  const end = async (bench: Bench): Promise<void> => {
    await bench.connection.close(0);
    await bench.close();
  };
  const alone = (title: string, run: (one: Bench, two: Bench) => Promise<void>): void => {
    checks.push({
      title: `side by side: ${title}`,
      run: async () => {
        const [one, two] = [await adapter.open(false), await adapter.open(false)];
        try {
          await run(one, two);
          await until(() => one.open() + two.open() === 0);
        } finally {
          await end(one);
          await end(two);
        }
      },
    });
  };

  for (const behaviour of ["break", "break-in-body"] as const) {
    alone(
      `the connection of one dies, and the other does not notice (${behaviour})`,
      async (one, two) => {
        const { call, first, second } = pairOf(one, one.request("silence"), [behaviour, "answer"]);
        const failing = observed(
          one.connection.send(first.attempt).then((reply) => one.read(reply)),
        );
        await settled(first.outcomes);
        const reply = await two.connection.send(second.attempt);
        call.choose(second.attempt);
        await two.read(reply);
        await settled(second.outcomes);
        await until(() => failing.error !== undefined);
        assert.deepEqual([first.outcomes, second.outcomes], [["failure"], ["success"]]);
      },
    );
  }

  alone(
    "the connection of the one that lost dies afterwards: no second verdict",
    async (one, two) => {
      const { call, first, second } = pairOf(one, one.request("silence"), ["silence", "answer"]);
      const losing = observed(one.connection.send(first.attempt));
      await until(() => one.seen("silence") === 1);
      const reply = await two.connection.send(second.attempt);
      call.choose(second.attempt);
      await until(() => one.open() === 0);
      await end(one);
      await two.read(reply);
      await settled(second.outcomes);
      await wait(20);
      const verdicts: Outcome[][] = [first.outcomes, second.outcomes];
      assert.deepEqual(verdicts, [["abandoned"], ["success"]]);
      assert.ok(losing.error instanceof Error);
    },
  );

  if (adapter.streams) {
    alone("a body that is a stream, once begun, has no second attempt", async (one) => {
      const { attempt, outcomes } = watched(one.request("answer", true));
      attempt.call.attempt = attempt;
      await one.read(await one.connection.send(attempt));
      await settled(outcomes);
      assert.equal(attempt.beside(), "not_replayable");
    });
  }

  return checks;
}
