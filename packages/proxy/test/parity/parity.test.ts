/**
 * The same scenarios through the library and through the proxy, with the same configuration and the same servers on
 * real sockets: what callers get, what servers see, and what the mesh says of it in tap, access log, metrics, snapshot and
 * log. What is not the same is listed in differences.ts, or the suite fails; so does what is listed and the same.
 */
import { readFileSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { Bench, type Way } from "./bench.ts";
import { compare, listedAt, type Found } from "./compare.ts";
import { DIFFERENCES, differenceRows, type Place } from "./differences.ts";
import type { Evidence } from "./evidence.ts";
import { shownWay, waysOf, type Scenario } from "./scenario.ts";
import { SCENARIOS } from "./scenarios/index.ts";

async function played(scenario: Scenario, way: Way): Promise<Evidence> {
  const bench = new Bench(scenario.kind, way);
  try {
    await scenario.run(bench);
    return await bench.finish();
  } catch (error) {
    await bench.close();
    throw new Error(`${scenario.id}, ${shownWay(way)}`, { cause: error });
  }
}

const isEverywhere = ({ scenario }: Place): boolean => scenario === undefined;
const isUnlisted = (found: Found): boolean => listedAt(found, DIFFERENCES).length === 0;

/** What a busy machine does to one run is no difference: one that is not listed is there in every run of three. */
async function differences(
  scenario: Scenario,
  library: Way,
  proxy: Way,
  wanted: Evidence,
): Promise<Found[]> {
  const { id, varies } = scenario;
  let found: Found[] | undefined;
  for (let run = 1; run <= 3; run++) {
    const now = compare(
      id,
      shownWay(proxy),
      run === 1 ? wanted : await played(scenario, library),
      await played(scenario, proxy),
    ).filter(({ fact }) => varies?.test(fact) !== true);
    const facts = new Set(now.map(({ fact }) => fact));
    found = found === undefined ? now : found.filter(({ fact }) => facts.has(fact));
    if (!found.some(isUnlisted)) break;
  }
  return found!;
}

describe("the mesh in a program and in the proxy", () => {
  const met = new Set<Place>();
  let same = 0;
  let all = 0;

  it.concurrent.each(SCENARIOS.map((one) => [one.id, one] as const))("%s", async (id, scenario) => {
    const found: Found[] = [];
    for (const { library, proxies } of waysOf(scenario)) {
      const wanted = await played(scenario, library);
      for (const way of proxies) found.push(...(await differences(scenario, library, way, wanted)));
    }
    all++;
    const places = found.map((one) => listedAt(one, DIFFERENCES));
    for (const place of places.flat()) met.add(place);
    // What is otherwise in every scenario is no news of this one.
    if (places.every((one) => one.some(isEverywhere))) same++;
    expect(found.filter(isUnlisted)).toEqual([]);
  });

  it("the page shows what is listed", () => {
    const page = readFileSync(
      new URL("../../../../docs/reference/proxy.md", import.meta.url),
      "utf8",
    );
    expect(page).toContain(`\n|---|---|---|\n${differenceRows().join("\n")}\n\n`);
  });

  afterAll(() => {
    console.log(
      `parity: ${all} scenarios, ${same} the same, ${DIFFERENCES.length} listed differences`,
    );
    // A run of a part of the scenarios says nothing about those.
    if (all < SCENARIOS.length) return;
    const gone = DIFFERENCES.flatMap(({ what, at }) =>
      at.filter((place) => !met.has(place)).map(({ fact, scenario }) => ({ what, fact, scenario })),
    );
    expect(gone).toEqual([]);
  });
});
