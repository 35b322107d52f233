/**
 * Circles of imports, imports of types included: files of one circle can be neither read nor tested one at
 * a time. oxlint's `import/no-cycle` leaves imports of types out.
 */
import { posix } from "node:path";

/** What each file or folder imports. */
type Graph = ReadonlyMap<string, ReadonlySet<string>>;

/** `texts`: sources by path. Imports of files that are not among them, such as packages, do not count. */
export function importsOf(texts: ReadonlyMap<string, string>): Graph {
  const graph = new Map<string, Set<string>>();
  for (const [file, text] of texts) {
    const imports = new Set<string>();
    for (const [, path] of text.matchAll(/(?:\bfrom|\bimport|\bimport\()\s*"(\.[^"]+)"/g)) {
      const target = posix.join(posix.dirname(file), path!);
      if (texts.has(target)) imports.add(target);
    }
    graph.set(file, imports);
  }
  return graph;
}

/** The folders of `root` instead of the files in them. Files that stand in `root` itself do not count. */
export function foldersOf(graph: Graph, root: string): Graph {
  const folder = (file: string): string | undefined => {
    const [name, inside] = file.startsWith(root) ? file.slice(root.length).split("/") : [];
    return inside === undefined ? undefined : root + name!;
  };
  const folders = new Map<string, Set<string>>();
  for (const [file, imports] of graph) {
    const from = folder(file);
    if (from === undefined) continue;
    const known = folders.get(from) ?? new Set();
    folders.set(from, known);
    for (const one of imports) {
      const to = folder(one);
      if (to !== undefined && to !== from) known.add(to);
    }
  }
  return folders;
}

/** Every import that closes a circle, with the way back: `["a", "b", "a"]`. The shortest for each start. */
export function circlesOf(graph: Graph): string[][] {
  const circles: string[][] = [];
  const seen = new Set<string>();
  for (const start of graph.keys()) {
    const circle = shortest(graph, start);
    if (circle === undefined) continue;
    const key = circle.slice(1).sort().join();
    if (!seen.has(key)) circles.push(circle);
    seen.add(key);
  }
  return circles;
}

/** From `start` back to it, by breadth first. */
function shortest(graph: Graph, start: string): string[] | undefined {
  const ways: string[][] = [[start]];
  const visited = new Set<string>();
  for (const way of ways) {
    for (const next of graph.get(way.at(-1)!) ?? []) {
      if (next === start) return [...way, next];
      if (visited.has(next)) continue;
      visited.add(next);
      ways.push([...way, next]);
    }
  }
  return undefined;
}
