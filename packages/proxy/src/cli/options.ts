/** The options of `mesh-proxy`, with their texts for help, completion and the reference page. */
import type { CommandText, ExitTexts } from "inmesh/cli";

export const OPTIONS = {
  config: {
    type: "text",
    short: "c",
    value: "<file>",
    env: "INMESH_CONFIG",
    completes: "file",
    meaning:
      "A mesh.yaml or mesh.json, with services, servers and, under proxy, listeners. It is followed while the proxy runs.",
  },
  listen: {
    type: "texts",
    short: "l",
    value: "[<protocol>://]<address>[=<service>]",
    env: "INMESH_PROXY_LISTEN",
    completes: "protocol",
    meaning:
      "An outbound listener, host:port or unix:<path>. With a service everything on it goes there; without one the Host, the :authority or the TLS server name of each request says it. What is spoken is found out from the first bytes, unless tcp://, tls://, http1:// or http2:// stands before the address. May be repeated.",
  },
  to: {
    type: "texts",
    value: "<service>=<addresses>",
    env: "INMESH_PROXY_TO",
    meaning:
      "A service and its endpoints, host:port or unix:<path> with commas between them, or a URL. May be repeated; separate several in the environment by spaces.",
  },
  inbound: {
    type: "text",
    value: "[<protocol>://]<address>",
    env: "INMESH_PROXY_INBOUND",
    completes: "protocol",
    meaning:
      "An inbound listener, in front of the application that --app names, with what is spoken as in --listen.",
  },
  app: {
    type: "text",
    value: "<address>",
    env: "INMESH_PROXY_APP",
    meaning: "The application behind the inbound listener, host:port or unix:<path>.",
  },
  "allow-connect": {
    type: "flag",
    meaning: "CONNECT opens tunnels to services of the mesh, on the listeners of --listen.",
  },
  admin: {
    type: "text",
    value: "<address>",
    env: "INMESH_PROXY_ADMIN",
    meaning:
      "Serve metrics, health and the state of the proxy there, of all workers as one, host:port or unix:<path>, for inmesh stat, inmesh tap and Prometheus.",
  },
  "admin-token-file": {
    type: "text",
    value: "<file>",
    env: "INMESH_ADMIN_TOKEN_FILE",
    completes: "file",
    meaning:
      "The token that readers of the admin address need. Default: a new one at each start, which is printed if stderr is a terminal.",
  },
  "metrics-open": {
    type: "flag",
    meaning: "/metrics of the admin address needs no token.",
  },
  "drain-grace": {
    type: "duration",
    value: "<duration>",
    env: "INMESH_PROXY_DRAIN_GRACE",
    meaning:
      "From SIGTERM to the end of the process at the latest. Default: proxy.drainGrace of the file, else 25s.",
  },
  "reuse-port": {
    type: "flag",
    meaning:
      "Share the ports with other processes that do so too (SO_REUSEPORT): a new one can start before the old one ends.",
  },
  workers: {
    type: "count",
    value: "<processes>",
    env: "INMESH_PROXY_WORKERS",
    meaning:
      "So many processes share the ports; one that ends unasked is replaced, and the admin address shows all of them as one. Default: 1.",
  },
  log: {
    type: "choice",
    value: "<format>",
    env: "INMESH_PROXY_LOG",
    among: ["text", "json", "none"],
    meaning:
      "Lines about what an operator has to know, on stderr; text begins with what listens where. Default: text.",
  },
  "access-log": {
    type: "choice",
    value: "<format>",
    env: "INMESH_PROXY_ACCESS_LOG",
    among: ["none", "combined", "json"],
    meaning: "A line for each request, on stdout. Default: none.",
  },
  check: {
    type: "flag",
    meaning: "Say whether the configuration is valid, with every mistake, and end.",
  },
  "print-config": {
    type: "flag",
    meaning: "Print the configuration in force as JSON, with all defaults, and end.",
  },
  version: { type: "flag", short: "v", meaning: "Print the version." },
} as const;

export const COMMAND: CommandText = {
  summary:
    "the mesh of inmesh for services that are not written in Node: discovery, balancing, retries, deadlines and metrics beside them",
  positionals: [],
  options: OPTIONS,
  more: "SIGTERM drains: not ready, no further connections, open ones end, and what is left after the grace is cut off. A second SIGTERM ends at once. mesh-proxy completion <shell> prints the script by which bash, zsh or fish completes options.",
  examples: [
    { line: "mesh-proxy --config mesh.yaml", meaning: "as a file says" },
    {
      line: "mesh-proxy --listen 127.0.0.1:4140 --to orders=10.0.0.1:8080,10.0.0.2:8080",
      meaning: "without a file: curl -H 'Host: orders' http://127.0.0.1:4140/",
    },
    {
      line: "mesh-proxy --listen tcp://127.0.0.1:9042 --to cassandra=10.0.0.5:9042,10.0.0.6:9042",
      meaning: "any protocol over TCP",
    },
    {
      line: "mesh-proxy --inbound 0.0.0.0:8143 --app 127.0.0.1:8080",
      meaning: "limits, deadlines, metrics and draining in front of an application",
    },
  ],
};

/** The numbers are those of `inmesh`; docs/reference/proxy.md explains each. */
export const EXIT_TEXTS: ExitTexts = {
  ok: "ended as asked",
  failed: "the configuration is wrong",
  usage: "the command is wrong",
  unreachable: "an address is none of this machine",
  denied: "no permission",
  conflict: "an address is in use",
  defect: "a defect of mesh-proxy, or a Node that is too old",
  interrupted: "ended by a second signal",
};
