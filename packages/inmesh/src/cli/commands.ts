/**
 * The commands. Help, completion and the tests of the reference page read this table; what a command does is
 * loaded when it is called, so that the table costs a start next to nothing.
 */
import { define, type AnyCommand } from "./command.ts";
import {
  CHECK,
  CONFIG,
  CONNECTION,
  EVERY,
  EXPLAIN,
  FILTER,
  LISTING,
  TAP,
  TOP,
  VERSION_OPTIONS,
  WINDOW,
} from "./options.ts";

const SERVICES = {
  name: "service",
  meaning: "Only these services. Default: all.",
  optional: true,
  repeated: true,
  completes: "service",
} as const;

export const COMMANDS: Readonly<Record<string, AnyCommand>> = {
  stat: define({
    summary: "success, rate and latency of each service and server",
    positionals: [{ ...SERVICES, meaning: "Only these services and servers. Default: all." }],
    options: { ...LISTING, ...WINDOW, ...CONNECTION },
    examples: [
      { line: "inmesh stat -w", meaning: "what happens now, again and again" },
      {
        line: "inmesh stat --window 10s --sort success:asc",
        meaning: "of ten seconds, the worst first",
      },
    ],
    load: () => import("./commands/stat.ts"),
  }),
  routes: define({
    summary: "success and rate of each route, before and after retries",
    positionals: [SERVICES],
    options: { ...LISTING, ...WINDOW, ...CONNECTION },
    more: "EFFECTIVE is what the application saw, ACTUAL what the endpoints saw: the difference is what retries hide.",
    examples: [
      { line: "inmesh routes orders -o wide", meaning: "with the weights of their backends" },
    ],
    load: () => import("./commands/routes.ts"),
  }),
  endpoints: define({
    summary: "each endpoint: state, cost, share, and why",
    positionals: [SERVICES],
    options: { ...LISTING, ...WINDOW, ...CONNECTION },
    examples: [
      { line: "inmesh endpoints orders -w", meaning: "which endpoint gets how much, now" },
    ],
    load: () => import("./commands/endpoints.ts"),
  }),
  tap: define({
    summary: "calls as they end, a line for each",
    positionals: [SERVICES],
    options: { ...FILTER, ...TAP, ...CONNECTION },
    more: "Conditions are decided at the end of a call, so they may be about its status and its duration. All of them have to hold. Bodies are never shown, and header fields that hold secrets are redacted by the process.",
    examples: [
      {
        line: "inmesh tap orders --status 5xx --min-latency 100ms",
        meaning: "slow calls that failed",
      },
      {
        line: "inmesh tap --outcome failure --attempts --limit 1",
        meaning: "the next call that fails, and why",
      },
    ],
    load: () => import("./commands/tap.ts"),
  }),
  top: define({
    summary: "which calls there are most of, added up while it runs",
    positionals: [SERVICES],
    options: { ...TOP, ...FILTER, ...CONNECTION },
    more: "Full-screen on a terminal, where q ends, s sorts by the next column and c begins anew; a table every five seconds elsewhere.",
    examples: [{ line: "inmesh top --for 10s --json", meaning: "ten seconds, for a program" }],
    load: () => import("./commands/top.ts"),
  }),
  explain: define({
    summary: "where a call would go now, and why not elsewhere",
    positionals: [
      { name: "method", meaning: "Of HTTP. Default: GET; of gRPC POST.", optional: true },
      {
        name: "target",
        meaning: "A URL, or the name of a service and a path: http://orders/v1/42, orders/v1/42.",
        completes: "service",
      },
    ],
    options: { ...EXPLAIN, ...CONNECTION },
    more: "Nothing is sent to the service. The exit code is 1 if the call would be refused at once.",
    examples: [
      {
        line: "inmesh explain GET http://checkout/pay -H 'x-user: 7'",
        meaning: "route, split and endpoints",
      },
    ],
    load: () => import("./commands/explain.ts"),
  }),
  check: define({
    summary: "is a configuration file valid, or a process well? Lists every mistake",
    positionals: [
      {
        name: "file",
        meaning:
          "Read as createMesh would. - is the standard input, as YAML or JSON. Without a file the process is checked.",
        optional: true,
        repeated: true,
        completes: "file",
      },
    ],
    options: { ...CHECK, ...CONNECTION },
    more: "A check of files opens no connection and resolves no name. The exit code is 1 if a file has mistakes or a check of the process failed.",
    examples: [
      { line: "inmesh check mesh.yaml", meaning: "before it is deployed" },
      {
        line: "inmesh check --admin unix:/run/shop/mesh.sock --wait 30s",
        meaning: "until the process is well",
      },
    ],
    load: () => import("./commands/check.ts"),
  }),
  config: define({
    summary: "each value in force, and who has written it",
    positionals: [SERVICES],
    options: { ...CONFIG, ...LISTING, ...EVERY, ...CONNECTION },
    examples: [{ line: "inmesh config orders --all", meaning: "with defaults" }],
    load: () => import("./commands/config.ts"),
  }),
  version: define({
    summary: "the version of this program, and of the process",
    positionals: [],
    options: { ...VERSION_OPTIONS, ...CONNECTION },
    examples: [],
    load: () => import("./commands/version.ts"),
  }),
  completion: define({
    summary: "the script by which a shell completes commands, options and names",
    positionals: [{ name: "shell", meaning: "bash, zsh or fish.", completes: "shell" }],
    options: {},
    examples: [
      {
        line: "source <(inmesh completion bash)",
        meaning: "for this shell; the script says how for all",
      },
    ],
    load: () => import("./commands/completion.ts"),
  }),
};
