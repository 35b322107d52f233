/** The option `query` of a call: what it says is appended to the path, behind what stands there already. */
import { badInput, shown } from "./call-input.ts";
import type { QueryInput } from "./call-options.ts";

/** Throws a MeshError (`bad_request`) that names a value which cannot be written. */
export function withQuery(service: string, path: string, query: QueryInput): string {
  const text = textOf(service, query);
  if (text === "") return path;
  const start = path.indexOf("?");
  if (start < 0) return `${path}?${text}`;
  return start === path.length - 1 || path.endsWith("&") ? path + text : `${path}&${text}`;
}

function textOf(service: string, query: QueryInput): string {
  if (typeof query !== "object" || query === null || Array.isArray(query)) {
    const what = `query must be an object or URLSearchParams, got ${shown(query)}`;
    throw badInput(service, "bad_option", what);
  }
  if (query instanceof URLSearchParams) return query.toString();
  const params = new URLSearchParams();
  for (const name of Object.keys(query)) {
    const value = query[name];
    if (!Array.isArray(value)) append(service, params, name, value);
    else for (const one of value as readonly unknown[]) append(service, params, name, one);
  }
  return params.toString();
}

function append(service: string, params: URLSearchParams, name: string, value: unknown): void {
  switch (typeof value) {
    case "number":
      // NaN and Infinity come from a calculation that went wrong.
      if (!Number.isFinite(value)) break;
      params.append(name, String(value));
      return;
    case "string":
    case "boolean":
    case "bigint":
      params.append(name, String(value));
      return;
    case "undefined":
      return;
  }
  const hint = value === null ? "; leave it out, or give undefined" : "";
  const what = `query: ${JSON.stringify(name.slice(0, 64))} must be a text, a number or true or false, got ${shown(value)}${hint}`;
  throw badInput(service, "bad_option", what);
}
