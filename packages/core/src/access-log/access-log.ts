/**
 * An access log: a line for each request that was served, and for each call if that is asked for, on a stream of
 * the application. It is an exporter, so that its mesh starts it, counts what it drops, and lets it finish.
 */
import { ConfigError, makeMistake } from "../config/mistakes.ts";
import { type OptionKinds, optionMistakes } from "../config/options.ts";
import { isRaw } from "../config/plain.ts";
import type { ExportedMesh, Exporter } from "../exporter.ts";
import type { EndedCall, EndedRequest } from "../observe/observer.ts";
import { combinedLine } from "./combined.ts";
import { callLine, requestLine } from "./json.ts";
import { Lines, type LineStream } from "./lines.ts";

export type AccessLogFormat = "json" | "combined";

export interface AccessLogOptions {
  /** Where lines go: a stream of yours, such as `process.stdout` or a file. It is written to, and never ended. */
  readonly stream: LineStream;
  /**
   * `json`: an object a line, with the field names of OpenTelemetry; `combined`: the Combined Log Format of
   * Apache and nginx. Default `json`.
   */
  readonly format?: AccessLogFormat;
  /** Lines have the query behind the path. It may hold secrets, and is not redacted. Default false. */
  readonly query?: boolean;
  /** A line for each request served by a server that has this mesh. Default true. */
  readonly inbound?: boolean;
  /** A line for each call. Only as `json`: Combined is a format of servers. Default false. */
  readonly outbound?: boolean;
}

const KINDS: OptionKinds<AccessLogOptions> = {
  stream: "any",
  format: "any",
  query: "boolean",
  inbound: "boolean",
  outbound: "boolean",
};

/**
 * For `createMesh({ exporters: [accessLog({ stream: process.stdout })] })`. Throws ConfigError with every mistake in
 * its options.
 */
export function accessLog(options: AccessLogOptions): Exporter {
  check(options);
  const { stream, format = "json", query = false, inbound = true, outbound = false } = options;
  const served = format === "json" ? requestLine : combinedLine;
  const lines = new Lines(stream);
  let mesh: ExportedMesh;
  return {
    name: "access log",
    observer: {
      ...(inbound && {
        servedEnded: (request: EndedRequest) =>
          lines.add(served(request, mesh.runtime.wallNow(), query)),
      }),
      ...(outbound && {
        callEnded: (call: EndedCall) => lines.add(callLine(call, mesh.runtime.wallNow(), query)),
      }),
    },
    start(started) {
      mesh = started;
      lines.start(started);
    },
    close: (withinMs) => lines.close(withinMs),
  };
}

function check(options: unknown): void {
  const mistakes = optionMistakes("accessLog", options, KINDS);
  if (isRaw(options)) {
    const { stream, format, outbound } = options;
    const mistake = (name: string, rule: string, value: unknown): void => {
      mistakes.push(makeMistake([name], rule, value, "accessLog"));
    };
    const methods = ["write", "on", "off"];
    const isStream =
      typeof stream === "object" &&
      stream !== null &&
      methods.every((name) => typeof Reflect.get(stream, name) === "function");
    if (!isStream) {
      mistake("stream", "must be a writable stream, such as process.stdout", stream);
    }
    if (format !== undefined && format !== "json" && format !== "combined") {
      mistake("format", "must be json or combined", format);
    }
    if (outbound === true && format === "combined") {
      mistake("outbound", "needs the format json: Combined is a format of servers", outbound);
    }
  }
  if (mistakes.length > 0) throw new ConfigError(mistakes, "access log");
}
