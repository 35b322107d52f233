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

/** What observers are told of a request besides, when they ask. */
export interface HeadFacts extends RouteFacts {
  /** Behind the `?`, as sent; empty without one. */
  readonly queryText: string;
  /** Every field of its head, with lower-case name. */
  fields(): HeadField[];
}

export type HeadField = readonly [name: string, value: string];

export interface RoutedRequest extends HeadFacts {
  /** Once per call, after the route was found and before the first attempt. Must not throw. */
  changeHeaders(changes: HeaderChanges): void;
}
