/** What `--admin` asks for, as the listener of the API takes it, and lines of the log as `--log` wants them. */
import type { Log, LogLine } from "@inmesh/core";
import type { AdminListener, AdminOptions } from "inmesh";
import type { Context } from "inmesh/cli";
import type { ShownAdmin } from "./banner.ts";
import type { AdminSettings, Settings } from "./settings.ts";

export function adminOptions({ address, tokenFile, isMetricsOpen }: AdminSettings): AdminOptions {
  return {
    ...(address.path === undefined ? address : { socketPath: address.path }),
    ...(tokenFile !== undefined && { token: { file: tokenFile } }),
    metrics: isMetricsOpen ? "open" : "token",
  };
}

export function shownAdmin(
  admin: AdminListener | undefined,
  settings: Settings,
): ShownAdmin | undefined {
  if (admin === undefined) return undefined;
  return { address: admin.address, tokenFile: settings.admin?.tokenFile };
}

/** Undefined: there is none. */
export function logTo({ log: format }: Settings, { output, clock }: Context): Log | undefined {
  if (format === "none") return undefined;
  return (line: LogLine) =>
    output.error(
      format === "json"
        ? JSON.stringify({ timeMs: clock.wallNow(), ...line })
        : `${line.level} ${line.event} ${line.message}`,
    );
}
