/** How much PEM is read, at each limit, one above it, and far above it. */
import { meshServer, type ServerTls } from "@inmesh/http";
import { describe, expect, it } from "vitest";
import { TestCa } from "./support/ca.ts";

const ca = new TestCa();
const mine = ca.issue();

/** What is wrong with it; the empty text: nothing. */
function refusal(tls: ServerTls): string {
  try {
    meshServer((_request, response) => void response.end(), { tls });
    return "";
  } catch (error) {
    return (error as Error).message;
  }
}

describe("PEM", () => {
  it.each([
    [100, true],
    [101, false],
    [700, false],
  ])("%i certificates of authorities: accepted: %s", (count, accepted) => {
    const bundle = ca.cert.repeat(count);
    const why = refusal({ ...mine, ca: bundle, requestCert: true });
    if (accepted) expect(why).toBe("");
    else expect(why).toMatch(/tls\.ca must hold at most 100 certificates/);
  });

  it.each([
    [5, true],
    [6, false],
    [500, false],
  ])("a chain of %i: accepted: %s", (count, accepted) => {
    const why = refusal({ ...mine, cert: mine.cert + ca.cert.repeat(count - 1) });
    if (accepted) expect(why).toBe("");
    else expect(why).toMatch(/tls\.cert must hold at most 5 certificates/);
  });

  it.each([
    [1_048_576, true],
    [1_048_577, false],
    [20_000_000, false],
  ])("%i bytes: accepted: %s", (bytes, accepted) => {
    const bundle = ca.cert + "#".repeat(bytes - ca.cert.length);
    const why = refusal({ ...mine, ca: bundle, requestCert: true });
    if (accepted) expect(why).toBe("");
    else expect(why).toMatch(/tls\.ca must have at most 1 MiB/);
  });
});
