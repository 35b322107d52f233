/**
 * The hostile check itself: it finds what it is there for, and its corpus is what docs/faults.md says.
 * `npm run check:hostile` runs it; here it is run against servers that are vulnerable on purpose, and in
 * small against what is fixed.
 */
import { describe, expect, test, vi } from "vitest";
import { corpusOf, parseCorpus, SURFACES } from "../../../benchmarks/hostile/corpus.ts";
import { frameSteps } from "../../../benchmarks/hostile/frames.ts";
import { mutate } from "../../../benchmarks/hostile/mutate.ts";
import { bytesOf, stepsOf } from "../../../benchmarks/hostile/notation.ts";
import { attack } from "../../../benchmarks/hostile/play.ts";
import { ServerPlayer } from "../../../benchmarks/hostile/play-server.ts";
import { playerOf } from "../../../benchmarks/hostile/players.ts";
import { Random } from "../../../benchmarks/hostile/random.ts";
import { disagreement, readRequests, sha1 } from "../../../benchmarks/hostile/strict-http1.ts";
import { Tally } from "../../../benchmarks/hostile/tally.ts";

// A process that answers nothing is waited for.
vi.setConfig({ testTimeout: 90_000 });

const VULNERABLE = new URL("fixtures/vulnerable-server.ts", import.meta.url);
const PLAIN = parseCorpus(
  "http1-server",
  String.raw`- plain | POST /c HTTP/1.1\n{h}\nContent-Length: 3\n\nabc
- two framings | POST /c HTTP/1.1\n{h}\nContent-Length: 5\nTransfer-Encoding: chunked\n\n0\n\nGET /c/smuggled HTTP/1.1\n{h}\n\n`,
);

async function attacked(vulnerability: string): Promise<Tally> {
  const tally = new Tally(() => {});
  const scripts = { mesh: VULNERABLE, bare: VULNERABLE, args: [vulnerability] };
  const player = new ServerPlayer("http1-server", tally, scripts);
  await attack(player, tally, { corpus: PLAIN, mutateMs: 0, seed: 1 });
  return tally;
}

describe.concurrent("the check fails where it must", () => {
  test("R41 LS: a server without a vulnerability has no finding", async () => {
    const tally = await attacked("none");
    expect(tally.findings).toEqual([]);
    expect(tally.memoryMb.get("http1-server")).toBeLessThan(64);
  });

  test.each([
    ["crash", "crash"],
    ["exit", "crash"],
    ["unhandled", "unhandled"],
    ["spin", "hung"],
    ["open", "hung"],
    ["desync", "desync"],
  ] as const)("R41 LS: a server with %s is found by it", async (vulnerability, kind) => {
    const tally = await attacked(vulnerability);
    expect(tally.of(kind)).toBeGreaterThan(0);
    expect(tally.findings.find((one) => one.kind === kind)!.lines.join("\n")).toMatch(/^- /);
  });

  test("R41 LS: a server that keeps memory is found by it", async () => {
    const tally = await attacked("memory");
    expect(tally.memoryMb.get("http1-server")).toBeGreaterThan(64);
  });
});

describe("the corpus", () => {
  test("R41 LC LS GC GS CO: it has 500 inputs and more, each with a name of its own", () => {
    const counts = SURFACES.map((surface) => corpusOf(surface).length);
    expect(counts.reduce((sum, count) => sum + count)).toBeGreaterThanOrEqual(500);
    expect(Math.min(...counts)).toBeGreaterThanOrEqual(20);
  });

  test("a seed repeats the mutations, and another gives others", () => {
    const mutations = (seed: number): string[] => {
      const random = new Random(seed);
      return SURFACES.flatMap((surface) => {
        const corpus = corpusOf(surface);
        return Array.from({ length: 50 }, () => mutate(random.pick(corpus), corpus, random).text);
      });
    };
    expect(mutations(7)).toEqual(mutations(7));
    expect(mutations(8)).not.toEqual(mutations(7));
  });

  test("notation: escapes, repetitions, frames", () => {
    expect(bytesOf(stepsOf(String.raw`a\n{3*b#}\x00\{{wait 5}c`)).toString("latin1")).toBe(
      "a\r\nb0b1b2\0{c",
    );
    expect(bytesOf(frameSteps("2*D 1+2 ab", 0)).toString("hex")).toBe(
      "00000200000000000161620000020000000000036162",
    );
    expect(bytesOf(frameSteps("D 1 m@9:a", 0)).toString("hex")).toBe(
      "000006000000000001000000000961",
    );
  });

  test("the strict reader stops where two could differ", () => {
    const requests = (text: string): string[] =>
      readRequests(bytesOf(stepsOf(text))).map(({ target, whole }) => `${target} ${whole}`);
    expect(
      requests(
        String.raw`GET /1 HTTP/1.1\n{h}\n\nPOST /2 HTTP/1.1\n{h}\nContent-Length: 3\n\nabcGET /3 HTTP/1.1\n{h}\n\n`,
      ),
    ).toEqual(["/1 true", "/2 true", "/3 true"]);
    expect(
      requests(String.raw`POST /1 HTTP/1.1\n{h}\nTransfer-Encoding: chunked\n\n3\nabc\nzz\n`),
    ).toEqual(["/1 false"]);
    expect(requests(PLAIN[1]!.text)).toEqual([]);
    const cut = { method: "GET", target: "/1", host: "a", body: Buffer.from("ab"), whole: false };
    const seen = {
      method: "GET",
      target: "/1",
      host: "a",
      bytes: 2,
      sha1: sha1(Buffer.from("ab")),
    };
    expect(disagreement([{ ...seen, whole: false }], [cut])).toBeUndefined();
    expect(disagreement([{ ...seen, whole: true }], [cut])).toMatch(/^request 1 of 1/);
    expect(
      disagreement(
        [
          { ...seen, whole: false },
          { ...seen, whole: false },
        ],
        [cut],
      ),
    ).toMatch(/^request 2 of 2/);
  });
});

describe.concurrent("R41 LC, R41 LS, R41 GC, R41 GS, R41 CO: parts of the corpus, played", () => {
  test.each([
    ["http1-server", "framing|length|coding|chunk|host"],
    ["http1-client", "surplus|cut|half"],
    ["grpc-server", "timeout|message"],
    ["grpc-client", "status|message"],
    ["dns", "another|address"],
  ] as const)("%s, inputs about %s", async (surface, names) => {
    const tally = new Tally(() => {});
    const corpus = corpusOf(surface).filter(({ name }) => new RegExp(names).test(name));
    expect(corpus.length).toBeGreaterThan(5);
    await attack(playerOf(surface, tally), tally, {
      corpus: corpus.slice(0, 25),
      mutateMs: 0,
      seed: 1,
    });
    expect(tally.findings).toEqual([]);
  });
});
