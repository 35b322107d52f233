/** What a route asks of a request, and what it may do to it. A protocol's request object answers. */
import type { HeaderChanges } from "../header-changes.ts";

export interface RouteFacts {
  readonly method: string;
  /** The path without query, as sent, starting with `/`. */
  readonly pathname: string;
  /** First value of a header, by lower-case name. */
  header(name: string): string | undefined;
  /** First value of a query parameter, decoded. */
  queryParam(name: string): string | undefined;
}

export interface RoutedRequest extends RouteFacts {
  /** Once per call, after the route was found and before the first attempt. Must not throw. */
  changeHeaders(changes: HeaderChanges): void;
}
