/** docs/reference/cli.md and docs/reference/cli.schema.json, from the table of commands and the columns of tables. */
import type { Option } from "../packages/inmesh/src/cli/arguments.ts";
import type { AnyCommand } from "../packages/inmesh/src/cli/command.ts";
import { COLUMNS } from "../packages/inmesh/src/cli/columns.ts";
import { COMMANDS } from "../packages/inmesh/src/cli/commands.ts";
import { EXIT } from "../packages/inmesh/src/cli/failure.ts";
import { usageOf } from "../packages/inmesh/src/cli/help.ts";
import {
  CONNECTION,
  FILTER,
  GENERAL,
  LISTING,
  WINDOW,
} from "../packages/inmesh/src/cli/options.ts";

/** Groups of options that stand once, above the commands. */
const SHARED: readonly (readonly [
  title: string,
  text: string,
  options: Readonly<Record<string, Option>>,
])[] = [
  ["Options of every command", "", GENERAL],
  [
    "Which process",
    "`stat`, `routes`, `endpoints`, `tap`, `top`, `explain`, `config`, and `check` and `version` without more, ask one process: the API that its `mesh.admin.listen()` serves ([admin-api.md](admin-api.md)). A flag wins over the environment. Without either, and where the [registry](registry.md) of the machine is on, so neither in production nor in CI nor in a cluster, it is the only process of this user whose API is open; of several, `--admin` names one by its pid, its name or the name of one of its servers, and the error lists them. Their tokens are found with them. `--token` wins over `--token-file`, that over `INMESH_ADMIN_TOKEN`, and that over `INMESH_ADMIN_TOKEN_FILE`. stderr says when a token goes to another machine over `http:`, because the network can read it.",
    CONNECTION,
  ],
  ["Tables", "Of `stat`, `routes`, `endpoints` and `config`.", LISTING],
  [
    "Windows of time",
    "Of `stat`, `routes` and `endpoints`. A process that was restarted between two readings has begun at 0 again, and its reading stands for itself.",
    WINDOW,
  ],
  [
    "Which calls",
    "Of `tap` and `top`. All conditions have to hold; of one that is repeated, one of its values has to. They are decided at the end of a call, by the process ([tap.md](tap.md)).",
    FILTER,
  ],
];

const EXITS: Readonly<Record<keyof typeof EXIT, string>> = {
  ok: "It worked. Also for `q` in `top`, and when the reader of a pipe has enough.",
  failed:
    "`check`: a file has mistakes, or a check of the process failed. `explain`: the call would be refused at once.",
  usage:
    "The command is wrong, and nothing was done: an unknown command, option, column or service, a value that cannot be, a filter that the process does not take. stderr has every mistake.",
  unreachable:
    "The process cannot be reached, or what answers is none, or speaks another version of the API.",
  denied:
    "The token is missing or wrong, the socket belongs to another user, or the process refuses the address.",
  timeout: "No answer within `--timeout`.",
  conflict: "What was to be changed has changed meanwhile. No command of today changes anything.",
  defect: "A defect of inmesh, or a Node that is older than it supports.",
  interrupted: "Ended by SIGINT (Ctrl-C), SIGTERM or SIGHUP: also how `-w`, `tap` and `top` end.",
};

const ENVIRONMENT: readonly (readonly [name: string, meaning: string])[] = [
  ["INMESH_ADMIN", "As `--admin`."],
  ["INMESH_ADMIN_TOKEN", "As `--token`."],
  ["INMESH_ADMIN_TOKEN_FILE", "As `--token-file`."],
  ["INMESH_CONFIG, INMESH_SERVICE_*", "Read by `check --env` alone."],
  ["NO_COLOR", "Set: no colours. `FORCE_COLOR` wins over it."],
  ["FORCE_COLOR", "Set and not `0`: colours in a pipe too."],
  ["TERM", "`dumb`: no colours, nothing is drawn in place, and `top` prints lines."],
  [
    "LC_ALL, LC_CTYPE, LANG",
    "The first that says something: without UTF-8 in it all output is ASCII, with `\\u{1b}` for other characters and `ok`, `!!`, `xx` for √, ‼ and ×.",
  ],
  ["COLUMNS", "Width of tables and sentences where stdout is no terminal."],
];

