/** What inmesh tells people, one line at a time. Nothing is ever written to the console. */
export interface LogLine {
  readonly level: "info" | "warn";
  /** Closed set, for filters. */
  readonly event:
    | "config.applied"
    | "config.refused"
    | "config.restored"
    | "config.snapshot_failed"
    | "exporter.failed"
    | "hook.failed"
    | "observer.failed"
    | "runtime.degraded"
    | "runtime.unsupported"
    | "server.refusing"
    | "server.http1_application";
  readonly message: string;
}

export type Log = (line: LogLine) => void;

/** The application's log, whose faults stay its own; without one, silence. */
export function safeLog(log: Log | undefined): Log {
  return (line) => {
    try {
      log?.(line);
    } catch {
      // A logger that throws must not stop what it was told of.
    }
  };
}
