/** The parts of the command line: arguments, text, numbers, tables and windows. */
import { PassThrough } from "node:stream";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { duration } from "@inmesh/core/inspect";
import { parse, type Options, type Positional } from "../src/cli/arguments.ts";
import { UsageFailure } from "../src/cli/failure.ts";
import { decimal, parseDuration, percent, rate, share } from "../src/cli/numbers.ts";
import { Output } from "../src/cli/output.ts";
import { renderTable, sortRows, withSeparating, type Column } from "../src/cli/table.ts";
import { cutEnd, cutMiddle, escaped, padded, safeJson, widthOf } from "../src/cli/text.ts";

// "Did you mean" is core's, and is loaded for a mistake: on a busy machine the first one takes longer than a test may.
beforeAll(() => import("@inmesh/core/spi/transport"), 120_000);

const OPTIONS = {
  help: { type: "flag", short: "h", meaning: "" },
  name: { type: "text", short: "n", value: "<name>", meaning: "" },
  many: { type: "texts", value: "<one>", meaning: "" },
  kind: { type: "choice", value: "<kind>", among: ["a", "b"], meaning: "" },
  count: { type: "count", value: "<n>", meaning: "" },
  ratio: { type: "number", value: "<n>", meaning: "" },
  wait: { type: "duration", value: "<d>", meaning: "" },
} as const satisfies Options;
const ANY: readonly Positional[] = [{ name: "it", meaning: "", optional: true, repeated: true }];

async function mistakesOf(args: readonly string[], positionals = ANY): Promise<readonly string[]> {
  const failure = await parse(args, OPTIONS, positionals).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(failure).toBeInstanceOf(UsageFailure);
  return (failure as UsageFailure).mistakes;
}

describe("arguments", () => {
  it("are read in every form that Node allows", async () => {
    const args = [
      "a",
      "-n",
      "x",
      "--many=1",
      "--many",
      "2",
      "--kind=b",
      "--count",
      "7",
      "--wait",
      "1m30s",
    ];
    const { values, positionals } = await parse(
      [...args, "--ratio=0.5", "--", "--name"],
      OPTIONS,
      ANY,
    );
    expect(positionals).toEqual(["a", "--name"]);
    expect(values).toEqual({
      help: false,
      name: "x",
      many: ["1", "2"],
      kind: "b",
      count: 7,
      ratio: 0.5,
      wait: 90_000,
    });
  });

  it("tell all their mistakes at once", async () => {
    expect(
      await mistakesOf(["--kind", "c", "--count=0", "--ratio", "x", "--wait=5", "--name="]),
    ).toEqual([
      '--kind must be one of a, b (got "c")',
      '--count must be a whole number from 1 on (got "0")',
      '--ratio must be a number (got "x")',
      '--wait must be a duration with its unit, such as "500ms" or "1m30s" (got "5")',
      '--name must not be empty (got "")',
    ]);
  });

  it("do not take an option for a value that was forgotten", async () => {
    expect(await mistakesOf(["--name", "--help"])).toEqual([
      "--name needs a value, <name>; one that begins with a dash is written --name=--help",
    ]);
    expect((await parse(["--name=-x"], OPTIONS, ANY)).values.name).toBe("-x");
  });

  it("are counted", async () => {
    const one: readonly Positional[] = [
      { name: "method", meaning: "", optional: true },
      { name: "target", meaning: "" },
    ];
    expect(await mistakesOf([], one)).toEqual(["<target> is missing"]);
    expect(await mistakesOf(["a", "b", "c"], one)).toEqual(['"c" is one argument too many']);
    expect((await parse(["x"], OPTIONS, one)).positionals).toEqual(["x"]);
  });

  it("know no names of Object.prototype", async () => {
    expect(await mistakesOf(["--constructor", "--__proto__=1"])).toHaveLength(2);
  });

  it("do not matter when help is asked for", async () => {
    expect((await parse(["--kind=c", "-h"], OPTIONS, ANY)).values.help).toBe(true);
  });
});

const UNSAFE = /[^\P{C}\n]|[\u2028\u2029]/u;

describe("text", () => {
  it("cannot move the cursor, change colours, turn the order around or hide anything", () => {
    expect(escaped("a\u001b[31mb\u0007\u009b\u202Ec\u200bd\u2028e\ud800f\n\r\tg\u007f")).toBe(
      String.raw`a\u{1b}[31mb\u{7}\u{9b}\u{202e}c\u{200b}d\u{2028}e\u{d800}f\n\r\tg\u{7f}`,
    );
    expect(escaped("größe 猫 👍")).toBe("größe 猫 👍");
    expect(escaped("größe", true)).toBe(String.raw`gr\u{f6}\u{df}e`);
  });

  it("is the same data in JSON, whatever it holds", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.boolean(), (text, ascii) => {
        const json = safeJson({ [text]: [text] }, 2, ascii);
        expect(JSON.parse(json)).toEqual({ [text]: [text] });
        expect(json).not.toMatch(UNSAFE);
      }),
    );
  });

  it("has the width that a terminal gives it", () => {
    expect([
      widthOf("abc"),
      widthOf("猫"),
      widthOf("👍"),
      widthOf("e\u0301"),
      widthOf("ﾊ"),
    ]).toEqual([3, 2, 2, 1, 1]);
    expect(padded("猫", 4, "right")).toBe("  猫");
  });

  it("is never wider than it may be, and keeps its ends", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "grapheme" }),
        fc.integer({ min: 4, max: 40 }),
        (raw, width) => {
          const text = escaped(raw);
          expect(widthOf(cutEnd(text, width, "..."))).toBeLessThanOrEqual(width);
          expect(widthOf(cutMiddle(text, width, "…"))).toBeLessThanOrEqual(width);
        },
      ),
    );
    expect(cutMiddle("orders-7f8c9d6b54-x2x1q.shop", 12, "…")).toBe("orders….shop");
  });
});

