/**
 * Answers of several processes that do the same work, as the answer of one. Amounts are added up. Of states the worst is
 * shown, with who says it where the others do not; of estimates the mean. What all have from one configuration is that of
 * the first. Takes answers as they are read (api.ts), and looks at nothing else.
 *
 * `instance` stands for exactly those that have answered: one more, one less, or one that was restarted gives another
 * one, so that readers who subtract two readings begin anew, as they do with a process that was restarted.
 */
import { createHash } from "node:crypto";
import type {
  About,
  Answer,
  AttemptKinds,
  Candidate,
  Changed,
  Check,
  Checks,
  CheckStatus,
  Config,
  Connections,
  DiscoveryAnswer,
  DiscoverySummary,
  DiscoveryView,
  Dump,
  Endpoints,
  EndpointCounts,
  EndpointState,
  EndpointView,
  Explanation,
  InboundConnections,
  LatencyHistogram,
  LogLevelAnswer,
  OutboundConnections,
  OutcomeCounts,
  RouteView,
  Services,
  ServerView,
  ServiceView,
  Traffic,
} from "./api.ts";
import { histogramOf } from "./window.ts";

/** What one of them says. `from` names it to people, such as `worker 2`. */
export interface AnswerOf<A extends Answer = Answer> {
  readonly from: string;
  readonly answer: A;
}

/** At least one. Throws a TypeError for kinds that differ, and for one that is not known. */
export function mergeAnswers<A extends Answer>(all: readonly AnswerOf<A>[]): A {
  const { kind } = all[0]!.answer;
  if (all.some(({ answer }) => answer.kind !== kind) || !Object.hasOwn(MERGES, kind)) {
    throw new TypeError(`answers of the kind ${kind} cannot be merged`);
  }
  const merge = MERGES[kind as Kind] as (all: readonly AnswerOf[]) => object;
  return { ...merge(all), ...headOf(all) } as A;
}

function headOf(all: readonly AnswerOf[]): Answer {
  const answers = all.map(({ answer }) => answer);
  const instances = answers.map(({ instance }) => instance).sort();
  const hash = createHash("sha256").update(instances.join(" ")).digest("hex");
  return {
    apiVersion: answers[0]!.apiVersion,
    kind: answers[0]!.kind,
    instance: hash.slice(0, 32),
    readAtWallMs: Math.max(...answers.map(({ readAtWallMs }) => readAtWallMs)),
    // Of the one that has run for the longest time: the same one each time, as long as `instance` is the same.
    uptimeMs: Math.max(...answers.map(({ uptimeMs }) => uptimeMs)),
  };
}

type All<T> = readonly Of<T>[];
/** One of the views that are merged, with who says it. */
interface Of<T> {
  readonly from: string;
  readonly view: T;
}

// ── what is done with the values of several ────────────────────────────────────────────────────

function sum<T>(all: All<T>, of: (view: T) => number): number {
  return all.reduce((total, { view }) => total + of(view), 0);
}

/** Undefined where one of them does not say. */
function knownSum<T>(all: All<T>, of: (view: T) => number | undefined): number | undefined {
  const isKnown = all.every(({ view }) => of(view) !== undefined);
  return isKnown ? sum(all, (view) => of(view)!) : undefined;
}

function most<T>(all: All<T>, of: (view: T) => number | undefined): number | undefined {
  const values = all.flatMap(({ view }) => of(view) ?? []);
  return values.length === 0 ? undefined : Math.max(...values);
}

function least<T>(all: All<T>, of: (view: T) => number | undefined): number | undefined {
  const values = all.flatMap(({ view }) => of(view) ?? []);
  return values.length === 0 ? undefined : Math.min(...values);
}

function mean<T>(all: All<T>, of: (view: T) => number): number {
  return sum(all, of) / all.length;
}

interface Worst<T, V> {
  readonly view: T;
  readonly state: V;
  /** A text about it, with who says it unless all are in that state. */
  readonly by: (text: string) => string;
}

/** The first of those that come first in `order`. */
function worst<T, V>(all: All<T>, order: readonly V[], of: (view: T) => V): Worst<T, V> {
  const place = ({ view }: Of<T>): number => {
    const at = order.indexOf(of(view));
    return at < 0 ? order.length : at;
  };
  const { from, view } = all.reduce((before, one) => (place(one) < place(before) ? one : before));
  const state = of(view);
  const isOfAll = all.every((one) => of(one.view) === state);
  return { view, state, by: (text) => (isOfAll ? text : `${from}: ${text}`) };
}

/** Counts by name: those of a closed set, or of an open one. */
function named<T>(
  all: All<T>,
  of: (view: T) => Readonly<Record<string, number>>,
): Record<string, number> {
  const total: Record<string, number> = {};
  for (const { view } of all) {
    for (const [name, count] of Object.entries(of(view))) total[name] = (total[name] ?? 0) + count;
  }
  return total;
}

