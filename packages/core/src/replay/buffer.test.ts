import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ReplayBuffer, type ReplayOwner, type ReplayReader } from "./buffer.ts";
import { ReplayMemory } from "./memory.ts";

interface Item {
  readonly number: number;
  readonly bytes: number;
}

const OVERHEAD = 64;

/** One attempt: it takes what it is asked to, and notes it. */
class Consumer {
  readonly got: number[] = [];
  woken = 0;
  place!: ReplayReader<Item, Consumer>;

  readable(): void {
    this.woken++;
  }

  take(): boolean {
    const item = this.place.next;
    if (item === undefined) return false;
    this.got.push(item.number);
    this.place.take();
    return true;
  }
}

class Owner implements ReplayOwner<Item, Consumer> {
  readonly takenNumbers: number[] = [];
  readonly overflows: (Consumer | undefined)[] = [];

  bytesOf(item: Item): number {
    return item.bytes;
  }

  taken(item: Item): void {
    this.takenNumbers.push(item.number);
  }

  overflowed(last: ReplayReader<Item, Consumer> | undefined): void {
    this.overflows.push(last?.consumer);
  }
}

function bench(maxBytes = 1_000, memory = new ReplayMemory(10_000)) {
  const owner = new Owner();
  const buffer = new ReplayBuffer<Item, Consumer>(owner, memory, maxBytes);
  const read = (): Consumer => {
    const consumer = new Consumer();
    consumer.place = buffer.read(consumer);
    return consumer;
  };
  const write = (...sizes: number[]): void => {
    for (const bytes of sizes) buffer.write({ number: buffer.count, bytes });
  };
  return { owner, buffer, memory, read, write };
}

function drain(consumer: Consumer): number[] {
  while (consumer.take());
  return consumer.got;
}

