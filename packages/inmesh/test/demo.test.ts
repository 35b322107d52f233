/** The demo runs as a person runs it, only shorter: its shape, and what inmesh promises in it. */
import { execFile, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, onTestFinished, test, vi } from "vitest";

// A run of six seconds ends after twelve, and after many more on a busy machine.
vi.setConfig({ testTimeout: 90_000 });

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const MAIN = "examples/demo/main.ts";

interface Document {
  readonly name: string;
  readonly node: string;
  readonly rows: readonly {
    readonly metric: string;
    readonly value: number;
    readonly unit: string;
    readonly spread: number | null;
    readonly bar: number | null;
    readonly holds: boolean | null;
  }[];
}

const run = (...options: readonly string[]): Promise<{ stdout: string; stderr: string }> =>
  promisify(execFile)(process.execPath, ["--conditions=inmesh-source", MAIN, ...options], {
    cwd: ROOT,
    timeout: 50_000,
  });

test("six seconds of the demo: one object, no POST sent twice, almost every GET answered", async () => {
  const { stdout } = await run("--seconds", "6", "--json");
  const document = JSON.parse(stdout) as Document;
  expect(document.name).toBe("demo");
  expect(document.node).toBe(process.version);
  for (const row of document.rows) {
    expect(Object.keys(row)).toEqual(["metric", "value", "unit", "spread", "bar", "holds"]);
    expect(row.value, row.metric).toBeTypeOf("number");
    expect(row.holds === null, row.metric).toBe(row.bar === null);
  }
  const value = (metric: string): number => {
    const row = document.rows.find((one) => one.metric === metric);
    if (row === undefined) throw new Error(`no row ${metric}`);
    return row.value;
  };
  expect(value("demo.duplicate_posts")).toBe(0);
  expect(value("demo.success_ratio.inmesh")).toBeGreaterThanOrEqual(0.99);
  expect(value("demo.success_ratio.inmesh")).toBeGreaterThan(
    value("demo.success_ratio.round_robin"),
  );
  expect(value("demo.post_success_ratio.inmesh")).toBeGreaterThan(0.9);
  for (const side of ["inmesh", "round_robin"]) {
    for (const when of ["healthy", "slow"]) {
      expect(value(`demo.p99_ms.${side}.${when}`)).toBeGreaterThan(0);
      expect(value(`demo.p50_ms.${side}.${when}`)).toBeGreaterThan(0);
    }
  }
});

test.each([
  ["--graceful", "servers that drain"],
  ["--registry", "servers that drain and announce themselves"],
])("six seconds with %s, %s: no call fails, and no POST is sent twice", async (option) => {
  const { stdout } = await run("--seconds", "6", option, "--json");
  const { rows } = JSON.parse(stdout) as Document;
  for (const metric of ["demo.failed.inmesh", "demo.duplicate_posts"]) {
    expect(rows.find((row) => row.metric === metric)).toMatchObject({ value: 0, holds: true });
  }
});

test("what a person reads fits 80 columns", async () => {
  const { stdout, stderr } = await run("--seconds", "5");
  const lines = `${stdout}\n${stderr}`.split("\n");
  expect(lines.some((line) => line.includes("healthy p99"))).toBe(true);
  expect(lines.filter((line) => line.length > 80)).toEqual([]);
});

test("a wrong argument ends the demo with the usage", async () => {
  await expect(run("--seconds", "soon")).rejects.toMatchObject({
    code: 2,
    stdout: "",
    stderr: expect.stringContaining("--seconds must be a number") as string,
  });
});

const isThere = spawnSync("prometheus", ["--version"]).error === undefined;

test("--observe: a Prometheus has what both sides did, and the queries that are printed have answers", async ({
  skip,
}) => {
  if (!isThere) {
    const why = "prometheus: not on the PATH (on Debian: apt-get install prometheus)";
    if ((process.env["CI"] ?? "") === "") skip(why);
    throw new Error(why);
  }
  const demo = spawn(
    process.execPath,
    ["--conditions=inmesh-source", MAIN, "--seconds", "6", "--observe"],
    { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] },
  );
  const ended = once(demo, "exit");
  // Not SIGKILL: its Prometheus would go on without it.
  onTestFinished(async () => {
    demo.kill("SIGTERM");
    await ended;
  });
  let address = "";
  const queries: string[] = [];
  for await (const line of createInterface({ input: demo.stdout })) {
    address ||= /^Prometheus +(http\S+)$/.exec(line)?.[1] ?? "";
    // Queries are set in by four columns.
    const query = /^ {4}(\S.*)$/.exec(line)?.[1];
    if (query !== undefined && queries.length < 3) queries.push(query);
    if (line.startsWith("Prometheus keeps what it saw")) break;
  }
  expect(queries).toHaveLength(3);
  /** By side, the last number that there was: on a busy machine the last steps come long after the load. */
  const ask = async (query: string): Promise<Map<string, number>> => {
    const end = Date.now() / 1000;
    const range = { query, start: String(end - 90), end: String(end), step: "1" };
    const reply = await fetch(`${address}/api/v1/query_range?${new URLSearchParams(range)}`);
    const { data } = (await reply.json()) as {
      data: { result: { metric: { side?: string }; values: [number, string][] }[] };
    };
    return new Map(
      data.result.map(({ metric: { side = "" }, values }) => [
        side,
        values.map(([, value]) => Number(value)).findLast(Number.isFinite) ?? Number.NaN,
      ]),
    );
  };
  const SIDES = ["inmesh", "round_robin"];
  for (const [i, query] of queries.entries()) {
    const answer = await ask(query);
    expect([...answer.keys()].toSorted(), query).toEqual(i < 2 ? SIDES : [""]);
    for (const value of answer.values()) expect(Number.isFinite(value), query).toBe(true);
  }
  const sent = await ask("sum by (side) (demo_requests_total)");
  for (const side of SIDES) expect(sent.get(side), side).toBeGreaterThan(0);
  // The rules of the package are in force.
  expect((await ask("inmesh:calls:rate5m or vector(0)")).size).toBe(1);
  demo.kill("SIGINT");
  expect(await ended).toEqual([130, null]);
});

test("--observe without a Prometheus says what is missing and what helps", async () => {
  await expect(
    run("--seconds", "5", "--observe", "--prometheus", "/nowhere/prometheus"),
  ).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringMatching(
      /\/nowhere\/prometheus did not start: [^]*apt-get install[^]*--prometheus PATH/,
    ) as string,
  });
});
