import { Readable } from "node:stream";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ReplayedBody, type BodyReader } from "./body.ts";
import { ReplayMemory } from "./memory.ts";

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function textOf(reader: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of reader) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

/** A source that counts what it was asked for, and waits for `open` before its chunk of that number. */
function sourceOf(chunks: readonly string[], stopAt = Infinity) {
  const state = { asked: 0, left: 0, open: () => {} };
  const opened = new Promise<void>((resolve) => (state.open = resolve));
  const source: AsyncIterable<Uint8Array> = {
    [Symbol.asyncIterator]: () => ({
      async next() {
        const number = state.asked++;
        if (number === stopAt) await opened;
        const text = chunks[number];
        return text === undefined
          ? { done: true, value: undefined }
          : { done: false, value: Buffer.from(text) };
      },
      async return() {
        state.left++;
        throw new Error("is of no interest any more");
      },
    }),
  };
  return { source, state };
}

describe("ReplayedBody", () => {
  it("a stream goes out twice, from its start, side by side and one after the other", async () => {
    const memory = new ReplayMemory();
    const body = new ReplayedBody(Readable.from([Buffer.from("one "), Buffer.from("two")]), memory);
    const both = await Promise.all([textOf(body.read()), textOf(body.read())]);
    expect(both).toEqual(["one two", "one two"]);
    expect(await textOf(body.read())).toBe("one two");
    expect(memory.bytes).toBeGreaterThan(7);
    body.close();
    expect(memory.bytes).toBe(0);
  });

  it("the source is read when a reader wants more, and no further", async () => {
    const { source, state } = sourceOf(["a", "b", "c"]);
    const body = new ReplayedBody(source, new ReplayMemory());
    const fast = body.read();
    const slow = body.read();
    await turn();
    expect(state.asked).toBe(0);
    await fast.next();
    await turn();
    expect(state.asked).toBe(1);
    await slow.next();
    await turn();
    expect(state.asked).toBe(1);
    await fast.next();
    expect(state.asked).toBe(2);
    body.close();
  });

  it("64 KiB are kept; a longer body is sent once, by the reader that is farthest", async () => {
    const memory = new ReplayMemory();
    const overflows: (BodyReader | undefined)[] = [];
    const chunk = Buffer.alloc(30_000, "x");
    const body = new ReplayedBody(Readable.from([chunk, chunk, chunk, chunk]), memory, {
      onOverflow: (last) => overflows.push(last),
    });
    const slow = body.read();
    const fast = body.read();
    await slow.next();
    await fast.next();
    await fast.next();
    expect(body.replayable).toBe(true);
    await fast.next();
    expect(overflows).toEqual([fast]);
    expect(body.replayable).toBe(false);
    await expect(slow.next()).rejects.toMatchObject({ code: "cancelled", reason: "hedge_lost" });
    await expect(body.read().next()).rejects.toMatchObject({ reason: "hedge_lost" });
    expect(await textOf(fast)).toHaveLength(30_000);
    expect(memory.bytes).toBe(0);
  });

  it("an error of the source reaches each reader, and a read that is not awaited rejects nothing", async () => {
    const rejections: unknown[] = [];
    const note = (error: unknown): void => void rejections.push(error);
    process.on("unhandledRejection", note);
    const fault = new Error("the disk is gone");
    const body = new ReplayedBody(
      Readable.from(
        (async function* () {
          yield Buffer.from("part");
          await turn();
          throw fault;
        })(),
      ),
      new ReplayMemory(),
    );
    const [one, two] = [body.read(), body.read()];
    await one.next();
    void one.next();
    await two.next();
    await expect(two.next()).rejects.toBe(fault);
    const late = body.read();
    expect((await late.next()).value?.toString()).toBe("part");
    await expect(late.next()).rejects.toBe(fault);
    body.close();
    await turn();
    await turn();
    process.off("unhandledRejection", note);
    expect(rejections).toEqual([]);
  });

  it.each([
    ["no bytes", [{}], "a chunk of the body is a object, not bytes"],
    ["no iterator", undefined, "is not a function"],
  ])("a source of %s is an error of the body", async (_, given, message) => {
    const source = (given === undefined ? {} : Readable.from(given)) as AsyncIterable<Uint8Array>;
    const body = new ReplayedBody(source, new ReplayMemory());
    await expect(textOf(body.read())).rejects.toThrow(message);
    body.close();
  });

  it("the end of the call ends what waits, and notifies the source, also while it owes a chunk", async () => {
    const { source, state } = sourceOf(["a", "b"], 1);
    const memory = new ReplayMemory();
    const body = new ReplayedBody(source, memory);
    const reader = body.read();
    await reader.next();
    const waiting = reader.next();
    await turn();
    body.close();
    expect(await waiting).toEqual({ done: true, value: undefined });
    expect(state.left).toBe(1);
    state.open();
    await turn();
    expect(memory.bytes).toBe(0);
    body.close();
    expect(state.left).toBe(1);
  });

  it("a reader that leaves while it waits is none that could go on alone", async () => {
    const { source, state } = sourceOf(["a", "b", "c"], 1);
    const memory = new ReplayMemory(1 + 64);
    const overflows: (BodyReader | undefined)[] = [];
    const body = new ReplayedBody(source, memory, { onOverflow: (last) => overflows.push(last) });
    const leaver = body.read();
    await leaver.next();
    const waiting = leaver.next();
    await leaver.return();
    expect((await waiting).done).toBe(true);
    const stays = body.read();
    const read = textOf(stays);
    state.open();
    expect(await read).toBe("abc");
    expect(overflows).toEqual([stays]);
  });

  it("any number of readers in any order gets the same bytes or an explicit loss", async () => {
    const text = fc.string({ minLength: 0, maxLength: 40 });
    const plan = fc.array(
      fc.tuple(fc.constantFrom("next", "read", "leave", "commit", "wait"), fc.nat(5)),
      { maxLength: 40 },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(text, { maxLength: 12 }),
        plan,
        fc.nat(900),
        async (parts, steps, max) => {
          const memory = new ReplayMemory();
          const body = new ReplayedBody(
            Readable.from(parts.map((part) => Buffer.from(part))),
            memory,
            { maxBytes: max },
          );
          const readers: { reader: BodyReader; got: Uint8Array[]; left: boolean }[] = [];
          const begin = (): void =>
            void readers.push({ reader: body.read(), got: [], left: false });
          const ask = (one: (typeof readers)[number]): Promise<boolean> =>
            one.reader.next().then(({ done, value }) => {
              if (done !== true) one.got.push(value);
              return done !== true;
            });
          begin();
          for (const [what, n] of steps) {
            const one = readers[n % readers.length]!;
            if (what === "next") void ask(one).catch(() => {});
            else if (what === "read") begin();
            else if (what === "leave") {
              one.left = true;
              void one.reader.return();
            } else if (what === "commit") body.commit();
            else await turn();
          }
          const whole = Buffer.concat(parts.map((part) => Buffer.from(part)));
          for (const one of readers) {
            let lost = false;
            try {
              while (await ask(one));
            } catch (error) {
              lost = true;
              expect(error).toMatchObject({ reason: "hedge_lost" });
            }
            const got = Buffer.concat(one.got);
            expect(whole.subarray(0, got.length).equals(got)).toBe(true);
            if (!lost && !one.left) expect(got.length).toBe(whole.length);
          }
          body.close();
          expect(memory.bytes).toBe(0);
        },
      ),
      { numRuns: 150 },
    );
  });
});
