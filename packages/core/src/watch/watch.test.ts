import { expect, it } from "vitest";
import { Cell } from "./watch.ts";

it("gives subscribers the next and the previous value, and is silent about a value that did not change", () => {
  const cell = new Cell(1);
  const seen: [number, number][] = [];
  const stop = cell.subscribe((next, previous) => seen.push([next, previous]));
  cell.set(2);
  cell.set(2);
  stop();
  cell.set(3);
  expect(seen).toEqual([[2, 1]]);
  expect(cell.current).toBe(3);
});

it("D13 CO: a listener that throws does not keep the news from the others", () => {
  const cell = new Cell("a");
  const seen: string[] = [];
  cell.subscribe(() => {
    throw new Error("a consumer's fault");
  });
  cell.subscribe((next) => seen.push(next));
  cell.set("b");
  expect(seen).toEqual(["b"]);
});