/** Each text once, with who says it unless all do. */
function texts<T>(all: All<T>, of: (view: T) => readonly string[]): string[] {
  const from = new Map<string, string[]>();
  for (const { from: who, view } of all) {
    for (const text of of(view)) from.set(text, [...(from.get(text) ?? []), who]);
  }
  return [...from].map(([text, who]) =>
    who.length === all.length ? text : `${who.join(", ")}: ${text}`,
  );
}

/** The first text there is. */
function firstText<T>(all: All<T>, of: (view: T) => string | undefined): string | undefined {
  return texts(all, (view) => [of(view) ?? []].flat()).at(0);
}

/** Views of the same thing, which has these fields, together; in the order in which they come. */
function together<A extends Answer, T>(
  all: readonly AnswerOf<A>[],
  viewsOf: (answer: A) => readonly T[],
  ...fields: readonly (keyof T)[]
): Of<T>[][] {
  const groups = new Map<string, Of<T>[]>();
  for (const { from, answer } of all) {
    for (const view of viewsOf(answer)) {
      const key = JSON.stringify(fields.map((field) => view[field]));
      const group = groups.get(key);
      if (group === undefined) groups.set(key, [{ from, view }]);
      else group.push({ from, view });
    }
  }
  return [...groups.values()];
}

function views<A extends Answer>(all: readonly AnswerOf<A>[]): Of<A>[] {
  return all.map(({ from, answer }) => ({ from, view: answer }));
}

// ── services and servers ───────────────────────────────────────────────────────────────────────

function latency(all: All<LatencyHistogram>, boundsSeconds: readonly number[]): LatencyHistogram {
  const counts = boundsSeconds.map((_, i) => sum(all, (one) => one.counts[i] ?? 0));
  counts.push(sum(all, (one) => one.counts[boundsSeconds.length] ?? 0));
  const sumSeconds = sum(all, (one) => one.sumSeconds);
  return histogramOf(counts, sumSeconds, boundsSeconds);
}

/** A part of each, of those that have it. */
function inner<T, V>(all: All<T>, of: (view: T) => V | undefined): Of<V>[] {
  return all.flatMap(({ from, view: whole }) => {
    const view = of(whole);
    return view === undefined ? [] : { from, view };
  });
}

function summed<T, C extends OutcomeCounts | AttemptKinds>(all: All<T>, of: (view: T) => C): C {
  return named(all, (view) => of(view) as unknown as Record<string, number>) as unknown as C;
}

/** Undefined where none has any. */
function traffic(given: All<Traffic>, boundsSeconds: readonly number[]): Traffic | undefined {
  if (given.length === 0) return undefined;
  const histogram = (of: (one: Traffic) => LatencyHistogram): LatencyHistogram =>
    latency(inner(given, of), boundsSeconds);
  return {
    calls: summed(given, (one) => one.calls),
    callLatency: histogram((one) => one.callLatency),
    attempts: summed(given, (one) => one.attempts),
    attemptLatency: histogram((one) => one.attemptLatency),
    attemptKinds: summed(given, (one) => one.attemptKinds),
    retryDecisions: named(given, (one) => one.retryDecisions),
    callReasons: named(given, (one) => one.callReasons),
    attemptReasons: named(given, (one) => one.attemptReasons),
    callStatuses: named(given, (one) => one.callStatuses),
  };
}

/** What somebody should look at comes first, and then who works. */
const SERVICE_STATES: readonly ServiceView["state"][] = [
  "unreachable",
  "connected",
  "unconnected",
  "pending",
  "asleep",
  "closed",
];

function services(all: readonly AnswerOf<Services>[]): Partial<Services> {
  const { latencyBoundsSeconds: bounds } = all[0]!.answer;
  const ofService = together(all, (one) => one.services, "name", "protocol");
  const ofServer = together(all, (one) => one.servers, "name", "protocol");
  return {
    measured: all.some(({ answer }) => answer.measured),
    latencyBoundsSeconds: bounds,
    services: ofService
      .map((group) => service(group, bounds))
      .toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)),
    servers: ofServer.map((group) => server(group, bounds)),
  };
}

