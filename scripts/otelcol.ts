/** The OpenTelemetry Collector that `npm run peers:otel` builds: a test that wants it looks here, and is left out without it. */
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** Of the builder and of every module, which belong together. */
export const OTELCOL_VERSION = "0.160.0";
/** Modules that are stable count from 1. */
export const OTELCOL_STABLE_VERSION = "1.66.0";

const cache: string = process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
export const OTELCOL_FOLDER: string = join(cache, "inmesh-peers", `otelcol-${OTELCOL_VERSION}`);

/** `INMESH_OTELCOL` names another one. Undefined: there is none. */
export function otelcol(): string | undefined {
  const named = process.env["INMESH_OTELCOL"] ?? join(OTELCOL_FOLDER, "otelcol");
  return existsSync(named) ? named : undefined;
}
