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

const GROUPS: ReadonlyMap<CheckId, string> = new Map(
  Object.entries(CHECKS).flatMap(([group, ids]) => ids.map((id) => [id, group] as const)),
);

const PAGE = "docs/reference/checks.md";
/** Certificates that end sooner should have been renewed. */
const SHORT_LIFE_MS = 24 * 3_600_000;
/** Of `limits.maxInFlight`. */
const HIGH_RATIO = 0.8;
/** For the checks of one kind of discovery. */
const KIND_CHECK_MS = 10_000;

const WORSE: Readonly<Record<CheckStatus, number>> = { ok: 0, warning: 1, failure: 2 };

/** What a finding says; undefined: it is good. */
type Finding = readonly [status: CheckStatus, message: string, hint: string] | undefined;

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

function check(id: CheckId, subject: string | undefined, good: string, finding: Finding): Check {
  const [status, message, hint] = finding ?? ["ok" as const, good, undefined];
  return { id, group: GROUPS.get(id)!, subject, status, message, hint, page: `${PAGE}#${id}` };
}

function warningIf(is: boolean, message: string, hint: string): Finding {
  return is ? ["warning", message, hint] : undefined;
}

function failureIf(is: boolean, message: string, hint: string): Finding {
  return is ? ["failure", message, hint] : undefined;
}

function runtimeChecks(): Check[] {
  const problem = runtimeProblem(process.version);
  const degraded = degradedInProcess();
  const things = degraded.length === 1 ? "one thing works" : `${degraded.length} things work`;
  const unsupported = warningIf(
    problem !== undefined,
    problem ?? "",
    "update Node: docs/reference/runtimes.md names the versions",
  );
  const weaker = warningIf(
    degraded.length > 0,
    `${things} less well: ${degraded.join("; ")}`,
    "use versions of Node and of libraries that inmesh is tested with, or update inmesh",
  );
  return [
    check("runtime-supported", undefined, `Node ${process.version} is supported`, unsupported),
    check("runtime-whole", undefined, "nothing works less well than it could", weaker),
  ];
}

function configurationChecks({ running }: Mesh): Check[] {
  const { version, sources } = running.config;
  if (sources.length === 0) {
    const current = `configuration ${version} is in force`;
    return [check("configuration-current", undefined, current, undefined)];
  }
  return sources.flatMap(({ name, state, mistakes }) => {
    const wrong = failureIf(
      state === "refused" || state === "failed",
      state === "refused"
        ? describeMistakes(mistakes)
        : `it cannot tell: ${mistakes[0]?.rule ?? "no reason given"}`,
      "correct what the lines name; what it said before stays in force",
    );
    const silent = warningIf(
      state === "waiting",
      "it has said nothing yet",
      "look whether the source can be reached; calls go on without it",
    );
    const current = `what it says is in force, in configuration ${version}`;
    return [
      check("configuration-current", name, current, wrong),
      check("configuration-answered", name, "it has answered", silent),
    ];
  });
}

function identityChecks(mesh: Mesh): Check[] {
  const now = mesh.runtime.wallNow();
  return mesh.identities.snapshot().flatMap(({ name, state, problem, expiresAt }) => {
    const leftMs = expiresAt - now;
    const left = `its certificate ${leftMs <= 0 ? "has ended" : `ends in ${duration(leftMs)}`}`;
    const ends = Number.isFinite(expiresAt);
    const unusable = failureIf(
      state === "waiting",
      "it has given nothing that can be used yet",
      "look at the source; services that need it wait",
    );
    const unused = warningIf(
      state !== "current",
      problem ?? "what it said last is not used",
      "correct the source; the last good certificate stays in use",
    );
    const short: Finding =
      leftMs > SHORT_LIFE_MS || !ends
        ? undefined
        : [
            leftMs <= 0 ? "failure" : "warning",
            left,
            "let the source renew it; short-lived certificates that are renewed in time are no problem",
          ];
    return [
      check("identity-current", name, "its last answer is in use", unusable ?? unused),
      check("identity-life", name, ends ? left : "no certificate of it ends", short),
    ];
  });
}

