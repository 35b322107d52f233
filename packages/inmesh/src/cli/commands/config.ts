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
  for (const name of positionals) query.append("service", name);
  if (values.all) query.append("all", "true");
  const listing: Listing<Config, ConfigValue> = {
    kind: "ConfigValue",
    columns: CONFIG_COLUMNS,
    counts: false,
    empty: "No source has written anything; --all shows the defaults.",
    read: (admin) => admin.get<Config>("Config", query.size === 0 ? "config" : `config?${query}`),
    rows: ({ now }) => now.values,
    notes: ({ now }) => sourceNotes(now),
  };
  return list(listing, values, context);
}

/** The version in force, and what a source says that is not. */
function sourceNotes({ version, sources }: Config): string[] {
  const notes = [`version ${version} is in force`];
  for (const { name, state, mistakes } of sources) {
    if (state === "waiting") notes.push(`source ${name} has said nothing yet`);
    if (state === "failed") notes.push(`source ${name} cannot tell; its last good layer stays in force`);
    if (state !== "refused") continue;
    notes.push(`what source ${name} says now is refused; its last good layer stays in force:`);
    for (const { path, rule, value, origin, line } of mistakes) {
      const place = line === undefined ? origin : `${origin}:${line}`;
      notes.push(`  ${place}  ${path} ${rule}${value === "" ? "" : ` (got ${value})`}`);
    }
  }
  return notes;
}
