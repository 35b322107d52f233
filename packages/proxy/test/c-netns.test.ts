/** Rows of section C that need lost packets: servers on another host, in network namespaces (tag `priv`). */
import { describe, expect, it } from "vitest";
import { namespaces, runInNamespace } from "../../http/test/support/netns.ts";

const NO_NAMESPACES = "network namespaces need Linux, iproute2 and the right to make them";
const child = (file: string): URL => new URL(`children/${file}`, import.meta.url);

describe.concurrent("C: lost packets", () => {
  it("C6 P11, C6 P12, C6 P21, C6 P22, C6 PT priv: a host vanishes without a word: attempts time out, and TCP asks both sides whether they live", async (context) => {
    if (namespaces === undefined) return context.skip(NO_NAMESPACES);
    const seen = await runInNamespace(child("host-vanishes.ts"), namespaces);
    const { upstream, client } = seen["asked"] as Record<"upstream" | "client", string[]>;
    // Two for each of HTTP/1, one for each of HTTP/2, and the tunnel.
    expect(upstream.length).toBeGreaterThanOrEqual(7);
    expect(client.length).toBeGreaterThanOrEqual(7);
    for (const said of [...upstream, ...client]) {
      expect(said).not.toBe("none");
      expect(Number(said)).toBeLessThanOrEqual(10);
    }
    for (const pair of ["P11", "P12", "P21", "P22"]) {
      // Idempotent: to the other endpoint after the attempt's timeout. Not so: never.
      expect(seen["get"]).toMatchObject({ [pair]: "200 near" });
      expect(seen["post"]).toMatchObject({ [pair]: "504 attempt_timeout" });
      expect(seen["again"]).toMatchObject({ [pair]: ["200 near"] });
    }
    expect(seen).toMatchObject({ posts: 0, inFlight: [0, 0, 0, 0, 0] });
  }, 60_000);

  it("C20 P11, C20 P12, C20 P21, C20 P22, C20 PT priv: large packets are lost: small calls work, large ones time out and are charged", async (context) => {
    if (namespaces === undefined) return context.skip(NO_NAMESPACES);
    const seen = await runInNamespace(child("large-lost.ts"), namespaces);
    const { healthy, lostThere, lostHere } = seen as Record<
      "healthy" | "lostThere" | "lostHere",
      Record<string, string[]> & { timeouts: number[]; inFlight: number[] }
    >;
    const [up, down] = ["200 100000", "200 whole"];
    const small = "200 0";
    for (const surface of ["P11", "P12", "P21", "P22", "PT"]) {
      const late = surface === "PT" ? "cut" : "504 attempt_timeout";
      expect(healthy[surface], surface).toEqual([small, up, down, small]);
      const [first, lost, next, again] = lostThere[surface]!;
      expect([first, lost, again], surface).toEqual([small, late, small]);
      expect(next, surface).toBe(down);
      expect(lostHere[surface]!.slice(0, 2), surface).toEqual([small, up]);
      // Its head may have come in a packet of its own.
      expect([late, "cut"]).toContain(lostHere[surface]![2]);
      expect(lostHere[surface]![3], surface).toBe(small);
    }
    expect(healthy.timeouts).toEqual([0, 0, 0, 0]);
    for (const one of [lostThere, lostHere]) {
      for (const count of one.timeouts) expect(count).toBeGreaterThan(0);
    }
    for (const one of [healthy, lostThere, lostHere]) {
      expect(new Set(one.inFlight)).toEqual(new Set([0]));
    }
  }, 60_000);
});