function serviceChecks(mesh: Mesh): Check[] {
  const now = mesh.runtime.now();
  const found: Check[] = [];
  for (const { name, protocol, cluster, asleep, heard, config } of mesh.running.backends) {
    if (asleep) continue;
    const say = (id: CheckId, good: string, finding: Finding): void =>
      void found.push(check(id, `${name} (${protocol})`, good, finding));
    const { known, stale, emptyBecause, problem, lists } = cluster;
    const { total, available, open, refusing, halfOpen } = endpointCounts([{ cluster }], now);
    const pickable = available + halfOpen;
    const out = open + refusing;
    const whyStale = `discovery cannot tell: ${stale?.message}`;
    say(
      "discovery-current",
      "discovery answers",
      known
        ? warningIf(
            stale !== undefined,
            whyStale,
            "the endpoints that it named last stay in use; look at the source",
          )
        : failureIf(
            stale !== undefined,
            whyStale,
            "look at the name and the source: there is no endpoint to use",
          ),
    );
    say(
      "endpoints-known",
      `${total} known`,
      failureIf(
        known && total === 0,
        `discovery names none${emptyBecause === undefined ? "" : `: ${emptyBecause}`}`,
        "start the service, or correct its name",
      ),
    );
    say(
      "endpoints-available",
      total === 0 ? "none to look at" : `${pickable} of ${total} can be picked`,
      failureIf(
        total > 0 && pickable === 0 && !cluster.usable,
        `none of ${total} can be picked`,
        "inmesh endpoints, or GET /api/v1/endpoints, says why of each; all that fail alike have something in common",
      ),
    );
    say(
      "endpoints-closed",
      "no breaker is open, and no endpoint refuses connections",
      warningIf(
        out > 0,
        `${out} of ${total} ${out === 1 ? "has an open breaker or refuses" : "have an open breaker or refuse"} connections${lists.panic ? ", and more than breaker.maxEjectedRatio allows" : ""}`,
        "inmesh endpoints, or GET /api/v1/endpoints, says why of each, and when it is tried again",
      ),
    );
    say(
      "endpoints-within-limit",
      "all that discovery names are used",
      warningIf(
        heard.excess > 0,
        `${heard.excess} are left out because of limits.maxEndpoints (${config.limits.maxEndpoints})`,
        "raise the limit, or let discovery name fewer",
      ),
    );
    say(
      "certificates-current",
      config.scheme === "https" ? "certificates are in use" : "the service is called without TLS",
      failureIf(
        problem !== undefined,
        problem ?? "",
        "correct the certificate files or the identity source; the last good ones stay in use",
      ),
    );
  }
  for (const { name, protocol, budget, callsInFlight, config } of mesh.running.services) {
    const subject = `${name} (${protocol})`;
    const { maxInFlight } = config.limits;
    const inProgress = `${callsInFlight} in progress of at most ${maxInFlight}`;
    const spent = warningIf(
      budget.balance() < 1 && budget.refused > 0,
      `the retry budget is spent: ${budget.refused} retries were not made`,
      "find out why so many attempts fail: more retries would add load where there is too much",
    );
    const full: Finding =
      callsInFlight < maxInFlight * HIGH_RATIO
        ? undefined
        : [
            callsInFlight >= maxInFlight ? "failure" : "warning",
            `${inProgress} (limits.maxInFlight)`,
            "find out why they take so long, send less, or raise the limit",
          ];
    found.push(
      check("retry-budget", subject, "the retry budget has retries left", spent),
      check("calls-within-limit", subject, inProgress, full),
    );
  }
  return found;
}

function serverChecks({ servers }: Mesh): Check[] {
  return servers.list.flatMap((server) => {
    const { pending, problem } = server;
    const readiness = readinessOf(server);
    const subject = `${server.name} (${server.protocol})`;
    const notReady = warningIf(
      readiness !== "ok",
      `is not ready: ${readiness}`,
      "nothing, if it is to stop; else see the section",
    );
    const needsRestart = warningIf(
      pending.length > 0,
      `the configuration says something else of ${pending.join(", ")}`,
      "restart the process: a running server cannot take these",
    );
    const refused = failureIf(
      problem !== undefined,
      problem ?? "",
      "correct the certificate files or the identity source",
    );
    return [
      check("server-ready", subject, "takes requests", notReady),
      check("server-configured", subject, "all of its configuration is in force", needsRestart),
      check("server-certificates", subject, "none of its certificates is refused", refused),
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
  const tooMany = warningIf(
    lost > 0,
    `${lost} records were counted under other, because there are too many series`,
    "use fixed names for services, routes and servers, and not one for each request",
  );
  const failing = warningIf(
    errors > 0,
    `hooks of observers or exporters have failed ${errors} times`,
    "look for hook.failed, observer.failed and exporter.failed in the log",
  );
  return [
    check("metrics-within-limit", undefined, "every series has its own labels", tooMany),
    check("observers-work", undefined, "no hook has failed", failing),
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
      return [check("kind-checked", kind.name, "", ["warning", what, hint])];
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
