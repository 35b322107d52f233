/** Every metric that core writes, by name. docs/reference/metrics.md is checked against this list. */
import type { Instrument } from "./telemetry.ts";

const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

type Histogrammed = Instrument & { readonly bounds: readonly number[] };

export const CALLS: Instrument = {
  name: "inmesh.calls",
  unit: "{call}",
  description: "Calls that ended, as the application saw them.",
};
export const CALL_DURATION: Histogrammed = {
  name: "inmesh.call.duration",
  unit: "s",
  description: "From the start of a call to the last byte of its reply.",
  bounds: SECONDS,
};
export const CALL_ACTIVE: Instrument = {
  name: "inmesh.call.active",
  unit: "{call}",
  description: "Calls in progress.",
};
export const ATTEMPTS: Instrument = {
  name: "inmesh.attempts",
  unit: "{attempt}",
  description: "Attempts that ended, as the endpoints saw them.",
};
export const ATTEMPT_DURATION: Histogrammed = {
  name: "inmesh.attempt.duration",
  unit: "s",
  description: "From the pick of an endpoint to the last byte of its reply.",
  bounds: SECONDS,
};
export const RETRY_DECISIONS: Instrument = {
  name: "inmesh.retry.decisions",
  unit: "{decision}",
  description: "Each time a further attempt was possible: made, or why not.",
};
export const RETRY_BUDGET_BALANCE: Instrument = {
  name: "inmesh.retry.budget.balance",
  unit: "{retry}",
  description: "Retries that the budget would pay for now.",
};
export const BREAKER_TRANSITIONS: Instrument = {
  name: "inmesh.breaker.transitions",
  unit: "{transition}",
  description: "Changes of an endpoint's breaker, by new state and trigger.",
};
export const BREAKER_SUPPRESSED: Instrument = {
  name: "inmesh.breaker.suppressed",
  unit: "{transition}",
  description: "Times a verdict was not enforced because of maxEjectedRatio.",
};
export const BALANCER_PANIC: Instrument = {
  name: "inmesh.balancer.panic",
  unit: "{state}",
  description: "1 while verdicts on failures are ignored because there are too many of them.",
};
export const TRANSPORT_PROBLEM: Instrument = {
  name: "inmesh.transport.problem",
  unit: "{state}",
  description: "1 while new certificates are not used because they are missing or do not fit.",
};
export const IDENTITY_UPDATES: Instrument = {
  name: "inmesh.identity.updates",
  unit: "{update}",
  description: "What identity sources said: applied, nothing new, refused, or that they failed.",
};
export const IDENTITY_PROBLEM: Instrument = {
  name: "inmesh.identity.problem",
  unit: "{state}",
  description: "1 while what an identity source said last is not used.",
};
export const BALANCER_UPDATES: Instrument = {
  name: "inmesh.balancer.updates",
  unit: "{change}",
  description: "Endpoints added and removed.",
};
export const DISCOVERY_ENDPOINTS: Instrument = {
  name: "inmesh.discovery.endpoints",
  unit: "{endpoint}",
  description: "Endpoints of a service, as last received.",
};
export const DISCOVERY_STALE: Instrument = {
  name: "inmesh.discovery.stale",
  unit: "{state}",
  description: "1 while the last good endpoints are served because discovery fails.",
};
export const DISCOVERY_ERRORS: Instrument = {
  name: "inmesh.discovery.errors",
  unit: "{error}",
  description: "Answers of discovery that were errors.",
};
export const DISCOVERY_LATE: Instrument = {
  name: "inmesh.discovery.late",
  unit: "{report}",
  description: "Reports of a discovery after its watch was stopped, which were ignored.",
};
export const ENDPOINTS_EXCESS: Instrument = {
  name: "inmesh.discovery.excess",
  unit: "{endpoint}",
  description: "Endpoints ignored because of limits.maxEndpoints.",
};

export const CONFIG_GENERATION: Instrument = {
  name: "inmesh.config.generation",
  unit: "{generation}",
  description: "Version of the configuration in force; goes up by one with each change.",
};
export const CONFIG_UPDATES: Instrument = {
  name: "inmesh.config.updates",
  unit: "{update}",
  description:
    "What configuration sources said: applied, nothing new, refused, that they failed, or too late.",
};
export const CONFIG_REFUSED: Instrument = {
  name: "inmesh.config.refused",
  unit: "{state}",
  description: "1 while the last good layer of a source is in force because what it says is wrong.",
};

export const RUNTIME_SUPPORTED: Instrument = {
  name: "inmesh.runtime.supported",
  unit: "{state}",
  description: "0 while this version of Node has known weaknesses, or is at its end.",
};

export const HOOK_ERRORS: Instrument = {
  name: "inmesh.hook.errors",
  unit: "{error}",
  description: "Times a hook of an observer, or an exporter, has thrown, rejected or not ended.",
};

export const TAP_SUBSCRIBERS: Instrument = {
  name: "inmesh.tap.subscribers",
  unit: "{subscriber}",
  description: "Taps that are open.",
};
export const TAP_EVENTS: Instrument = {
  name: "inmesh.tap.events",
  unit: "{event}",
  description:
    "Calls and requests that ended while a tap was open, for each tap: what became of their event.",
};

export const ACCESS_LOG_LINES: Instrument = {
  name: "inmesh.access_log.lines",
  unit: "{line}",
  description: "Lines of an access log: written to its stream, or dropped because it took too few.",
};

export const METRICS_SERIES: Instrument = {
  name: "inmesh.metrics.series",
  unit: "{series}",
  description: "Series of the in-memory recorder, each limit of a histogram counted as one.",
};
export const METRICS_OVERFLOW: Instrument = {
  name: "inmesh.metrics.overflow",
  unit: "{record}",
  description:
    "Records counted under other, and gauges left out, because there are too many series.",
};

export const INSTRUMENTS: readonly Instrument[] = [
  CALLS,
  CALL_DURATION,
  CALL_ACTIVE,
  ATTEMPTS,
  ATTEMPT_DURATION,
  RETRY_DECISIONS,
  RETRY_BUDGET_BALANCE,
  BREAKER_TRANSITIONS,
  BREAKER_SUPPRESSED,
  BALANCER_PANIC,
  TRANSPORT_PROBLEM,
  IDENTITY_UPDATES,
  IDENTITY_PROBLEM,
  BALANCER_UPDATES,
  DISCOVERY_ENDPOINTS,
  DISCOVERY_STALE,
  DISCOVERY_ERRORS,
  DISCOVERY_LATE,
  ENDPOINTS_EXCESS,
  CONFIG_GENERATION,
  CONFIG_UPDATES,
  CONFIG_REFUSED,
  RUNTIME_SUPPORTED,
  HOOK_ERRORS,
  TAP_SUBSCRIBERS,
  TAP_EVENTS,
  ACCESS_LOG_LINES,
  METRICS_SERIES,
  METRICS_OVERFLOW,
];