function service(all: All<ServiceView>, boundsSeconds: readonly number[]): ServiceView {
  const [{ view: first }] = all as [Of<ServiceView>];
  return {
    ...first,
    state: worst(all, SERVICE_STATES, (one) => one.state).state,
    notes: texts(all, (one) => one.notes),
    endpoints: fewest(inner(all, (one) => one.endpoints)),
    connections: {
      open: knownSum(all, (one) => one.connections.open),
      problem: firstText(all, (one) => one.connections.problem),
    },
    callsInFlight: sum(all, (one) => one.callsInFlight),
    maxInFlight: sum(all, (one) => one.maxInFlight),
    panic: all.some(({ view }) => view.panic),
    discovery: summary(inner(all, (one) => one.discovery)),
    retryBudget: {
      balance: sum(all, (one) => one.retryBudget.balance),
      refused: sum(all, (one) => one.retryBudget.refused),
      withdrawn: sum(all, (one) => one.retryBudget.withdrawn),
    },
    traffic: traffic(
      inner(all, (one) => one.traffic),
      boundsSeconds,
    ),
    routes: first.routes.map((route): RouteView => {
      const ofRoute = inner(
        all,
        (one) => one.routes.find(({ name }) => name === route.name)?.traffic,
      );
      return { ...route, traffic: traffic(ofRoute, boundsSeconds) };
    }),
  };
}

/** Of the one with the fewest that may be picked: its numbers belong together. */
function fewest(all: All<EndpointCounts>): EndpointCounts {
  const [first, ...others] = all.map(({ view }) => view);
  return others.reduce((before, one) => (one.available < before.available ? one : before), first!);
}

const DISCOVERY_STATES: readonly DiscoverySummary["state"][] = [
  "stale",
  "pending",
  "current",
  "idle",
];

function summary<T extends DiscoverySummary>(all: All<T>): DiscoverySummary {
  return {
    source: all[0]!.view.source,
    state: worst(all, DISCOVERY_STATES, (one) => one.state).state,
    error: firstText(all, (one) => one.error),
  };
}

const SERVER_STATES: readonly ServerView["state"][] = ["closed", "closing", "draining", "open"];

function server(all: All<ServerView>, boundsSeconds: readonly number[]): ServerView {
  const [{ view: first }] = all as [Of<ServerView>];
  const calls = inner(all, (one) => one.calls);
  const latencies = inner(all, (one) => one.latency);
  return {
    ...first,
    state: worst(all, SERVER_STATES, (one) => one.state).state,
    readiness: all.find(({ view }) => view.readiness !== "ok")?.view.readiness ?? "ok",
    requestsInFlight: sum(all, (one) => one.requestsInFlight),
    connections: knownSum(all, (one) => one.connections),
    refused: named(all, (one) => one.refused),
    pending: texts(all, (one) => one.pending),
    problem: firstText(all, (one) => one.problem),
    calls: calls.length === 0 ? undefined : summed(calls, (one) => one),
    latency: latencies.length === 0 ? undefined : latency(latencies, boundsSeconds),
  };
}

// ── endpoints, connections, discovery ──────────────────────────────────────────────────────────

const ENDPOINT_STATES: readonly EndpointState[] = [
  "refusing",
  "open",
  "half-open",
  "busy",
  "connecting",
  "draining",
  "spare",
  "available",
];

function endpoints(all: readonly AnswerOf<Endpoints>[]): Partial<Endpoints> {
  const groups = together(all, (one) => one.endpoints, "service", "protocol", "address");
  const merged = groups.map(endpoint);
  const picks = new Map<string, number>();
  const keyOf = ({ service: of, protocol }: EndpointView): string => `${protocol} ${of}`;
  for (const one of merged) picks.set(keyOf(one), (picks.get(keyOf(one)) ?? 0) + one.picks);
  return {
    endpoints: merged.map((one) => {
      const ofService = picks.get(keyOf(one))!;
      return { ...one, share: ofService === 0 ? 0 : one.picks / ofService };
    }),
  };
}

function endpoint(all: All<EndpointView>): EndpointView {
  const { view, by } = worst(all, ENDPOINT_STATES, (one) => one.state);
  return {
    ...view,
    why: view.why && by(view.why),
    cost: mean(all, (one) => one.cost),
    inFlight: sum(all, (one) => one.inFlight),
    picks: sum(all, (one) => one.picks),
    latencyMs: mean(all, (one) => one.latencyMs),
    penaltyMs: mean(all, (one) => one.penaltyMs),
    busyForMs: most(all, (one) => one.busyForMs)!,
    rampRatio: mean(all, (one) => one.rampRatio),
    ageMs: most(all, (one) => one.ageMs)!,
    connections: knownSum(all, (one) => one.connections),
  };
}

function connections(all: readonly AnswerOf<Connections>[]): Partial<Connections> {
  const outbound = together(all, (one) => one.outbound, "service", "protocol", "endpoint");
  const inbound = together(all, (one) => one.inbound, "server", "protocol");
  return {
    outbound: outbound.map((group): OutboundConnections => ({
      ...group[0]!.view,
      open: knownSum(group, (one) => one.open),
      maxOpen: sum(group, (one) => one.maxOpen),
      application: group.find(({ view }) => view.application !== undefined)?.view.application,
      inFlight: sum(group, (one) => one.inFlight),
      queued: knownSum(group, (one) => one.queued),
      unread: knownSum(group, (one) => one.unread),
    })),
    inbound: inbound.map((group): InboundConnections => ({
      ...group[0]!.view,
      open: knownSum(group, (one) => one.open),
      sessions: knownSum(group, (one) => one.sessions),
    })),
  };
}

