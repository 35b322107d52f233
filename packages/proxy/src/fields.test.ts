/** What a field is, by its name as bytes and as text: both have to say the same. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { KIND, kindOf, kindOfPiece } from "./fields.ts";

const NAMES = (
  "host content-length transfer-encoding connection upgrade te expect x-mesh-timeout-ms x-mesh-hops x-mesh-anything " +
  "x-mesh- x-mesh x-envoy-attempt-count x-ssl-client-verify x-client-cert ssl-client-s-dn x-forwarded-client-cert " +
  "x-forwarded-for x-forwarded-client-certs l5d-client-id x_mesh-hops x_ssl_client_verify ssl_client_cert " +
  "x-request-id server x- s traceparent idempotency-key trailer http2-settings user-agent"
).split(" ");

function ofBytes(name: string): number {
  const bytes = Buffer.from(`(${name})`, "latin1");
  return kindOfPiece(bytes, 1, bytes.length - 1);
}

test("a claim of identity is dropped, however it is spelled", () => {
  expect(["x-envoy-peer", "x_ssl_verify", "l5d-client-id", "ssl-client-s-dn"].map(ofBytes)).toEqual(
    Array.from({ length: 4 }, () => KIND.dropped),
  );
  expect(["x-request-id", "server", "x-b3-traceid", "link"].map(ofBytes)).toEqual(
    Array.from({ length: 4 }, () => KIND.plain),
  );
});

test("bytes and text of a name are of the same kind", () => {
  const letter = fc.constantFrom(..."abcdefhklmnopst-_5x");
  const name = fc
    .tuple(fc.constantFrom("", ...NAMES), fc.nat(24), fc.array(letter, { maxLength: 4 }))
    .map(([known, cut, more]) => known.slice(0, cut) + more.join(""));
  for (const one of NAMES) expect(ofBytes(one), one).toBe(kindOf(one));
  fc.assert(
    fc.property(
      name.filter((text) => text !== ""),
      (text) => {
        expect(ofBytes(text), text).toBe(kindOf(text));
      },
    ),
    { numRuns: 2_000 },
  );
});
