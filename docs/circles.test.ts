/** The lint against circles of imports, played with sources that have some. */
import { expect, it } from "vitest";
import { circlesOf, foldersOf, importsOf } from "../scripts/circles.ts";

const graphOf = (texts: Record<string, string>) => importsOf(new Map(Object.entries(texts)));

it("a circle is named with the way back, imports of types included", () => {
  const graph = graphOf({
    "src/a.ts": 'import type { B } from "./deep/b.ts";',
    "src/deep/b.ts": 'export type C = import("../c.ts").C;',
    "src/c.ts": 'import "./a.ts";\nimport { x } from "package";',
    "src/d.ts": 'export { a } from "./a.ts";',
  });
  expect(circlesOf(graph)).toEqual([["src/a.ts", "src/deep/b.ts", "src/c.ts", "src/a.ts"]]);
});

it("folders form a circle where none of their files does, and files beside them do not count", () => {
  const graph = graphOf({
    "core/one/a.ts": 'import type { B } from "../two/b.ts";',
    "core/two/b.ts": 'import type { Leaf } from "../leaf.ts";',
    "core/two/c.ts": 'import { d } from "../one/d.ts";',
    "core/one/d.ts": "",
    "core/leaf.ts": "",
  });
  expect(circlesOf(graph)).toEqual([]);
  expect(circlesOf(foldersOf(graph, "core/"))).toEqual([["core/one", "core/two", "core/one"]]);
});
