/** Options that several commands share, with their texts for help, completion and the reference page. */

export const GENERAL = {
  help: { type: "flag", short: "h", meaning: "Print how the command is used." },
  debug: { type: "flag", meaning: "With an error, print where in inmesh it came from." },
  "no-color": { type: "flag", meaning: "No colours, as with NO_COLOR." },
} as const;

/** Which process, and with what right. */
export const CONNECTION = {
  admin: {
    type: "text",
    value: "<address>",
    env: "INMESH_ADMIN",
    meaning:
      "Where the process answers: http://127.0.0.1:<port> or unix:<path>, as mesh.admin.listen() printed it; or, of a process of this user on this machine, its pid, its name or that of a server. Default: the only one.",
  },
  token: {
    type: "text",
    value: "<token>",
    env: "INMESH_ADMIN_TOKEN",
    meaning:
      "The token of the process. Other users of the machine can read it in the list of processes.",
  },
  "token-file": {
    type: "text",
    value: "<file>",
    env: "INMESH_ADMIN_TOKEN_FILE",
    completes: "file",
    meaning: "A file that has the token.",
  },
  timeout: {
    type: "duration",
    value: "<duration>",
    meaning: "How long an answer may take. Default: 5s.",
  },
} as const;

/** How a table is shown. */
export const LISTING = {
  output: {
    type: "choice",
    short: "o",
    value: "<format>",
    among: ["table", "wide", "json", "jsonl", "name"],
    meaning:
      "table; wide, with further columns; json, one document; jsonl, a line for each row; name, only what a row is found by.",
  },
  json: { type: "flag", meaning: "The same as -o json." },
  columns: {
    type: "text",
    value: "<names>",
    completes: "column",
    meaning: "These columns in this order, with commas between them, wide ones too.",
  },
  sort: {
    type: "text",
    value: "<column>",
    completes: "column",
    meaning:
      "By this column, also one that is not shown: numbers from the largest, text from the first letter. :asc or :desc behind the name says otherwise.",
  },
  "no-headers": { type: "flag", meaning: "No line with the names of the columns." },
  watch: {
    type: "flag",
    short: "w",
    meaning: "Read again and again, until interrupted. On a terminal the table is drawn in place.",
  },
} as const;

/** For listings whose numbers are counted over time. */
export const WINDOW = {
  window: {
    type: "duration",
    value: "<duration>",
    meaning:
      "Count what happens within this time: read, wait, read again. Default with -w: 2s. Without either, numbers are those since the mesh was made.",
  },
} as const;

/** For listings without such numbers. */
export const EVERY = {
  every: {
    type: "duration",
    value: "<duration>",
    meaning: "With -w, the time between two readings. Default: 2s.",
  },
} as const;

export const CONFIG = {
  all: { type: "flag", meaning: "Defaults too." },
} as const;

/** As `explain` and `tap` take a request apart. */
export const EXPLAIN = {
  header: {
    type: "texts",
    short: "H",
    value: "'<name>: <value>'",
    meaning: "A field of the request's head. May be repeated.",
  },
  protocol: {
    type: "choice",
    value: "<protocol>",
    among: ["http", "grpc"],
    meaning: "Where both call the service. Default: the one that it is called by.",
  },
  json: { type: "flag", meaning: "Print the answer of the process, kind Explanation." },
} as const;

export const CHECK = {
  env: {
    type: "flag",
    meaning:
      "With files: also read INMESH_SERVICE_* from the environment, as a process does. Without a file, the one that INMESH_CONFIG names is read.",
  },
  discovery: {
    type: "texts",
    value: "<kind>",
    meaning:
      "With files: a kind of discovery that the program adds by createMesh({ discoveries }). It may be written then; what stands under it only the program can check. May be repeated.",
  },
  wait: {
    type: "duration",
    value: "<duration>",
    meaning:
      "Of a process: check again until it can be reached and nothing fails, for at most this long.",
  },
  "fail-on": {
    type: "choice",
    value: "<status>",
    among: ["warning", "failure"],
    meaning: "Of a process: from which status on the exit code is 1. Default: failure.",
  },
  output: {
    type: "choice",
    short: "o",
    value: "<format>",
    among: ["table", "short", "json"],
    meaning: "table; short, without the line that counts what holds; json, with every check.",
  },
  verbose: { type: "flag", short: "V", meaning: "Of a process: also list every check that holds." },
  json: { type: "flag", meaning: "Print one JSON document, the same as -o json." },
} as const;

