/** What a route may ask of a request. A protocol's request object answers; core knows no header. */
export interface RouteFacts {
  readonly method: string;
  /** The path without query, as sent, starting with `/`. */
  readonly pathname: string;
  /** First value of a header, by lower-case name. */
  header(name: string): string | undefined;
  /** First value of a query parameter, decoded. */
  queryParam(name: string): string | undefined;
}
