/** `GET /api/v1/tap`: the filter is the query, with the names that `mesh.tap` has for it. */
import { ConfigError, isMeshError, type TapOptions } from "@inmesh/core";
import { InspectionError, parseTapOptions } from "@inmesh/core/spi/inspect";
import type { OpenTap } from "./view.ts";

const PAGE = "docs/reference/tap.md lists the names";

/** Rejects with an InspectionError for a filter that does not parse, and where there are too many taps already. */
export async function openTap(
  open: (options: TapOptions) => OpenTap | Promise<OpenTap>,
  parameters: URLSearchParams,
): Promise<OpenTap> {
  try {
    return await open(parseTapOptions(parameters));
  } catch (error) {
    throw tapFailure(error);
  }
}

/** Of what `mesh.tap` throws, as the API says it. */
export function tapFailure(error: unknown): unknown {
  if (error instanceof ConfigError) {
    const mistakes = error.mistakes.map(({ path, rule }) => `${path} ${rule}`);
    return new InspectionError("bad_filter", mistakes.join("; "), PAGE);
  }
  if (!isMeshError(error)) return error;
  const isFull = error.code === "overloaded";
  return new InspectionError(
    isFull ? "too_many_readers" : "not_available",
    error.message,
    isFull ? "wait for one of them to end" : "the process is about to end",
  );
}
