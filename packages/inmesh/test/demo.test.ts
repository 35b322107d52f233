/** The demo runs as a person runs it, only shorter: its shape, and what inmesh promises in it. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test, vi } from "vitest";

// A run of six seconds ends after twelve, and after many more on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

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

test("six seconds with --graceful: no call fails, and no POST is sent twice", async () => {
  const { stdout } = await run("--seconds", "6", "--graceful", "--json");
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
