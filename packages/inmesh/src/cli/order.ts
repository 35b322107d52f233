/** What `--sort` says. */
import { loadSuggest } from "./arguments.ts";
import type { Column, Order } from "./table.ts";

/** One of the two: the order, or what is wrong with it. */
export async function parseOrder<Row>(
  columns: readonly Column<Row>[],
  text: string,
): Promise<{ readonly order?: Order<Row>; readonly mistake?: string }> {
  const [name = "", direction] = text.split(":");
  const column = columns.find((one) => one.name.toLowerCase() === name.toLowerCase());
  if (column === undefined) {
    const suggest = await loadSuggest();
    const known = columns.map((one) => one.name);
    return { mistake: `--sort ${JSON.stringify(name)} ${suggest(name, known)}` };
  }
  if (direction !== undefined && direction !== "asc" && direction !== "desc") {
    return { mistake: `--sort takes :asc or :desc behind the name (got ":${direction}")` };
  }
  const descending = direction === undefined ? column.align === "right" : direction === "desc";
  return { order: { column, descending } };
}
