/** Rows of section C over gRPC that need lost packets: another host, in network namespaces (tag `priv`). */
import { expect, it } from "vitest";
import { namespaces, runInNamespace } from "../../http/test/support/netns.ts";

const NO_NAMESPACES = "network namespaces need Linux, iproute2 and the right to make them";

it("C6 GC priv: a host vanishes without a word: attempts time out, TCP notices in the end", async (context) => {
  if (namespaces === undefined) return context.skip(NO_NAMESPACES);
  const child = new URL("children/host-vanishes.ts", import.meta.url);
  const seen = await runInNamespace(child, namespaces);
  // The route vouches: to the other endpoint after the attempt's timeout.
  expect(seen["read"]).toMatchObject({ end: "near", attempts: 2 });
  // It does not: the caller gets the error, and the call is never sent elsewhere.
  expect(seen["write"]).toMatchObject({ end: "attempt_timeout", attempts: 1 });
  const again = seen["again"] as { end: string; attempts: number }[];
  expect(new Set(again.map(({ end }) => end))).toEqual(new Set(["near"]));
  expect(seen["nearCalls"]).toBe(again.length + 1);
  // A strike or two more, then it is out.
  expect(again.filter(({ attempts }) => attempts > 1).length).toBeLessThanOrEqual(3);
  // Asked after 10 s of silence, once a second, ten times in vain.
  expect(seen["streamEnd"]).toBe("UNAVAILABLE");
  expect(seen["streamMs"]).toBeGreaterThan(15_000);
  expect(seen["streamMs"]).toBeLessThan(30_000);
}, 60_000);

it("C6 GS priv: a client vanishes without a word: an unanswered ping frees its handlers", async (context) => {
  if (namespaces === undefined) return context.skip(NO_NAMESPACES);
  const child = new URL("children/client-vanishes.ts", import.meta.url);
  const seen = await runInNamespace(child, namespaces);
  expect(seen).toMatchObject({ endedBefore: 0, callsInFlight: 0, sessions: 0 });
  const endedMs = seen["endedMs"] as Record<string, number>;
  expect(Object.keys(endedMs).sort()).toEqual(["stream", "unary"]);
  for (const ms of Object.values(endedMs)) expect(ms).toBeLessThan(10_000);
}, 60_000);

it("C20 GC priv: large packets are lost: small calls work, large ones time out and are charged", async (context) => {
  if (namespaces === undefined) return context.skip(NO_NAMESPACES);
  const child = new URL("children/large-lost.ts", import.meta.url);
  const seen = await runInNamespace(child, namespaces);
  const fine = { small: "short", inFlight: 0, smallAgain: "short", sockets: 0 };
  const timedOut = { reason: "attempt_timeout" };
  expect(seen).toMatchObject({
    healthy: { ...fine, up: "short", down: "whole", charged: false },
    lostThere: { ...fine, up: timedOut, charged: true },
    lostHere: { ...fine, up: "short", down: timedOut, charged: true },
  });
}, 60_000);