/** Which calls. All conditions have to hold; of one that is repeated, one of its values has to. */
export const FILTER = {
  route: {
    type: "texts",
    value: "<name>",
    completes: "route",
    meaning: "Of this route. May be repeated.",
  },
  direction: {
    type: "choice",
    value: "<direction>",
    among: ["outbound", "inbound"],
    meaning: "Calls that the process made, or requests that it served. Default: both.",
  },
  method: { type: "texts", value: "<method>", meaning: "Of HTTP. May be repeated." },
  path: { type: "text", value: "<prefix>", meaning: "How the path begins." },
  status: {
    type: "texts",
    value: "<status>",
    meaning:
      "Status of HTTP, number of a gRPC status, a class such as 5xx, or none: without a reply. May be repeated.",
  },
  outcome: {
    type: "texts",
    value: "<outcome>",
    meaning: "success, failure, timeout, overloaded or abandoned. May be repeated.",
  },
  reason: {
    type: "texts",
    value: "<reason>",
    meaning:
      "Of the error of the call or of one of its attempts, or of a refusal. May be repeated.",
  },
  endpoint: {
    type: "text",
    value: "<address>",
    meaning: "An attempt went to it: host:port or unix:path.",
  },
  peer: {
    type: "text",
    value: "<peer>",
    meaning: "Of a request that was served: address of the client, or a name in its certificate.",
  },
  "min-latency": {
    type: "duration",
    value: "<duration>",
    meaning: "It took at least this long.",
  },
  header: {
    type: "texts",
    short: "H",
    value: "'<name>: <value>'",
    meaning:
      "The head of the request has this field. May be repeated: all of them have to be there.",
  },
  "trace-id": { type: "text", value: "<id>", meaning: "32 hexadecimal digits." },
  ratio: {
    type: "number",
    value: "<share>",
    meaning: "Show this share of them, above 0 and up to 1. Default: 1.",
  },
  limit: { type: "count", value: "<calls>", meaning: "End after so many calls." },
  "max-rps": {
    type: "count",
    value: "<calls>",
    meaning: "Show at most so many a second, 1 to 1000; what is above is counted. Default: 100.",
  },
} as const;

export const TAP = {
  attempts: { type: "flag", meaning: "Below each call its attempts, and why they were made." },
  headers: { type: "flag", meaning: "The fields of the request's head, without secrets." },
  query: { type: "flag", meaning: "The query behind the path. It may hold secrets." },
  output: {
    type: "choice",
    short: "o",
    value: "<format>",
    among: ["table", "json", "jsonl"],
    meaning: "table, a line for each call; json or jsonl, a JSON document on a line.",
  },
  json: { type: "flag", meaning: "The same as -o jsonl." },
} as const;

export const TOP = {
  routes: { type: "flag", meaning: "Add up by route instead of by path." },
  every: {
    type: "duration",
    value: "<duration>",
    meaning: "Time between two drawings. Default: 1s on a terminal, else 5s.",
  },
  for: { type: "duration", value: "<duration>", meaning: "End after this long." },
  rows: {
    type: "count",
    value: "<rows>",
    meaning: "Show at most so many. Default: what fits; else 20.",
  },
  sort: {
    type: "text",
    value: "<column>",
    completes: "column",
    meaning: "By this column. Default: count.",
  },
  json: { type: "flag", meaning: "Print a JSON document on a line for each drawing." },
} as const;

export const VERSION_OPTIONS = {
  json: { type: "flag", meaning: "Print one JSON document." },
} as const;
