/**
 * What a person would look at first, each thing with an id, a sentence and what to do. docs/reference/checks.md has a
 * section for each id, and is compared with this list.
 */
import { describeMistakes } from "../config/mistakes.ts";
import { degradedInProcess } from "../degraded.ts";
import type { CheckedMesh } from "../discovery/kind.ts";
import { messageOf } from "../errors.ts";
import type { Mesh } from "../mesh.ts";
import { readinessOf } from "../mesh-servers.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { runtimeProblem } from "../runtime/supported.ts";
import { duration } from "../shown-time.ts";
import { METRICS_OVERFLOW } from "../telemetry/instruments.ts";
import type { Body } from "./answer.ts";
import type { Check, Checks, CheckStatus } from "./api.ts";
import { endpointCounts } from "./endpoints.ts";

/** The groups in their order, and the ids in each. */
export const CHECKS = {
  runtime: ["runtime-supported", "runtime-whole"],
  configuration: ["configuration-current", "configuration-answered"],
  identity: ["identity-current", "identity-life"],
  services: [
    "discovery-current",
    "endpoints-known",
    "endpoints-available",
    "endpoints-closed",
    "endpoints-within-limit",
    "certificates-current",
    "retry-budget",
    "calls-within-limit",
  ],
  servers: ["server-ready", "server-configured", "server-certificates"],
  telemetry: ["metrics-within-limit", "observers-work"],
  discovery: ["kind-checked"],
} as const;

type Group = keyof typeof CHECKS;
export type CheckId = (typeof CHECKS)[Group][number];

const PAGE = "docs/reference/checks.md";
/** Certificates that end sooner should have been renewed. */
const SHORT_LIFE_MS = 24 * 3_600_000;
/** Of `limits.maxInFlight`. */
const HIGH_RATIO = 0.8;
/** For the checks of one kind of discovery. */
const KIND_CHECK_MS = 10_000;

const WORSE: Readonly<Record<CheckStatus, number>> = { ok: 0, warning: 1, failure: 2 };

/** What a finding says; undefined: it is good. */
type Finding = readonly [status: "warning" | "failure", message: string, hint: string] | undefined;

export async function checks(mesh: Mesh): Promise<Body<Checks>> {
  const found = [
    ...runtimeChecks(),
    ...configurationChecks(mesh),
    ...identityChecks(mesh),
    ...serviceChecks(mesh),
    ...serverChecks(mesh),
    ...telemetryChecks(mesh),
    ...(await kindChecks(mesh)),
  ];
  const count = (status: CheckStatus): number =>
    found.filter((one) => one.status === status).length;
  const status = found.reduce<CheckStatus>(
    (worst, one) => (WORSE[one.status] > WORSE[worst] ? one.status : worst),
    "ok",
  );
  return { status, failures: count("failure"), warnings: count("warning"), checks: found };
}

function check<G extends Group>(
  group: G,
  id: (typeof CHECKS)[G][number],
  subject: string | undefined,
  good: string,
  finding: Finding,
): Check {
  const [status, message, hint] = finding ?? ["ok" as const, good, undefined];
  return { id, group, subject, status, message, hint, page: `${PAGE}#${id}` };
}

function runtimeChecks(): Check[] {
  const problem = runtimeProblem(process.version);
  const degraded = degradedInProcess();
  return [
    check(
      "runtime",
      "runtime-supported",
      undefined,
      `Node ${process.version} is supported`,
      problem === undefined
        ? undefined
        : ["warning", problem, "update Node: docs/reference/runtimes.md names the versions"],
    ),
    check(
      "runtime",
      "runtime-whole",
      undefined,
      "nothing works less well than it could",
      degraded.length === 0
        ? undefined
        : [
            "warning",
            `${degraded.length === 1 ? "one thing works" : `${degraded.length} things work`} less well: ${degraded.join("; ")}`,
            "use versions of Node and of libraries that inmesh is tested with, or update inmesh",
          ],
    ),
  ];
}

function configurationChecks({ running }: Mesh): Check[] {
  const { version, sources } = running.config;
  const current = `configuration ${version} is in force`;
  if (sources.length === 0) {
    return [check("configuration", "configuration-current", undefined, current, undefined)];
  }
  return sources.flatMap(({ name, state, mistakes }) => [
    check(
      "configuration",
      "configuration-current",
      name,
      `what it says is in force, in configuration ${version}`,
      state === "refused" || state === "failed"
        ? [
            "failure",
            state === "refused"
              ? describeMistakes(mistakes)
              : `it cannot tell: ${mistakes[0]?.rule ?? "no reason given"}`,
            "correct what the lines name; what it said before stays in force",
          ]
        : undefined,
    ),
    check(
      "configuration",
      "configuration-answered",
      name,
      "it has answered",
      state === "waiting"
        ? [
            "warning",
            "it has said nothing yet",
            "look whether the source can be reached; calls go on without it",
          ]
        : undefined,
    ),
  ]);
}

