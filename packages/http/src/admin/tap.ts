/** `GET /api/v1/tap`: the filter is the query, with the names that `mesh.tap` has for it. */
import { ConfigError, isMeshError, type Mesh } from "@inmesh/core";
import { InspectionError, parseTapOptions, type Tap } from "@inmesh/core/spi/inspect";

const PAGE = "docs/reference/tap.md lists the names";

/** Throws an InspectionError for a filter that does not parse, and where there are too many taps already. */
export function openTap(mesh: Mesh, parameters: URLSearchParams): Tap {
  try {
    return mesh.tap(parseTapOptions(parameters));
  } catch (error) {
    if (error instanceof ConfigError) {
      const mistakes = error.mistakes.map(({ path, rule }) => `${path} ${rule}`);
      throw new InspectionError("bad_filter", mistakes.join("; "), PAGE);
    }
    if (!isMeshError(error)) throw error;
    const isFull = error.code === "overloaded";
    throw new InspectionError(
      isFull ? "too_many_readers" : "not_available",
      error.message,
      isFull ? "wait for one of them to end" : "the process is about to end",
    );
  }
}
