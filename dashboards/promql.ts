/** What stands in a text of PromQL, by the grammar of Prometheus itself. */
import { parser } from "@prometheus-io/lezer-promql";

/** Where a query is none: the part that cannot be read. Undefined: it can. */
export function mistakeIn(query: string): string | undefined {
  let mistake: string | undefined;
  parser.parse(query).iterate({
    enter({ type, from, to }) {
      if (type.isError) mistake ??= `at ${from}: ${query.slice(from, Math.max(to, from + 20))}`;
    },
  });
  return mistake;
}

/** Each selection of series in a query, such as `up{job="a"}`, without its range. */
export function selectorsIn(query: string): string[] {
  return textsOf(query, "VectorSelector");
}

/** The names of the metrics that a query asks for. */
export function metricsIn(query: string): Set<string> {
  return new Set(selectorsIn(query).map((one) => /^[a-zA-Z_:][\w:]*/.exec(one)?.[0] ?? ""));
}

/** The names of the labels in a query, of matchers and of groups. */
export function labelsIn(query: string): Set<string> {
  return new Set(textsOf(query, "LabelName"));
}

function textsOf(query: string, name: string): string[] {
  const texts: string[] = [];
  parser.parse(query).iterate({
    enter(node) {
      if (node.name === name) texts.push(query.slice(node.from, node.to));
    },
  });
  return texts;
}