function identityChecks(mesh: Mesh): Check[] {
  const now = mesh.runtime.wallNow();
  return mesh.identities.snapshot().flatMap(({ name, state, problem, expiresAt }) => {
    const leftMs = expiresAt - now;
    const left = leftMs <= 0 ? "has ended" : `ends in ${duration(leftMs)}`;
    return [
      check(
        "identity",
        "identity-current",
        name,
        "its last answer is in use",
        state === "current"
          ? undefined
          : state === "waiting"
            ? [
                "failure",
                "it has given nothing that can be used yet",
                "look at the source; services that need it wait",
              ]
            : [
                "warning",
                problem ?? "what it said last is not used",
                "correct the source; the last good certificate stays in use",
              ],
      ),
      check(
        "identity",
        "identity-life",
        name,
        Number.isFinite(expiresAt) ? `its certificate ${left}` : "no certificate of it ends",
        leftMs > SHORT_LIFE_MS || !Number.isFinite(expiresAt)
          ? undefined
          : [
              leftMs <= 0 ? "failure" : "warning",
              `its certificate ${left}`,
              "let the source renew it; short-lived certificates that are renewed in time are no problem",
            ],
      ),
    ];
  });
}

function serviceChecks(mesh: Mesh): Check[] {
  const now = mesh.runtime.now();
  const found: Check[] = [];
  for (const { name, protocol, cluster, asleep, heard, config } of mesh.running.backends) {
    if (asleep) continue;
    const subject = `${name} (${protocol})`;
    const say = (id: (typeof CHECKS)["services"][number], good: string, finding: Finding): void =>
      void found.push(check("services", id, subject, good, finding));
    const { total, available, open, refusing, halfOpen } = endpointCounts([{ cluster }], now);
    say(
      "discovery-current",
      "discovery answers",
      cluster.stale === undefined
        ? undefined
        : [
            cluster.known ? "warning" : "failure",
            `discovery cannot tell: ${cluster.stale.message}`,
            cluster.known
              ? "the endpoints that it named last stay in use; look at the source"
              : "look at the name and the source: there is no endpoint to use",
          ],
    );
    say(
      "endpoints-known",
      `${total} known`,
      cluster.known && total === 0
        ? [
            "failure",
            `discovery names none${cluster.emptyBecause === undefined ? "" : `: ${cluster.emptyBecause}`}`,
            "start the service, or correct its name",
          ]
        : undefined,
    );
    say(
      "endpoints-available",
      total === 0 ? "none to look at" : `${available + halfOpen} of ${total} can be picked`,
      total > 0 && available + halfOpen === 0 && !cluster.usable
        ? [
            "failure",
            `none of ${total} can be picked`,
            "inmesh endpoints, or GET /api/v1/endpoints, says why of each; all that fail alike have something in common",
          ]
        : undefined,
    );
    say(
      "endpoints-closed",
      "no breaker is open, and no endpoint refuses connections",
      open + refusing > 0
        ? [
            "warning",
            `${open + refusing} of ${total} ${open + refusing === 1 ? "has an open breaker or refuses" : "have an open breaker or refuse"} connections${cluster.lists.panic ? ", and more than breaker.maxEjectedRatio allows" : ""}`,
            "inmesh endpoints, or GET /api/v1/endpoints, says why of each, and when it is tried again",
          ]
        : undefined,
    );
    say(
      "endpoints-within-limit",
      "all that discovery names are used",
      heard.excess > 0
        ? [
            "warning",
            `${heard.excess} are left out because of limits.maxEndpoints (${config.limits.maxEndpoints})`,
            "raise the limit, or let discovery name fewer",
          ]
        : undefined,
    );
    say(
      "certificates-current",
      config.scheme === "https" ? "certificates are in use" : "the service is called without TLS",
      cluster.problem === undefined
        ? undefined
        : [
            "failure",
            cluster.problem,
            "correct the certificate files or the identity source; the last good ones stay in use",
          ],
    );
  }
  for (const { name, protocol, budget, callsInFlight, config } of mesh.running.services) {
    const subject = `${name} (${protocol})`;
    const { maxInFlight } = config.limits;
    found.push(
      check(
        "services",
        "retry-budget",
        subject,
        "the retry budget has retries left",
        budget.balance() < 1 && budget.refused > 0
          ? [
              "warning",
              `the retry budget is spent: ${budget.refused} retries were not made`,
              "find out why so many attempts fail: more retries would add load where there is too much",
            ]
          : undefined,
      ),
      check(
        "services",
        "calls-within-limit",
        subject,
        `${callsInFlight} in progress of at most ${maxInFlight}`,
        callsInFlight >= maxInFlight * HIGH_RATIO
          ? [
              callsInFlight >= maxInFlight ? "failure" : "warning",
              `${callsInFlight} in progress of at most ${maxInFlight} (limits.maxInFlight)`,
              "find out why they take so long, send less, or raise the limit",
            ]
          : undefined,
      ),
    );
  }
  return found;
}

