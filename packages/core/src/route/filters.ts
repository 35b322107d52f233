/**
 * Reads the filters of a route: what it changes in the heads of its calls and of their replies. In one
 * list a name stands once, in any case, as in Gateway API. That leaves the order of the lists open; ours
 * is Linkerd's, see header-changes.ts.
 */
import { isClaim } from "../claim-names.ts";
import { LIMITS } from "../config/limits.ts";
import type { PathPart } from "../config/mistakes.ts";
import { isRaw, listOf, type Raw, rawOf, type Report } from "../config/plain.ts";
import type { HeaderConfig, HeaderModifierConfig, RouteFilterConfig } from "./types.ts";

/** `type` as Gateway API has it, and the key that goes with it. */
const FILTER_KEYS = {
  RequestHeaderModifier: "requestHeaderModifier",
  ResponseHeaderModifier: "responseHeaderModifier",
} as const;

type FilterKey = (typeof FILTER_KEYS)[keyof typeof FILTER_KEYS];

const KEYS: readonly FilterKey[] = Object.values(FILTER_KEYS);

const CONNECTION = "belongs to the connection";
const TRACE = "belongs to the trace of each call";
/** Why they may not be changed; beside them stand names by their beginning or end, see `reservedBecause`. */
export const RESERVED_HEADERS: ReadonlyMap<string, string> = new Map([
  ["connection", CONNECTION],
  ["content-length", CONNECTION],
  ["expect", CONNECTION],
  ["http2-settings", CONNECTION],
  ["keep-alive", CONNECTION],
  ["proxy-authenticate", CONNECTION],
  ["proxy-authorization", CONNECTION],
  ["proxy-connection", CONNECTION],
  ["te", CONNECTION],
  ["trailer", CONNECTION],
  ["transfer-encoding", CONNECTION],
  ["upgrade", CONNECTION],
  ["host", "belongs to the service: set its `authority`"],
  ["traceparent", TRACE],
  ["tracestate", TRACE],
  ["idempotency-key", "is of one call: the same for all would make them one"],
]);

export function readFilters(
  value: unknown,
  path: readonly PathPart[],
  report: Report,
): RouteFilterConfig[] {
  const seen = new Set<FilterKey>();
  return listOf(value).flatMap((item, index) => {
    const raw = rawOf(item);
    const at = [...path, index];
    const written = KEYS.filter((key) => key in raw);
    const [key] = written;
    if (key === undefined || written.length > 1) {
      if (isRaw(item)) report(at, `must have one of ${KEYS.join(", ")}`, item);
      return [];
    }
    const { type } = raw;
    const typed = typeof type === "string" && FILTER_KEYS[type as keyof typeof FILTER_KEYS];
    if (typed && typed !== key) report([...at, "type"], `must fit ${key} beside it`, type);
    if (seen.has(key))
      report([...at, key], "must not be repeated in a route: put both into one", item);
    seen.add(key);
    return [{ [key]: readModifier(rawOf(raw[key]), [...at, key], report) }];
  });
}

function readModifier(raw: Raw, path: readonly PathPart[], report: Report): HeaderModifierConfig {
  const set = readHeaders(raw["set"], new Names([...path, "set"], report));
  const add = readHeaders(raw["add"], new Names([...path, "add"], report));
  const removed = new Names([...path, "remove"], report);
  const remove = listOf(raw["remove"]).flatMap((name, index) =>
    typeof name === "string" ? [removed.take(name, [index])] : [],
  );
  if (set.length + add.length + remove.length === 0) {
    report(path, "must set, add or remove a header", raw);
  }
  const bytes = [...set, ...add].reduce(
    (sum, { name, value }) => sum + name.length + value.length,
    0,
  );
  if (bytes > LIMITS.modifierBytes) {
    report(path, `must have at most ${LIMITS.modifierBytes} bytes of names and values`, raw);
  }
  return { set, add, remove };
}

function readHeaders(value: unknown, names: Names): HeaderConfig[] {
  return listOf(value).map((item, index) => {
    const raw = rawOf(item);
    const name = typeof raw["name"] === "string" ? raw["name"] : "";
    const text = typeof raw["value"] === "string" ? raw["value"] : "";
    return { name: names.take(name, [index, "name"]), value: text };
  });
}

/** The names of one list, lower-case, each of them once and none reserved. */
class Names {
  readonly #taken = new Set<string>();
  readonly #path: readonly PathPart[];
  readonly #report: Report;

  constructor(path: readonly PathPart[], report: Report) {
    this.#path = path;
    this.#report = report;
  }

  take(written: string, at: readonly PathPart[]): string {
    const name = written.toLowerCase();
    const path = [...this.#path, ...at];
    const why = reservedBecause(name);
    if (why !== undefined) this.#report(path, `must not be "${name}", which ${why}`, written);
    else if (this.#taken.has(name)) {
      this.#report(path, `must not be "${name}" a second time in one list`, written);
    }
    if (name !== "") this.#taken.add(name);
    return name;
  }
}

/** Some servers read `X_Y` as `X-Y`, so neither may be had in the other's clothes. */
function reservedBecause(name: string): string | undefined {
  const plain = name.replaceAll("_", "-");
  if (plain.startsWith("grpc-")) return "belongs to gRPC";
  if (plain.endsWith("-bin")) return "is binary in gRPC, and no text";
  if (isClaim(name)) return "is inmesh's own, or states the identity of a client";
  return RESERVED_HEADERS.get(plain);
}
