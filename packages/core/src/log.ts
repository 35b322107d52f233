/** What inmesh reports to people, one line at a time. Nothing is ever written to the console. */

/** The ids are stable: filters and alerts are made of them. docs/reference/log.md explains each. */
export type LogEvent =
  | "access_log.dropped"
  | "access_log.failed"
  | "balancer.panic"
  | "balancer.panic_over"
  | "breaker.ejected"
  | "breaker.probing"
  | "breaker.recovered"
  | "config.applied"
  | "config.failed"
  | "config.late"
  | "config.refused"
  | "config.restored"
  | "config.snapshot_failed"
  | "discovery.empty"
  | "discovery.excess"
  | "discovery.failed"
  | "discovery.late"
  | "discovery.recovered"
  | "exporter.failed"
  | "hook.failed"
  | "identity.refused"
  | "log.omitted"
  | "observer.failed"
  | "runtime.degraded"
  | "runtime.unsupported"
  | "server.accepting"
  | "server.http1_application"
  | "server.layer_failed"
  | "server.peer_refused"
  | "server.pending"
  | "server.refusing"
  | "service.accepting"
  | "service.refusing";

/** Every event with its level. `warn` is for what may need action. */
export const LOG_EVENTS: Readonly<Record<LogEvent, "info" | "warn">> = {
  "access_log.dropped": "warn",
  "access_log.failed": "warn",
  "balancer.panic": "warn",
  "balancer.panic_over": "info",
  "breaker.ejected": "warn",
  "breaker.probing": "info",
  "breaker.recovered": "info",
  "config.applied": "info",
  "config.failed": "warn",
  "config.late": "warn",
  "config.refused": "warn",
  "config.restored": "warn",
  "config.snapshot_failed": "warn",
  "discovery.empty": "warn",
  "discovery.excess": "warn",
  "discovery.failed": "warn",
  "discovery.late": "warn",
  "discovery.recovered": "info",
  "exporter.failed": "warn",
  "hook.failed": "warn",
  "identity.refused": "warn",
  "log.omitted": "warn",
  "observer.failed": "warn",
  "runtime.degraded": "warn",
  "runtime.unsupported": "warn",
  "server.accepting": "info",
  "server.http1_application": "warn",
  "server.layer_failed": "warn",
  "server.peer_refused": "warn",
  "server.pending": "warn",
  "server.refusing": "warn",
  "service.accepting": "info",
  "service.refusing": "warn",
};

export interface LogLine {
  readonly level: "info" | "warn";
  /** Closed set, for filters. */
  readonly event: LogEvent;
  /** For people; its wording may change. Begins with the name of the service or server, if it is about one. */
  readonly message: string;
  /** The service that the line is about. */
  readonly service?: string | undefined;
  /** The endpoint that the line is about, `host:port` or `unix:path`. */
  readonly endpoint?: string | undefined;
}

export type Log = (line: LogLine) => void;

/** The application's log, whose faults stay its own; without one, silence. */
export function safeLog(log: Log | undefined): Log {
  return (line) => {
    try {
      log?.(line);
    } catch {
      // A logger that throws must not stop what it logs.
    }
  };
}