describe("numbers", () => {
  it.each([
    [undefined, "-"],
    [0, "0ms"],
    [0.02, "<0.1ms"],
    [0.42, "0.4ms"],
    [9.96, "10ms"],
    [999.4, "999ms"],
    [999.6, "1s"],
    [1240, "1.24s"],
    [15_000, "15s"],
    [59_960, "1m00s"],
    [192_000, "3m12s"],
    [7_500_000, "2h05m"],
    [356_400_000, "4d03h"],
    [Infinity, "never"],
    [-1240, "-1.24s"],
  ])("%s milliseconds are %s", (ms, text) => expect(duration(ms)).toBe(text));

  it("are never rounded to all or nothing", () => {
    expect([
      percent(1),
      percent(0.999999),
      percent(0),
      percent(0.0000001),
      percent(0.9998),
    ]).toEqual(["100.00%", "99.99%", "0.00%", "0.01%", "99.98%"]);
    expect([rate(0), rate(0.01), rate(412), share(0.7), share(1 / 3), share(0.0001)]).toEqual([
      "0.0rps",
      "<0.1rps",
      "412.0rps",
      "70%",
      "33.3%",
      "<0.1%",
    ]);
    expect([percent(undefined), rate(Number.NaN), decimal(undefined), share(undefined)]).toEqual(
      Array.from({ length: 4 }, () => "-"),
    );
  });

  it("of durations are read with their units", () => {
    expect(["500ms", "2s", "1m30s", "1.5h", "0s"].map(parseDuration)).toEqual([
      500, 2000, 90_000, 5_400_000, 0,
    ]);
    expect(["5", "s", "1d", "-1s", "1s 2ms", ""].map(parseDuration)).toEqual(
      Array.from({ length: 6 }, () => undefined),
    );
  });
});

interface Named {
  readonly name: string;
  readonly value: number | null;
}
const COLUMNS: readonly Column<Named>[] = [
  { name: "NAME", key: "name", meaning: "", identifies: true, least: 8, datum: ({ name }) => name },
  { name: "VALUE", key: "value", meaning: "", align: "right", datum: ({ value }) => value },
];

function output(columns: number): Output {
  const out = Object.assign(new PassThrough(), { columns }) as unknown as NodeJS.WriteStream;
  return new Output({ out, env: { LANG: "en_US.UTF-8", NO_COLOR: "1" } });
}

describe("tables", () => {
  it("keep rows apart, however narrow they are", () => {
    const rows = ["a", "b", "c"].map((end, value) => ({
      name: `orders-7f8c9d6b54-${end}.orders.shop.svc`,
      value,
    }));
    for (const columns of [200, 60, 40, 30, 24]) {
      const { lines } = renderTable(COLUMNS, rows, output(columns));
      expect(
        new Set(lines.slice(1).map((line) => line.replace(/\s+\d$/, ""))).size,
        lines.join("\n"),
      ).toBe(3);
    }
  });

  it("keep rows apart whose names differ anywhere, or are wider than the terminal", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.string({ maxLength: 60 }), { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 20, max: 80 }),
        (names, columns) => {
          const rows = names.map((name) => ({ name, value: null }));
          const [first] = COLUMNS;
          const { lines } = renderTable([first!], rows, output(columns), false);
          const shown = new Set(lines);
          const different = new Set(names.map((name) => escaped(name).trimEnd()));
          expect(shown.size).toBe(different.size);
        },
      ),
    );
  });

  it("show a wide column only where rows would look the same without it", () => {
    const separating = { ...COLUMNS[1]!, wide: true, separates: true } as const;
    const [name] = COLUMNS;
    const shown = (...rows: Named[]): string[] =>
      withSeparating([name!], [name!, separating], rows).map((column) => column.name);
    expect(shown({ name: "a", value: 1 }, { name: "b", value: 2 })).toEqual(["NAME"]);
    expect(shown({ name: "a", value: 1 }, { name: "a", value: 1 })).toEqual(["NAME"]);
    expect(shown({ name: "a", value: 1 }, { name: "a", value: 2 })).toEqual(["NAME", "VALUE"]);
  });

  it("are sorted by numbers as numbers, with those that have none last", () => {
    const rows = [
      { name: "a", value: 9 },
      { name: "b", value: null },
      { name: "c", value: 10 },
    ];
    const column = COLUMNS[1]!;
    const names = (descending: boolean): string =>
      sortRows(rows, { column, descending })
        .map(({ name }) => name)
        .join("");
    expect([names(true), names(false)]).toEqual(["cab", "acb"]);
  });
});

it.each([
  [{ LANG: "en_US.UTF-8" }, true],
  [{ LANG: "C.utf8" }, true],
  [{ LC_ALL: "C", LANG: "en_US.UTF-8" }, false],
  [{ LC_ALL: "", LC_CTYPE: "de_DE.UTF-8" }, true],
  [{ LANG: "POSIX" }, false],
  [{}, false],
])("a locale of %j has symbols: %s", (env, unicode) => {
  expect(new Output({ env, platform: "linux" }).unicode).toBe(unicode);
});