function serverChecks({ servers }: Mesh): Check[] {
  return servers.list.flatMap((server) => {
    const { pending } = server;
    const readiness = readinessOf(server);
    const { problem } = server.facts();
    const subject = `${server.name} (${server.protocol})`;
    return [
      check(
        "servers",
        "server-ready",
        subject,
        "takes requests",
        readiness === "ok"
          ? undefined
          : [
              "warning",
              `is not ready: ${readiness}`,
              "nothing, if it is to stop; else see the section",
            ],
      ),
      check(
        "servers",
        "server-configured",
        subject,
        "all of its configuration is in force",
        pending.length === 0
          ? undefined
          : [
              "warning",
              `the configuration says something else of ${pending.join(", ")}`,
              "restart the process: a running server cannot take these",
            ],
      ),
      check(
        "servers",
        "server-certificates",
        subject,
        "none of its certificates is refused",
        problem === undefined
          ? undefined
          : ["failure", problem, "correct the certificate files or the identity source"],
      ),
    ];
  });
}

function telemetryChecks(mesh: Mesh): Check[] {
  const { observers } = mesh;
  let lost = 0;
  for (const one of mesh.metrics()) {
    if (one.name === METRICS_OVERFLOW.name && one.kind !== "histogram") lost += one.value;
  }
  const { errors } = observers.snapshot();
  return [
    check(
      "telemetry",
      "metrics-within-limit",
      undefined,
      "every series has its own labels",
      lost === 0
        ? undefined
        : [
            "warning",
            `${lost} records were counted under other, because there are too many series`,
            "use fixed names for services, routes and servers, and not one for each request",
          ],
    ),
    check(
      "telemetry",
      "observers-work",
      undefined,
      "no hook has failed",
      errors === 0
        ? undefined
        : [
            "warning",
            `hooks of observers or exporters have failed ${errors} times`,
            "look for hook.failed, observer.failed and exporter.failed in the log",
          ],
    ),
  ];
}

/** Kinds of discovery know best what they depend on. Those that have nothing to check are not in the list. */
async function kindChecks({ running, runtime, servers }: Mesh): Promise<Check[]> {
  const checked: CheckedMesh = {
    runtime,
    services: running.backends
      .filter(({ asleep }) => !asleep)
      .map(({ name, config, discovery }) => ({
        name,
        discovery: config.discovery,
        source: discovery.source,
      })),
    servers: servers.list.map((server) => ({
      name: server.name,
      protocol: server.protocol,
      readyPath: server.facts().readyPath,
      leavesAfterMs: server.leavesAfterMs,
    })),
  };
  const asked = running.kinds.map(async (kind) => {
    if (kind.check === undefined) return [];
    try {
      const all = await within(KIND_CHECK_MS, () => kind.check!(checked), runtime);
      return all.map(({ id, subject, status, message, hint, page }): Check => {
        if (!Object.hasOwn(WORSE, status)) throw new TypeError(`${id} has no status`);
        return { id, group: kind.name, subject, status, message, hint, page };
      });
    } catch (error) {
      const what = `the kind ${kind.name} could not be checked: ${messageOf(error)}`;
      const hint = "look at what it depends on";
      return [check("discovery", "kind-checked", kind.name, "", ["warning", what, hint])];
    }
  });
  return (await Promise.all(asked)).flat();
}

function within<T>(ms: number, act: () => Promise<T>, runtime: Runtime): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = new Error(`it has not answered within ${ms / 1_000} s`);
    const timer = runtime.after(ms, () => reject(late), undefined);
    Promise.resolve()
      .then(act)
      .then(resolve, reject)
      .finally(() => timer.cancel());
  });
}
