import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { describe, expect, it } from "vitest";
import { NodeRuntime } from "./node-runtime.ts";

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe("timers in lanes", () => {
  it("fire once, in order, never early", async () => {
    const runtime = new NodeRuntime();
    const fired: number[] = [];
    const startedAt = runtime.now();
    const early: number[] = [];
    for (let i = 0; i < 50; i++) {
      runtime.after(
        20,
        (n) => {
          if (runtime.now() - startedAt < 20) early.push(n);
          fired.push(n);
        },
        i,
      );
    }
    await sleep(60);
    expect(fired).toEqual(Array.from({ length: 50 }, (_, i) => i));
    expect(early).toEqual([]);
  });

  it("do not fire once cancelled, wherever they stand in the lane", async () => {
    const runtime = new NodeRuntime();
    const fired: number[] = [];
    const timers = Array.from({ length: 10 }, (_, i) => runtime.after(20, (n) => fired.push(n), i));
    for (const i of [0, 4, 5, 9]) timers[i]!.cancel();
    timers[0]!.cancel();
    await sleep(60);
    expect(fired).toEqual([1, 2, 3, 6, 7, 8]);
    timers[1]!.cancel();
  });

  it("may arm others of the same delay, without a second Node timer each", async () => {
    const runtime = new NodeRuntime();
    const timeouts = (): number =>
      process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length;
    let rounds = 0;
    const again = (): void => {
      rounds++;
      if (rounds < 8) runtime.after(5, again, undefined);
    };
    runtime.after(5, again, undefined);
    await sleep(120);
    expect(rounds).toBe(8);
    // Unref'd timers are not listed as active resources; what is listed is the test's own.
    expect(timeouts()).toBeLessThanOrEqual(2);
  });

  it("B5 CO: a timer held up by a blocked loop lets replies that arrived be read first", async () => {
    const runtime = new NodeRuntime();
    const order: string[] = [];
    // A peer in another process answers while our loop is blocked.
    const script = `require("node:net").createServer((socket) =>
      socket.once("data", () => setTimeout(() => socket.write("reply"), 60)),
    ).listen(0, "127.0.0.1", function () { console.log(this.address().port); });`;
    const peer = spawn(process.execPath, ["--eval", script]);
    const [port] = (await once(peer.stdout, "data")) as [Buffer];
    const socket = connect(Number(port.toString()), "127.0.0.1");
    await once(socket, "connect");
    const replied = once(socket, "data").then(() => order.push("reply"));
    const expired = new Promise<void>((resolve) => {
      runtime.after(
        100,
        () => {
          order.push("deadline");
          resolve();
        },
        undefined,
      );
    });
    socket.write("ask");
    const until = runtime.now() + 250;
    while (runtime.now() < until);
    await Promise.all([replied, expired]);
    expect(order).toEqual(["reply", "deadline"]);
    socket.destroy();
    peer.kill();
  });

  it("a delay beyond what Node can count never fires", async () => {
    const runtime = new NodeRuntime();
    let fired = false;
    runtime.after(Infinity, () => (fired = true), undefined);
    runtime.after(2 ** 31, () => (fired = true), undefined);
    await sleep(20);
    expect(fired).toBe(false);
  });

  it("many different delays all fire", async () => {
    const runtime = new NodeRuntime();
    let fired = 0;
    for (let i = 0; i < 300; i++) runtime.after(1 + (i % 100), () => fired++, undefined);
    await sleep(160);
    expect(fired).toBe(300);
  });
});