function discovery(all: readonly AnswerOf<DiscoveryAnswer>[]): Partial<DiscoveryAnswer> {
  const ofService = together(all, (one) => one.services, "service", "protocol");
  return {
    services: ofService.map((group): DiscoveryView => ({
      ...group[0]!.view,
      ...summary(group),
      endpoints: least(group, (one) => one.endpoints)!,
      answeredAgoMs: most(group, (one) => one.answeredAgoMs),
      failedAgoMs: least(group, (one) => one.failedAgoMs),
      answers: sum(group, (one) => one.answers),
      added: sum(group, (one) => one.added),
      removed: sum(group, (one) => one.removed),
      errors: sum(group, (one) => one.errors),
      excess: most(group, (one) => one.excess)!,
    })),
  };
}

// ── the process, its configuration and its checks ──────────────────────────────────────────────

const MESH_STATES: readonly About["state"][] = ["open", "closing", "closed"];

function about(all: readonly AnswerOf<About>[]): Partial<About> {
  const of = views(all);
  const [{ view: first }] = of as [Of<About>];
  return {
    ...first,
    process: {
      ...first.process,
      uptimeMs: most(of, (one) => one.process.uptimeMs)!,
      rssBytes: sum(of, (one) => one.process.rssBytes),
      heapUsedBytes: sum(of, (one) => one.process.heapUsedBytes),
    },
    state: worst(of, MESH_STATES, (one) => one.state).state,
    ready: {
      ready: of.every(({ view }) => view.ready.ready),
      reasons: of.flatMap(({ view }) => view.ready.reasons),
    },
    configVersion: least(of, (one) => one.configVersion)!,
    degraded: texts(of, (one) => one.degraded),
  };
}

/** All follow the same file: that of the first, and whether one of them refuses it. */
function config(all: readonly AnswerOf<Config>[]): Partial<Config> {
  return worst(views(all), ["refused", "current"], (one) => one.state).view;
}

const CHECK_STATES: readonly CheckStatus[] = ["failure", "warning", "ok"];

function checks(all: readonly AnswerOf<Checks>[]): Partial<Checks> {
  const groups = together(all, (one) => one.checks, "group", "id", "subject");
  const merged = groups.map((of): Check => {
    const { view, by } = worst(of, CHECK_STATES, (one) => one.status);
    return { ...view, message: by(view.message) };
  });
  const count = (status: CheckStatus): number =>
    merged.filter((one) => one.status === status).length;
  const [failures, warnings] = [count("failure"), count("warning")];
  const status = failures > 0 ? "failure" : warnings > 0 ? "warning" : "ok";
  return { status, failures, warnings, checks: merged };
}

/** Of the first, with the endpoints as all of them see them. */
function explanation(all: readonly AnswerOf<Explanation>[]): Partial<Explanation> {
  const groups = together(all, (one) => one.candidates, "backend", "endpoint");
  const candidates = groups.map((of): Candidate => {
    const { view, by } = worst(of, ENDPOINT_STATES, (one) => one.state);
    return {
      ...view,
      why: by(view.why),
      cost: mean(of, (one) => one.cost),
      inFlight: sum(of, (one) => one.inFlight),
      // Of one that does not know it the chance is 0.
      chance: sum(of, (one) => one.chance) / all.length,
    };
  });
  const { answer } = all.find((one) => one.answer.refused !== undefined) ?? all[0]!;
  return {
    ...answer,
    candidates: candidates.toSorted((a, b) => b.chance - a.chance),
  };
}

/** What was asked of all of them is so in all of them. */
function same(all: readonly AnswerOf<LogLevelAnswer | Changed>[]): object {
  return all[0]!.answer;
}

function dump(all: readonly AnswerOf<Dump>[]): Partial<Dump> {
  const part = <Name extends keyof Dump>(name: Name): Dump[Name] =>
    mergeAnswers(
      all.map(({ from, answer }) => ({ from, answer: answer[name] as unknown as Answer })),
    ) as unknown as Dump[Name];
  return {
    about: part("about"),
    checks: part("checks"),
    services: part("services"),
    endpoints: part("endpoints"),
    connections: part("connections"),
    discovery: part("discovery"),
    config: part("config"),
  };
}

const MERGES = {
  About: about,
  Services: services,
  Endpoints: endpoints,
  Connections: connections,
  Discovery: discovery,
  Config: config,
  Explanation: explanation,
  Checks: checks,
  LogLevel: same,
  Changed: same,
  Dump: dump,
} as const;

type Kind = keyof typeof MERGES;
