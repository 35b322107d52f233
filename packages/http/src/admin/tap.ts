/** `GET /api/v1/tap`: the filter is the query, as `mesh.tap` reads it. */
import type { Mesh } from "@inmesh/core/spi";
import { InspectionError } from "@inmesh/core/spi/inspect";
import type { TapEvents } from "./events.ts";

/** Throws an InspectionError for a filter that does not parse. */
export function openTap(mesh: Mesh, parameters: URLSearchParams): TapEvents {
  void mesh;
  void parameters;
  throw new InspectionError("not_available", "there is no tap yet", "");
}