const NOTES: Readonly<Record<string, string>> = {
  stat: `\`\`\`text
NAME        DIR  ENDPOINTS  SUCCESS       RPS  LATENCY_P50  LATENCY_P95  LATENCY_P99  TCP_CONN  ATTEMPTS  TLS  NOTE
orders      out        3/3   99.98%  412.0rps        3.7ms         15ms         25ms        96      1.02  yes
pay         out        2/3   97.10%   38.5rps         21ms         99ms        230ms        12      1.18  no   1 of 3 endpoints has an open breaker
storefront  in           -   99.00%  100.0rps        6.5ms         21ms         36ms        41         -  -
\`\`\`

Names and order of the columns are those of \`linkerd viz stat\`; what only a control plane knows is not there, and
what is ours stands to the right. Below 95 % success is red, below 99 % yellow.`,
  routes: "",
  endpoints: "",
  tap: `\`\`\`text
10:02:17.041 out 200  3.6ms 1x orders/read                  10.0.0.7:8080            GET /v1/orders/42
10:02:17.064 out 503  118ms 2x pay                          10.0.0.9:9443            POST /v1/payments overloaded
10:02:17.081 in  503  0.2ms    storefront                   10.0.3.7:51234           GET / overloaded: concurrency
\`\`\`

On a line stand when the call began, in the time zone of the reader; whether the process made it or served it; the
status; how long it took; how many attempts were made; the service and its route; the endpoint of the last attempt, or
the peer; the request; and how it ended, if not well. Calls that are not shown, because more came than \`--max-rps\`
or than could be read, are counted on stderr. With \`--json\` a line is one event, as [tap.md](tap.md) describes them.`,
  top: "Paths are what callers make of them: at most 1,000 rows are kept, and what comes then is added up in one named `other`. With `--json` a line is one document, of kind `TopList`, and has in `lost` how many calls were not seen.",
  explain: `\`\`\`text
GET /v1/orders/42  to orders by http
route       read
            gold-only  not: header x-tier is not "platinum"
written by  services.orders.routes            file:/etc/shop/mesh.yaml:12
            services.orders.timeouts.request  override, ov-7f3a
timeout     500ms for the call, 200ms for an attempt
attempts    up to 3; the call may be repeated
split       orders     70%, now 100%
            orders-v2  30%, now 0%    no endpoint: discovery has named none
endpoint    10.0.0.7:8080  66%    cost 4.1     2 in flight  the lower cost of two drawn
            10.0.0.8:8080  never  cost 2412.7  0 in flight  open since 4s: 7 failures in a row
\`\`\``,
  check: `Without a file it asks a process for the checks that it makes of itself, each with its page; with files, or \`--env\`, it
reads those as \`createMesh\` would, and lists every mistake with its line, the rule and the value. The latter opens no
connection and resolves no name, so it can run in a pipeline before anything is deployed. \`-\` in the place of a file is
the standard input, as YAML or JSON.

\`\`\`sh
npx inmesh check mesh.yaml
kubectl get configmap mesh -o jsonpath='{.data.mesh\\.yaml}' | npx inmesh check -
\`\`\`

\`\`\`text
wrong  mesh.yaml: 2 mistakes
       line 3  services.orders.discovery.prot
         is not known; did you mean "port"? (got 8080)
       line 4  services.orders.retry.attemps
         is not known; did you mean "attempts"? (got 3)
\`\`\`

With \`--json\` files give \`{ "apiVersion", "kind": "FileChecks", "files": [{ "file", "valid", "services": [{ "name",
"discovery", "routes" }], "mistakes": [{ "path", "rule", "value", "origin", "line" }], "unchecked": [] }] }\`, where \`unchecked\` names
the sections of other programs, such as \`proxy\`, which \`mesh-proxy --check\` checks. A process gives its answer,
of kind \`Checks\`.`,
  config:
    "Below the table stand, on stderr, the version in force and what a source says that is not in force, with every mistake.",
  version: "`inmesh --version` and `-v` print the number alone.",
  completion:
    "`inmesh completion bash` says in its first lines where it belongs. Commands, options and columns are completed; names of services and routes too, if `--admin` or `INMESH_ADMIN` says where a process is that answers within half a second. A name that a shell would have to quote is not offered.",
};

