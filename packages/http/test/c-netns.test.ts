/** Rows of section C that need lost packets: another host, in network namespaces (tag `priv`). */
import { describe, expect, it } from "vitest";
import { namespaces, runInNamespace } from "./support/netns.ts";

const NO_NAMESPACES = "network namespaces need Linux, iproute2 and the right to make them";

describe.concurrent("C: lost packets", () => {
  it("C6 LC priv: a host vanishes without a word: attempts time out, TCP notices in the end", async (context) => {
    if (namespaces === undefined) return context.skip(NO_NAMESPACES);
    const seen = await runInNamespace("host-vanishes.ts", namespaces);
    // Idempotent: to the other endpoint after the attempt's timeout.
    expect(seen["get"]).toMatchObject({ end: "near", attempts: 2 });
    // Not so: the caller gets the error, and the call is never sent elsewhere.
    expect(seen["post"]).toMatchObject({
      end: "attempt_timeout",
      progress: "maybe-processed",
      attempts: 1,
    });
    expect(seen["posts"]).toBe(0);
    for (const one of [seen["get"], seen["post"]] as { tookMs: number }[]) {
      expect(one.tookMs).toBeGreaterThan(390);
      expect(one.tookMs).toBeLessThan(2_000);
    }
    const again = seen["again"] as { end: string; attempts: number }[];
    expect(new Set(again.map(({ end }) => end))).toEqual(new Set(["near"]));
    // A strike or two more, then it is out.
    expect(again.filter(({ attempts }) => attempts > 1).length).toBeLessThanOrEqual(3);
    // Asked after 10 s of silence, once a second, ten times in vain.
    expect(seen["streamEnd"]).toBe("reset_mid_response");
    expect(seen["streamMs"]).toBeGreaterThan(15_000);
    expect(seen["streamMs"]).toBeLessThan(25_000);
    expect(seen["socketsLeft"]).toBe(0);
  }, 60_000);

  it("C6 LS priv: a client vanishes without a word: its handlers are freed, by time or by TCP", async (context) => {
    if (namespaces === undefined) return context.skip(NO_NAMESPACES);
    const seen = await runInNamespace("client-vanishes.ts", namespaces);
    const endedMs = seen["endedMs"] as Record<string, number>;
    // A body that is owed, and a reply that is not read, have limits of their own.
    expect(endedMs["upload"]).toBeGreaterThan(500);
    expect(endedMs["upload"]).toBeLessThan(10_000);
    expect(endedMs["large"]).toBeLessThan(15_000);
    // A handler that waits for something else learns it from TCP: 10 s of silence, ten questions.
    expect(endedMs["wait"]).toBeGreaterThan(15_000);
    expect(endedMs["wait"]).toBeLessThan(30_000);
    expect(seen).toMatchObject({
      refused: { body_timeout: 1, write_stall: 1 },
      requestsInFlight: 0,
      connections: 0,
    });
  }, 60_000);

  it("C20 LC priv: large packets are lost: small calls work, large ones time out and are charged", async (context) => {
    if (namespaces === undefined) return context.skip(NO_NAMESPACES);
    const seen = await runInNamespace("large-lost.ts", namespaces);
    const fine = { small: "short", smallAgain: "short", inFlight: 0, sockets: 0 };
    const timedOut = { reason: "attempt_timeout", progress: "maybe-processed" };
    expect(seen).toMatchObject({
      healthy: { ...fine, up: "short", down: "whole", charged: false },
      lostThere: { ...fine, up: timedOut, down: "whole", charged: true },
      lostHere: { ...fine, up: "short", down: timedOut, charged: true },
    });
  }, 60_000);
});
