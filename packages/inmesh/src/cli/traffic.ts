/** What a table of numbers is about: everything since the mesh was made, or the time between two readings. */
import type { Answer, LatencyHistogram, Services, ServiceView } from "@inmesh/core/inspect";
import type { Quantiles } from "./columns.ts";

export interface Reading<A extends Answer> {
  readonly now: A;
  /** Undefined: everything since the mesh was made counts. */
  readonly before: A | undefined;
}

/** A process that was restarted in between has begun at 0 again, so its reading stands for itself. */
export function reading<A extends Answer>(now: A, before: A | undefined): Reading<A> {
  const isSame =
    before !== undefined && before.instance === now.instance && before.uptimeMs < now.uptimeMs;
  return { now, before: isSame ? before : undefined };
}

export function windowMs<A extends Answer>({ now, before }: Reading<A>): number {
  return now.uptimeMs - (before?.uptimeMs ?? 0);
}

export function quantilesOf(
  latency: LatencyHistogram | undefined,
  boundsSeconds: readonly number[],
): Quantiles {
  const { p50Ms, p95Ms, p99Ms } = latency ?? {};
  return { p50Ms, p95Ms, p99Ms, maxMs: (boundsSeconds.at(-1) ?? 0) * 1000 };
}

export function unmeasured({ measured }: Services): readonly string[] {
  return measured
    ? []
    : ["nothing is counted here: createMesh({ telemetry }) of the process takes all measurements"];
}

type Named = Pick<ServiceView, "name" | "protocol">;

/** A service that HTTP and gRPC both call stands in the list twice. */
export function sameService(one: Named, other: Named): boolean {
  return one.name === other.name && one.protocol === other.protocol;
}