export function cliReference(): string {
  const lines = [
    "<!-- Generated by scripts/write-cli-reference.ts from packages/inmesh/src/cli. -->",
    "",
    "# Command line",
    "",
    "`npx inmesh <command>` comes with the package `inmesh`. It asks one running process, or reads configuration files.",
    "[Observe](../guides/observe.md) shows it at work.",
    "",
    "| command | shows |",
    "|---|---|",
    ...Object.entries(COMMANDS).map(
      ([name, { summary }]) => `| [\`${name}\`](#inmesh-${name}) | ${summary} |`,
    ),
    "| `help`, `--help`, `-h` | the commands; with the name of one, how it is used |",
    "",
    "## Output",
    "",
    "- **stdout is data, stderr is what is said about it**: notes, mistakes, how long a table counts.",
    "- **Tables fit the terminal.** Where there is no room, long names of columns become short ones, then notes are cut and",
    "  said below, then columns are left out, which stderr says, and at last names are cut, only so far that rows stay",
    "  different. In a pipe or a file nothing is cut.",
    "- **JSON** has `apiVersion` and `kind`, numbers without units, and `null` where there is nothing to say; its schema is",
    "  [cli.schema.json](cli.schema.json). Fields are added, and none is removed within one `apiVersion`. With `-w`",
    "  there is a document for each reading, on a line of its own.",
    "- **Text from elsewhere is harmless**: control characters, escape sequences and marks that change the direction of",
    "  text are shown as `\\u{1b}`, in JSON as `\\u001b`.",
    "- **Colours** only on a terminal.",
    "- **A mistake** in the command line is answered with all others, the name that was probably meant, and exit code 2;",
    "  an error says what happened, why, and what to do next. `--debug` adds where in inmesh it came from.",
    "- `-w` goes on when a process that it has read before cannot be reached, such as for a restart, and says so on stderr.",
    "- `-w` and `top` on a terminal draw in place; `top` takes the whole terminal and gives it back, also when it is",
    "  ended by a signal.",
    "",
    "## Exit codes",
    "",
    "| code | meaning |",
    "|---|---|",
    ...Object.entries(EXITS).map(
      ([name, text]) => `| ${EXIT[name as keyof typeof EXIT]} | ${text} |`,
    ),
    "",
    "## Environment",
    "",
    "| variable | meaning |",
    "|---|---|",
    ...ENVIRONMENT.map(
      ([names, text]) =>
        `| ${names
          .split(", ")
          .map((name) => `\`${name}\``)
          .join(", ")} | ${text} |`,
    ),
    "",
    "There is no file of settings.",
    "",
    ...SHARED.flatMap(([title, text, options]) => [
      `## ${title}`,
      "",
      ...(text === "" ? [] : [wrapped(text), ""]),
      ...optionTable(options),
      "",
    ]),
    ...Object.entries(COMMANDS).flatMap(([name, command]) => section(name, command)),
  ];
  return `${lines.join("\n").trimEnd()}\n`;
}

function section(name: string, command: AnyCommand): string[] {
  const { summary, positionals, more, examples } = command;
  const own = Object.fromEntries(
    Object.entries(command.options).filter(
      ([of]) =>
        !SHARED.some(([, , options]) => isGroupOf(command, options) && Object.hasOwn(options, of)),
    ),
  );
  const groups = SHARED.slice(1).filter(([, , options]) => isGroupOf(command, options));
  const lines = [
    `## inmesh ${name}`,
    "",
    `\`${usageOf(`inmesh ${name}`, command).replace("Usage: ", "")}\``,
    "",
    wrapped(sentence(summary)),
  ];
  if (more !== undefined) lines.push("", wrapped(more));
  const note = NOTES[name];
  if (note !== undefined && note !== "") lines.push("", note.includes("\n") ? note : wrapped(note));
  if (positionals.length > 0) {
    lines.push("", "| argument | meaning |", "|---|---|");
    for (const one of positionals) lines.push(`| \`<${one.name}>\` | ${cell(one.meaning)} |`);
  }
  if (Object.keys(own).length > 0) lines.push("", ...optionTable(own));
  if (groups.length > 0) {
    const links = groups.map(
      ([title]) => `[${title.toLowerCase()}](#${title.toLowerCase().replaceAll(" ", "-")})`,
    );
    lines.push("", `Further options: ${links.join(", ")}.`);
  }
  const columns = COLUMNS[name] ?? [];
  if (columns.length > 0) {
    lines.push("", "| column | in JSON | meaning |", "|---|---|---|");
    for (const one of columns) {
      const wide = one.wide === true ? " ¹" : "";
      lines.push(`| ${one.name}${wide} | \`${one.key}\` | ${cell(one.meaning)} |`);
    }
    if (columns.some(({ wide }) => wide === true))
      lines.push("", "¹ With `-o wide`, or named by `--columns`.");
  }
  if (examples.length > 0) {
    lines.push(
      "",
      "```sh",
      ...examples.map(({ line, meaning }) => `${line}   # ${meaning}`),
      "```",
    );
  }
  return [...lines, ""];
}

