/** What the application sees of an error: its own abort reason if it aborted, else the MeshError. */
import { MeshError } from "@inmesh/core/spi";

export function surfaced(error: unknown): unknown {
  const aborted = error instanceof MeshError && error.reason === "caller";
  return aborted && error.cause !== undefined ? error.cause : error;
}
