/** Rows of section C over gRPC that need lost packets: another host, in network namespaces (tag `priv`). */
import { expect, it } from "vitest";
import { namespaces, runInNamespace } from "../../http/test/support/netns.ts";

const NO_NAMESPACES = "network namespaces need Linux, iproute2 and the right to make them";

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
