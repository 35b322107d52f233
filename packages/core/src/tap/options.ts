/** What may be asked of a tap. All conditions have to hold; of a list one of its values has to. */
import type { Outcome } from "../call.ts";

export interface TapOptions {
  /** The called service, or the server. Default: all. */
  readonly service?: string | readonly string[];
  /** Default: all. */
  readonly route?: string | readonly string[];
  /** Calls that were made, or requests that were served. Default: both. */
  readonly direction?: "outbound" | "inbound";
  /** HTTP status or number of a gRPC status, a class such as `5xx` (HTTP), or `none`: without a reply. Default: all. */
  readonly status?: TapStatus | readonly TapStatus[];
  /** Default: all. */
  readonly outcome?: Outcome | readonly Outcome[];
  /** Of the error of the call, of one of its attempts, or of a refusal. Default: all. */
  readonly reason?: string | readonly string[];
  /** Default: all. */
  readonly method?: string | readonly string[];
  /** How the path begins; begins with `/`. Default: all. */
  readonly path?: string;
  /** `host:port` or `unix:path`: of a call, an attempt went to it; of a request never true. Default: all. */
  readonly endpoint?: string;
  /** Of a request: address of the peer, or a URI or DNS name of its certificate; of a call never true. Default: all. */
  readonly peer?: string;
  /** Milliseconds that it took at least. Default 0. */
  readonly minLatencyMs?: number;
  /** Values that fields of the request's head must have, by name. Default: none. */
  readonly header?: Readonly<Record<string, string>>;
  /** 32 hexadecimal digits. Default: all. */
  readonly traceId?: string;

  /** Share of what the filter lets through that is shown, above 0 and up to 1. Default 1. */
  readonly ratio?: number;
  /** Calls after which the tap ends by itself. Default: it does not. */
  readonly limit?: number;
  /** Calls shown in a second at most, 1 to 1,000; what is above is counted in `lost`. Default 100. */
  readonly maxPerSecond?: number;
  /** Events that wait for the reader at most, 1 to 1,000; then the oldest go, counted in `lost`. Default 1,000. */
  readonly buffer?: number;

  /** Show the fields of the request's head, with secrets redacted. Default false. */
  readonly headers?: boolean;
  /** Names of further fields whose values are redacted. Default: none. No effect without `headers`. */
  readonly redact?: readonly string[];
  /** Show the query. It may hold secrets, and is not redacted. Default false. */
  readonly query?: boolean;
}

export type TapStatus = number | "1xx" | "2xx" | "3xx" | "4xx" | "5xx" | "none";
