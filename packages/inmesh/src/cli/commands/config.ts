/** `inmesh config`: each value in force and who has written it, and what of the sources is not in force. */
import type { Config, ConfigValue } from "@inmesh/core/inspect";
import type { Parsed } from "../arguments.ts";
import { CONFIG_COLUMNS } from "../columns.ts";
import type { Context } from "../command.ts";
import type { ExitCode } from "../failure.ts";
import { list, type Listing } from "../listing.ts";
import type { CONFIG, CONNECTION, EVERY, LISTING } from "../options.ts";

type Options = typeof CONNECTION & typeof LISTING & typeof EVERY & typeof CONFIG;

export function run({ values, positionals }: Parsed<Options>, context: Context): Promise<ExitCode> {
  const query = new URLSearchParams();
  const [first, ...more] = positionals;
  // The process takes one name, and knows which there are.
  if (first !== undefined && more.length === 0) query.append("service", first);
  if (values.all) query.append("all", "true");
  const path = query.size === 0 ? "config" : `config?${query.toString()}`;
  const listing: Listing<Config, ConfigValue> = {
    kind: "ConfigValue",
    columns: CONFIG_COLUMNS,
    counts: false,
    empty: "No source has written anything about it; --all shows the defaults.",
    read: (admin) => admin.get<Config>("Config", path),
    rows: ({ now }) => (more.length === 0 ? now.values : now.values.filter(isAbout(positionals))),
    notes: ({ now }) => sourceNotes(now),
  };
  return list(listing, values, context);
}

function isAbout(names: readonly string[]): (value: ConfigValue) => boolean {
  const paths = names.map((name) => `services.${name}`);
  return ({ path }) => paths.some((one) => path === one || path.startsWith(`${one}.`));
}

/** The version in force, and what a source says that is not. */
function sourceNotes({ version, sources }: Config): string[] {
  const notes = [`version ${version} is in force`];
  for (const { name, state, mistakes } of sources) {
    if (state === "waiting") notes.push(`source ${name} has said nothing yet`);
    if (state === "failed")
      notes.push(`source ${name} cannot tell; its last good layer stays in force`);
    if (state !== "refused") continue;
    notes.push(`what source ${name} says now is refused; its last good layer stays in force:`);
    for (const { path, rule, value, origin, line } of mistakes) {
      const place = line === undefined ? origin : `${origin}:${line}`;
      notes.push(`  ${place}  ${path} ${rule}${value === "" ? "" : ` (got ${value})`}`);
    }
  }
  return notes;
}
