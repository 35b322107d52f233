/**
 * What a caller of `meshClient` may say of one call: the options of `fetch` and `request`, and the forms in
 * which their values may be given. Types alone: `call-input.ts` looks at what was really given.
 */
import type { RequestBody } from "./body.ts";

/** What is written out as a header's value. */
export type HeaderValue = string | number | boolean;

export type HeadersInput =
  | Iterable<readonly [string, HeaderValue]>
  // Named as well, because lib dom without dom.iterable does not say that it is iterable.
  | Headers
  | Readonly<Record<string, HeaderValue | readonly HeaderValue[] | undefined>>
  | null;

export type QueryValue = string | number | boolean | undefined;

/** Lists repeat the name; undefined is left out. Written as forms are: a space is `+`. */
export type QueryInput =
  | URLSearchParams
  | Readonly<Record<string, QueryValue | readonly QueryValue[]>>;

export interface CallInit {
  /** Ends the call in the same turn; the promise rejects with the signal's reason. Default: none. */
  readonly signal?: AbortSignal | null;
  /**
   * Milliseconds for the whole call, body included. Shortens the route's timeout; extends it where
   * `timeouts.maxRequest` allows that, and never beyond the deadline of the request being served.
   * Default: the route's `timeouts.request`.
   */
  readonly timeoutMs?: number;
  /** The call may be sent twice. Default: by method, or true with an `idempotency-key` header. */
  readonly idempotent?: boolean;
}

export interface FetchInit extends CallInit {
  /** Default `GET`. As in fetch, get, head, post, put, delete and options may be in lower case. */
  readonly method?: string;
  /**
   * Numbers and booleans are written out, undefined is left out. `x-mesh-*` is ours and dropped; `host`
   * belongs to the service and is refused. Default: none.
   */
  readonly headers?: HeadersInput;
  /** Streams are sent as they are read, and are not sent a second time. Default: none. */
  readonly body?: RequestBody;
  /**
   * A value that is sent as JSON, in place of `body`; needs a `method`. `content-type` is
   * `application/json` unless `headers` say another. Can be sent again for a retry.
   * Default: none.
   */
  readonly json?: unknown;
  /** Appended to the path. Lists repeat the name, undefined is left out. Default: none. */
  readonly query?: QueryInput;
  /** A status from 400 up rejects with a StatusError. Default: what the client says, else false. */
  readonly throwOnError?: boolean;
}

export interface RequestInit extends FetchInit {
  /** Path and query. Starts with `/`. */
  readonly path: string;
}