describe("ReplayBuffer", () => {
  it("an attempt that begins later reads from the start, while the source still writes", () => {
    const { buffer, memory, read, write } = bench();
    const first = read();
    write(1, 2, 3);
    expect(drain(first)).toEqual([0, 1, 2]);
    const second = read();
    expect(second.take()).toBe(true);
    write(4);
    buffer.end();
    expect(drain(first)).toEqual([0, 1, 2, 3]);
    expect(drain(second)).toEqual([0, 1, 2, 3]);
    expect([first, second].map(({ place }) => place.ended)).toEqual([true, true]);
    expect(memory.bytes).toBe(10 + 4 * OVERHEAD);
    buffer.close();
    expect(memory.bytes).toBe(0);
  });

  it("a commit lets go what was sent, and the rest as it is sent", () => {
    const { buffer, memory, owner, read, write } = bench();
    const one = read();
    write(10, 20, 30);
    one.take();
    buffer.commit();
    expect(buffer.replayable).toBe(false);
    expect(memory.bytes).toBe(50 + 2 * OVERHEAD);
    one.take();
    expect(memory.bytes).toBe(30 + OVERHEAD);
    write(40); // is sent once: nothing is kept of it
    expect(memory.bytes).toBe(30 + OVERHEAD);
    expect(drain(one)).toEqual([0, 1, 2, 3]);
    expect(memory.bytes).toBe(0);
    expect(read().place.state).toBe("lost");
    expect(owner.overflows).toEqual([]);
  });

  it("a commit to one of two is the end of the other", () => {
    const { buffer, read, write } = bench();
    const one = read();
    const other = read();
    write(1, 1);
    drain(one);
    buffer.commit(other.place);
    expect(one.place.state).toBe("lost");
    expect(one.woken).toBe(3);
    write(1);
    expect(drain(other)).toEqual([0, 1, 2]);
    expect(one.take()).toBe(false);
  });

  it("what finds no room is sent once, by the attempt that is farthest", () => {
    const { buffer, memory, owner, read, write } = bench(2 * OVERHEAD);
    const slow = read();
    const fast = read();
    write(0, 0);
    drain(fast);
    slow.take();
    write(0);
    expect(owner.overflows).toEqual([fast]);
    expect([slow.place.state, fast.place.state]).toEqual(["lost", "open"]);
    expect(slow.take()).toBe(false);
    expect(drain(fast)).toEqual([0, 1, 2]);
    write(5_000);
    expect(drain(fast)).toEqual([0, 1, 2, 3]);
    expect(owner.overflows).toHaveLength(1);
    expect(memory.bytes).toBe(0);
    expect(buffer.count).toBe(4);
  });

  it("what finds no room between two attempts is the next one's, with all before it", () => {
    const { buffer, memory, owner, read, write } = bench(3 * OVERHEAD);
    const failed = read();
    write(0, 0);
    drain(failed);
    failed.place.close();
    write(5_000);
    expect(owner.overflows).toEqual([undefined]);
    expect(memory.bytes).toBe(2 * OVERHEAD);
    const last = read();
    expect(read().place.state).toBe("lost");
    buffer.end();
    expect(drain(last)).toEqual([0, 1, 2]);
    expect(last.place.ended).toBe(true);
    expect(memory.bytes).toBe(0);
  });

  it("all calls of a client, and all clients of a mesh, have one bound", () => {
    const mesh = new ReplayMemory(10 * OVERHEAD);
    const client = new ReplayMemory(4 * OVERHEAD, mesh);
    const mine = [bench(10_000, client), bench(10_000, client)];
    const other = bench(10_000, new ReplayMemory(100 * OVERHEAD, mesh));
    for (const { write } of mine) write(0, 0);
    mine[0]!.write(0);
    expect(mine.map(({ buffer }) => buffer.replayable)).toEqual([false, true]);
    other.write(0, 0, 0, 0, 0, 0);
    expect([client.bytes, mesh.bytes]).toEqual([4 * OVERHEAD, 10 * OVERHEAD]);
    other.write(0);
    expect(other.buffer.replayable).toBe(false);
    for (const { buffer } of [...mine, other]) buffer.close();
    expect([client.bytes, mesh.bytes]).toEqual([0, 0]);
  });

  it("the error of the source is every reader's, after what came before", () => {
    const { buffer, read, write } = bench();
    const one = read();
    write(1);
    drain(one);
    buffer.fail(undefined);
    write(1);
    const later = read();
    expect(drain(later)).toEqual([0]);
    expect([one, later].map(({ place }) => place.ended)).toEqual([true, true]);
    expect(buffer.error).toBeInstanceOf(Error);
  });

  /** What may happen to a buffer, in any order. */
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.tuple(fc.constant("write"), fc.nat(300)) },
    { weight: 8, arbitrary: fc.tuple(fc.constant("take"), fc.nat(3)) },
    { weight: 2, arbitrary: fc.tuple(fc.constant("read"), fc.constant(0)) },
    { weight: 1, arbitrary: fc.tuple(fc.constant("leave"), fc.nat(3)) },
    { weight: 1, arbitrary: fc.tuple(fc.constant("commit"), fc.nat(6)) },
    { weight: 1, arbitrary: fc.tuple(fc.constantFrom("end", "fail"), fc.constant(0)) },
    { weight: 1, arbitrary: fc.tuple(fc.constant("fill"), fc.nat(900)) },
  );

  it("in any order of events each reader gets the same items from the first on, or knows that it does not", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.nat(1_000), (steps, maxBytes) => {
        const memory = new ReplayMemory(1_200);
        const { buffer, owner, read, write } = bench(maxBytes, memory);
        const consumers: Consumer[] = [];
        let foreign = 0;
        let single = false;
        for (const [what, n] of steps) {
          const one = consumers[n % Math.max(1, consumers.length)];
          const before = buffer.count;
          if (what === "write") write(n);
          else if (what === "take") one?.take();
          else if (what === "read") consumers.push(read());
          else if (what === "leave") one?.place.close();
          else if (what === "commit") buffer.commit(n > 3 ? undefined : one?.place);
          else if (what === "fill") {
            memory.give(foreign); // what other calls keep changes
            foreign = memory.take(n) ? n : 0;
          } else if (what === "end") buffer.end();
          else buffer.fail(new Error("the source"));

          const open = consumers.filter(({ place }) => place.state === "open");
          if (buffer.replayable) {
            // Nothing was lost yet, and all that was written is kept and counted.
            expect(consumers.some(({ place }) => place.state === "lost")).toBe(false);
            expect(owner.overflows).toEqual([]);
            expect(memory.bytes - foreign).toBeLessThanOrEqual(maxBytes);
          } else {
            expect(open.length).toBeLessThanOrEqual(1);
            single = true;
          }
          if (single) expect(buffer.replayable).toBe(false);
          expect(memory.bytes).toBeLessThanOrEqual(1_200);
          expect(buffer.count - before).toBeLessThanOrEqual(1);
          for (const { got, place } of consumers) {
            expect(got).toEqual([...got.keys()]);
            expect(got).toHaveLength(place.position);
            if (place.state !== "open") continue;
            // An open reader always has its next item, as long as there is one.
            expect(place.next?.number).toBe(got.length < buffer.count ? got.length : undefined);
          }
          const farthest = Math.max(0, ...consumers.map(({ got }) => got.length));
          expect(owner.takenNumbers).toEqual([...Array(farthest).keys()]);
        }

        buffer.end();
        const { error } = buffer;
        for (const consumer of consumers) {
          const wasOpen = consumer.place.state === "open";
          drain(consumer);
          if (!wasOpen) continue;
          expect(consumer.got).toHaveLength(buffer.count);
          expect(consumer.place.ended).toBe(true);
        }
        buffer.close();
        buffer.close();
        write(1);
        expect(buffer.error).toBe(error);
        expect(memory.bytes).toBe(foreign);
        expect(consumers.every((consumer) => !consumer.take())).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});
