/** What inmesh reports to people, one line at a time. Nothing is ever written to the console. */

/** The ids are stable: filters and alerts are made of them. docs/reference/log.md explains each. */
export type LogEvent =
  | "access_log.dropped"
  | "access_log.failed"
  | "admin.changed"
  | "admin.listening"
  | "admin.refused"
  | "attempt.failed"
  | "balancer.panic"
  | "balancer.panic_over"
  | "breaker.ejected"
  | "breaker.probing"
  | "breaker.recovered"
  | "call.failed"
  | "config.applied"
  | "config.failed"
  | "config.late"
  | "config.refused"
  | "config.restored"
  | "config.snapshot_failed"
  | "discovery.empty"
  | "discovery.excess"
  | "discovery.failed"
  | "discovery.fallback"
  | "discovery.kubernetes"
  | "discovery.late"
  | "discovery.recovered"
  | "exporter.failed"
  | "hook.failed"
  | "identity.refused"
  | "log.omitted"
  | "observer.failed"
  | "place.unknown"
  | "proxy.connection_refused"
  | "proxy.defect"
  | "proxy.listener_failed"
  | "proxy.listening"
  | "proxy.worker_ended"
  | "registry.announced"
  | "registry.failed"
  | "registry.used"
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

/** `debug` lines are written only while they are asked for: `PUT /api/v1/log-level`. */
export type LogLevel = "debug" | "info" | "warn";

/** Every event with its level. `warn` is for what may need action. */
export const LOG_EVENTS: Readonly<Record<LogEvent, LogLevel>> = {
  "access_log.dropped": "warn",
  "access_log.failed": "warn",
  "admin.changed": "info",
  "admin.listening": "info",
  "admin.refused": "warn",
  "attempt.failed": "debug",
  "balancer.panic": "warn",
  "balancer.panic_over": "info",
  "breaker.ejected": "warn",
  "breaker.probing": "info",
  "breaker.recovered": "info",
  "call.failed": "debug",
  "config.applied": "info",
  "config.failed": "warn",
  "config.late": "warn",
  "config.refused": "warn",
  "config.restored": "warn",
  "config.snapshot_failed": "warn",
  "discovery.empty": "warn",
  "discovery.excess": "warn",
  "discovery.failed": "warn",
  "discovery.fallback": "warn",
  "discovery.kubernetes": "info",
  "discovery.late": "warn",
  "discovery.recovered": "info",
  "exporter.failed": "warn",
  "hook.failed": "warn",
  "identity.refused": "warn",
  "log.omitted": "warn",
  "observer.failed": "warn",
  "place.unknown": "info",
  "proxy.connection_refused": "warn",
  "proxy.defect": "warn",
  "proxy.listener_failed": "warn",
  "proxy.listening": "info",
  "proxy.worker_ended": "warn",
  "registry.announced": "info",
  "registry.failed": "warn",
  "registry.used": "info",
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
  readonly level: LogLevel;
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

const LEVELS: readonly LogLevel[] = ["debug", "info", "warn"];

/** The application's log, and which lines it gets. */
export class LogFilter {
  /** Lines below it are left out. */
  least: LogLevel = "info";
  /** Cannot throw. */
  readonly log: Log;
  /** False: there is none, and lines go nowhere. */
  readonly hasLog: boolean;

  constructor(log: Log | undefined) {
    const safe = safeLog(log);
    this.hasLog = log !== undefined;
    // Who has changed something is written whatever the level: it may be the level that was changed.
    this.log = (line) => {
      const isLow = LEVELS.indexOf(line.level) < LEVELS.indexOf(this.least);
      if (!isLow || line.event === "admin.changed") safe(line);
    };
  }
}

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
