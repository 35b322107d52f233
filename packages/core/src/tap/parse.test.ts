/** A filter as text: what it may say, and every mistake at once. */
import { describe, expect, it } from "vitest";
import { ConfigError } from "../config/mistakes.ts";
import { parseTapOptions } from "./parse.ts";
import type { TapOptions } from "./options.ts";

describe("what may be written", () => {
  it.each<[string, TapOptions]>([
    ["", {}],
    ["   ", {}],
    ["service=orders", { service: ["orders"] }],
    [
      "service=orders,users status=5xx,429,none minLatencyMs=100.5",
      { service: ["orders", "users"], status: ["5xx", 429, "none"], minLatencyMs: 100.5 },
    ],
    ["service=a service=b", { service: ["a", "b"] }],
    ["header.x-tenant=7 header.X-Plan=gold", { header: { "x-tenant": "7", "X-Plan": "gold" } }],
    ['path="/a b" header.k="say \\"hi\\\\"', { path: "/a b", header: { k: 'say "hi\\' } }],
    ["headers=true query=false", { headers: true, query: false }],
    ["header.k=a=b", { header: { k: "a=b" } }],
    ['header.k=""', { header: { k: "" } }],
    [
      "direction=inbound peer=spiffe://a/b endpoint=unix:/run/a",
      {
        direction: "inbound",
        peer: "spiffe://a/b",
        endpoint: "unix:/run/a",
      },
    ],
    [
      "ratio=0.01 limit=5 maxPerSecond=10 buffer=20 redact=x-a,x-b",
      {
        ratio: 0.01,
        limit: 5,
        maxPerSecond: 10,
        buffer: 20,
        redact: ["x-a", "x-b"],
      },
    ],
  ])("%s", (text, options) => {
    expect(parseTapOptions(text)).toEqual(options);
  });

  it("the pairs of a query are the same, and need no quotes", () => {
    const pairs = new URLSearchParams("service=orders&status=5xx&path=/a%20b&header.k=%22");
    expect(parseTapOptions(pairs)).toEqual({
      service: ["orders"],
      status: ["5xx"],
      path: "/a b",
      header: { k: '"' },
    });
  });
});

function mistakesOf(given: Parameters<typeof parseTapOptions>[0]): string[] {
  try {
    parseTapOptions(given);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).mistakes.map(
      ({ path, rule, value }) => `${path}: ${rule}${value === "" ? "" : ` (${value})`}`,
    );
  }
  return [];
}

describe("mistakes", () => {
  it("are all named at once, with what was written", () => {
    expect(
      mistakesOf(
        "servce=a status=6xx,200 ratio=2 limit=0 minLatencyMs=fast path=v1 lonely traceId=7",
      ),
    ).toEqual([
      '(everything): must be name=value or name="a value" ("lonely")',
      'servce: is not known; did you mean "service"? ("a")',
      "status: must be a status from 0 to 999, 1xx to 5xx, none, or a list of such (a list of 2)",
      "ratio: must be a number above 0 and up to 1 (2)",
      "limit: must be a whole number from 1 up (0)",
      'minLatencyMs: must be a number of milliseconds from 0 up ("fast")',
      'path: must be the beginning of a path, from its / on ("v1")',
      'traceId: must be 32 hexadecimal digits, not all of them 0 ("7")',
    ]);
  });

  it.each([
    ["ratio=0.5 ratio=0.6", /^ratio: must be there once/],
    ["header=x:7", /^header: must be written as header\.x-name=value/],
    ["header.=7", /^header: must be an object with/],
    ["header.a b=7", /name=value/],
    ["headers=yes", /^headers: must be true or false/],
    ["direction=both", /^direction: must be outbound or inbound/],
    ["outcome=fine", /^outcome: must be one of success/],
    ["method=G(T", /^method: must be a method/],
    ["service=", /^service: must be a text/],
    ["service=a,,b", /^service: must be a text/],
    ["maxPerSecond=1001", /^maxPerSecond: must be a whole number from 1 to 1000/],
    ["buffer=1e9", /^buffer: must be a whole number from 1 to 1000/],
    ["__proto__=1", /^__proto__: is not known/],
    ["constructor=1", /^constructor: is not known/],
    ['path="/a', /name=value/],
    ["=a", /name=value/],
    [`path=/${"a".repeat(5_000)}`, /^\(everything\): must have at most 4096 characters/],
    [`${"limit=1 ".repeat(101)}`, /^\(everything\): must have at most 100 parts/],
    [`service=${"a,".repeat(60)}a`, /^service: must be a text of 1 to 1024/],
  ])("%s", (text, rule) => {
    expect(mistakesOf(text)[0]).toMatch(rule);
  });

  it("of a text of any characters are mistakes, and take no time", () => {
    const parts = ['"', "\\", "=", " ", "a", "header.", "status", "\u001b", "😀", "\n"];
    let seed = 7;
    const next = (): number => (seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648);
    for (let i = 0; i < 2_000; i++) {
      let text = "";
      for (let n = next() % 40; n > 0; n--) text += parts[next() % parts.length];
      for (const mistake of mistakesOf(text)) expect(mistake, `seed ${i}`).not.toContain("\u001b");
    }
  });
});