/** It takes all options of the group, as they are. */
function isGroupOf({ options }: AnyCommand, group: Readonly<Record<string, Option>>): boolean {
  return Object.entries(group).every(([name, option]) => options[name] === option);
}

function optionTable(options: Readonly<Record<string, Option>>): string[] {
  return [
    "| option | meaning |",
    "|---|---|",
    ...Object.entries(options).map(([name, option]) => {
      const value = option.type === "flag" ? "" : ` ${option.value}`;
      const long = `\`--${name}${value}\``;
      const names = option.short === undefined ? long : `${long}, \`-${option.short}\``;
      const among =
        option.type === "choice"
          ? ` One of ${option.among.map((one) => `\`${one}\``).join(", ")}.`
          : "";
      const env = option.env === undefined ? "" : ` Environment: \`${option.env}\`.`;
      return `| ${names} | ${cell(option.meaning)}${among}${env} |`;
    }),
  ];
}

function cell(text: string): string {
  return text.replaceAll("|", String.raw`\|`).replaceAll("<", "&lt;");
}

function sentence(text: string): string {
  return text[0]!.toUpperCase() + text.slice(1) + (/[.?!]$/.test(text) ? "" : ".");
}

const WIDTH = 118;

function wrapped(text: string): string {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line].join("\n");
}

/** Documents that the program makes itself. Those that it passes on are in admin-api.schema.json. */
const KINDS: readonly (readonly [kind: string, command: string])[] = [
  ["Stat", "stat"],
  ["Route", "routes"],
  ["Endpoint", "endpoints"],
  ["ConfigValue", "config"],
];

export function cliSchema(): string {
  const definitions: Record<string, object> = {};
  const documents: string[] = [];
  for (const [kind, command] of KINDS) {
    const row = rowOf(command);
    const counts = COMMANDS[command]!.options["window"] !== undefined;
    const head = {
      apiVersion: { const: "inmesh.dev/v1" },
      instance: { type: "string", description: "Random text of the mesh that was asked." },
      readAtWallMs: {
        type: "number",
        description: "When it was asked, in milliseconds since 1970.",
      },
      ...(counts
        ? { windowMs: { type: "number", description: "Length of what is counted." } }
        : {}),
    };
    definitions[`${kind}List`] = object({
      ...head,
      kind: { const: `${kind}List` },
      items: { type: "array", items: object(row) },
    });
    definitions[kind] = object({ ...head, kind: { const: kind }, ...row });
    documents.push(`${kind}List`, kind);
  }
  definitions["TopList"] = object({
    apiVersion: { const: "inmesh.dev/v1" },
    kind: { const: "TopList" },
    windowMs: { type: "number", description: "Since the command began." },
    lost: { type: "number", description: "Calls that were not seen, because there were too many." },
    items: { type: "array", items: object(rowOf("top")) },
  });
  documents.push("TopList");
  const schema = {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "Documents of npx inmesh --json and -o jsonl",
    oneOf: documents.map((name) => ({ $ref: `#/$defs/${name}` })),
    $defs: definitions,
  };
  return `${JSON.stringify(schema, null, 2)}\n`;
}

function rowOf(command: string): Record<string, object> {
  return Object.fromEntries(
    COLUMNS[command]!.map(({ key, types, align, meaning }) => {
      const of = types ?? (align === "right" ? ["number", "null"] : ["string"]);
      return [key, { type: of.length === 1 ? of[0] : of, description: meaning }];
    }),
  );
}

function object(properties: Record<string, object>): object {
  return { type: "object", required: Object.keys(properties), properties };
}
