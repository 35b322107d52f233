/** What a server asks for between two attempts, and when another endpoint is tried instead. */
import { describe, expect, it } from "vitest";
import { Call } from "../call.ts";
import { createMesh } from "../mesh.ts";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { type StubExchange, StubRequest, stubProtocol } from "../testing/stub-transport.ts";

const FIRST = "10.0.0.1:80";
const SECOND = "10.0.0.2:80";

interface Sent {
  readonly atMs: number;
  readonly address: string;
}

/** One call with 5 s; the first endpoint that it reaches answers with `busy`. */
async function asked(
  endpoints: readonly string[],
  busy: (exchange: StubExchange) => void,
  others: (exchange: StubExchange) => void = (exchange) => exchange.reply(),
): Promise<{
  sent: Sent[];
  code: number;
  tookMs: number;
  runtime: SimRuntime;
  ask(): Promise<void>;
}> {
  const runtime = new SimRuntime(3);
  const all: Sent[] = [];
  let first: string | undefined;
  const protocol = stubProtocol((exchange) => {
    const { address } = exchange.attempt.endpoint!;
    first ??= address;
    all.push({ atMs: runtime.now(), address });
    (address === first ? busy : others)(exchange);
  });
  const service = createMesh({ env: {}, runtime }).service("orders", protocol, {
    discovery: { static: [...endpoints] },
    retry: { attempts: 2 },
    timeouts: { requestMs: 5_000 },
  });
  const result = { sent: all, code: 0, tookMs: -1, runtime, ask };
  async function ask(): Promise<void> {
    all.length = 0;
    const startedAt = runtime.now();
    const call = new Call("orders", new StubRequest("/", "GET"), true, true);
    void service.current(call).then((reply) => {
      result.code = reply.code;
      result.tookMs = runtime.now() - startedAt;
    });
    await runtime.advance(4_999);
  }
  await ask();
  return result;
}

const wait =
  (retryAfterMs: number, waitsForAll = false) =>
  (exchange: StubExchange): void =>
    exchange.reply("overloaded", waitsForAll ? 429 : 503, { retryAfterMs, waitsForAll });

describe("a pause beyond the deadline", () => {
  it.each([5_000, 120_000, 1e15, Infinity])(
    "R15 CO: of %d ms, for one endpoint: another that is idle is tried instead",
    async (ms) => {
      const { sent, code, tookMs } = await asked([FIRST, SECOND], wait(ms));
      expect(code).toBe(200);
      expect(new Set(sent.map(({ address }) => address))).toEqual(new Set([FIRST, SECOND]));
      expect(tookMs).toBeLessThanOrEqual(25);
    },
  );

  it("R15 CO: for the whole service: the reply goes back at once", async () => {
    const { sent, code, tookMs } = await asked([FIRST, SECOND], wait(60_001, true));
    expect([sent.length, code, tookMs]).toEqual([1, 429, 0]);
  });

  it("R15 CO: there is no other endpoint: the reply goes back at once", async () => {
    const { sent, code, tookMs } = await asked([FIRST], wait(5_000));
    expect([sent.length, code, tookMs]).toEqual([1, 503, 0]);
  });

  it("R15 CO: the others have asked to be spared too: the reply goes back at once", async () => {
    const all = await asked([FIRST, SECOND], wait(30_000), wait(30_000));
    expect(all.sent).toHaveLength(2); // each has been asked, and has said so
    await all.ask();
    expect([all.sent.length, all.code, all.tookMs]).toEqual([1, 503, 0]);
  });
});

describe("a pause within the deadline", () => {
  it.each([false, true])(
    "R15 CO: is kept, also for another endpoint (for all: %s)",
    async (forAll) => {
      const { sent, code } = await asked([FIRST, SECOND], wait(700, forAll));
      expect(code).toBe(200);
      expect(sent[1]!.atMs - sent[0]!.atMs).toBe(700);
    },
  );

  it("R15 CO: nothing was asked, or nothing that has a meaning: the computed pause", async () => {
    const { sent, code } = await asked([FIRST, SECOND], (exchange) =>
      exchange.reply("failure", 503),
    );
    expect(code).toBe(200);
    expect(sent[1]!.atMs - sent[0]!.atMs).toBeLessThanOrEqual(25);
  });
});
