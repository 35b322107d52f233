/** docs/architecture.md names files and folders that exist, all folders, and the orders as the code has them. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const root: string = join(import.meta.dirname, "..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const page: string = read("docs/architecture.md");
const files: readonly string[] = globSync(
  [
    "packages/*/{src,test}/**/*.{ts,cts,cjs}",
    "{scripts,docs,dashboards,benchmarks,examples}/**/*.ts",
  ],
  { cwd: root, exclude: ["**/node_modules/**"] },
);

/** The rows of the table of folders, each with the folders that it is about. */
const rows = page.split("\n").flatMap((line) => {
  const [, first = "", text = ""] =
    line.split(" | ").length === 2 ? /^\| (.+?) \| (.+) \|$/.exec(line)! : [];
  const folders = [...first.matchAll(/`([^`]+\/)`/g)].map(([, name]) =>
    name!.replace("…/", "packages/core/src/"),
  );
  return folders.length === 0 ? [] : [{ folders, text }];
});

const isBelow = (file: string, path: string): boolean => `/${file}`.endsWith(`/${path}`);
const namesIn = (text: string): string[] =>
  [...text.matchAll(/`([\w/.-]+\.(?:ts|cjs))`/g)].map(([, name]) => name!);

describe("docs/architecture.md", () => {
  it("names in the row of a folder only files that are in it, or by their path in the package", () => {
    expect(rows.length).toBeGreaterThan(20);
    for (const { folders, text } of rows) {
      const inside = files.filter((file) => folders.some((folder) => file.startsWith(folder)));
      const missing = namesIn(text).filter(
        (name) =>
          !inside.some((file) => isBelow(file, name)) &&
          !folders.some((of) =>
            files.includes(`${/^packages\/[^/]+\/src\//.exec(of)?.[0]}${name}`),
          ),
      );
      expect(missing, folders.join()).toEqual([]);
    }
  });

  it("names only files that exist", () => {
    expect(namesIn(page).filter((name) => !files.some((file) => isBelow(file, name)))).toEqual([]);
  });

  it("names every folder of the sources, or a file in it", () => {
    const all = new Set(
      files.flatMap((file) => /^packages\/[^/]+\/src\/(?:.*\/)?/.exec(file)?.[0] ?? []),
    );
    const isNamed = (folder: string): boolean =>
      rows.some(({ folders, text }) =>
        folders.some((of) => {
          if (of === folder) return true;
          const name = /[^/]+\/$/.exec(folder)![0];
          return folder.startsWith(of) && new RegExp(`\`(?:[\\w-]+/)*${name}`).test(text);
        }),
      );
    expect(all.size).toBeGreaterThan(40);
    expect([...all].filter((folder) => !isNamed(folder))).toEqual([]);
  });

  it.each([
    ["## The order", "packages/core/src/pipeline.ts"],
    ["## A request served", "packages/core/src/server/pipeline.ts"],
  ])("%s has the stages that %s lists, and compiles", (heading, path) => {
    const section = page.slice(page.indexOf(heading)).split("\n## ")[0]!;
    const onPage = [...section.matchAll(/^\| ([\d–]) \| ([^|]+) \|/gm)];
    const source = read(path);
    const inCode = [...source.matchAll(/^ \* {3}([\d–]) (.+)$/gm)];
    expect(onPage.length).toBeGreaterThan(7);
    const marks = (rowsOf: readonly RegExpExecArray[]): string =>
      rowsOf.map(([, mark]) => mark).join();
    expect(marks(onPage)).toBe(marks(inCode));
    for (const [i, [, , name]] of onPage.entries()) expect(inCode[i]![2]).toContain(name);
    const compiled = new Set([...source.matchAll(/\/\/ (\d)(?:$|;)/gm)].map(([, mark]) => mark));
    expect([...compiled].sort().join()).toBe(marks(onPage).replaceAll(/,?–/g, ""));
  });
});
