/** A route: as it is once it is parsed, every field present, and as users write it. */

/** A route without the policies that it has of its own. */
export interface RouteRules {
  readonly name: string;
  /** Any of them; none at all matches everything. */
  readonly matches: readonly RouteMatchConfig[];
  /** The route vouches that its calls may be sent twice, whatever their method. */
  readonly idempotent: boolean;
  /** A reply that says `overloaded` proves that nothing was processed. */
  readonly overloadedMeansUnprocessed: boolean;
  /** Replies stream for long: latency is the time to the head, and no default deadline applies. */
  readonly streaming: boolean;
  /** Changes of heads: at most one of requests and one of replies. */
  readonly filters: readonly RouteFilterConfig[];
  /** Weighted destinations; empty: the service itself. */
  readonly backendRefs: readonly BackendRefConfig[];
}

/** One of the two (Gateway API HTTPRouteFilter). */
export interface RouteFilterConfig {
  readonly requestHeaderModifier?: HeaderModifierConfig;
  readonly responseHeaderModifier?: HeaderModifierConfig;
}

/** Names in lower case, each once in a list; header-changes.ts has the order of the lists. */
export interface HeaderModifierConfig {
  /** Takes the place of every value that the name has. */
  readonly set: readonly HeaderConfig[];
  /** Comes behind the values that the name has. */
  readonly add: readonly HeaderConfig[];
  readonly remove: readonly string[];
}

export interface HeaderConfig {
  readonly name: string;
  readonly value: string;
}

export interface BackendRefConfig {
  readonly name: string;
  readonly weight: number;
}

/** All given conditions must hold (Gateway API HTTPRouteMatch). */
export interface RouteMatchConfig {
  readonly method?: string;
  readonly path?: {
    readonly type: "Exact" | "PathPrefix" | "RegularExpression";
    readonly value: string;
  };
  readonly headers?: readonly ValueMatchConfig[];
  readonly queryParams?: readonly ValueMatchConfig[];
}

export interface ValueMatchConfig {
  readonly type: "Exact" | "RegularExpression";
  readonly name: string;
  readonly value: string;
}

// ── as users write it ──────────────────────────────────────────────────────────────────────────

export interface ValueMatchInput {
  readonly name: string;
  readonly type?: "Exact" | "RegularExpression";
  readonly value: string;
}

export interface RouteRulesInput {
  readonly name?: string;
  readonly matches?: readonly {
    /** HTTP's as a text; GRPCRoute's as an object. */
    readonly method?: string | RpcMatchInput;
    readonly path?: {
      readonly type?: "Exact" | "PathPrefix" | "RegularExpression";
      readonly value: string;
    };
    readonly headers?: readonly ValueMatchInput[];
    readonly queryParams?: readonly ValueMatchInput[];
  }[];
  readonly idempotent?: boolean;
  readonly overloadedMeansUnprocessed?: boolean;
  readonly streaming?: boolean;
  readonly filters?: readonly RouteFilterInput[];
  readonly backendRefs?: readonly (Pick<BackendRefConfig, "name"> & Partial<BackendRefConfig>)[];
}

/** One of `service` and `method` at least. */
export interface RpcMatchInput {
  readonly service?: string;
  readonly method?: string;
  readonly type?: "Exact" | "RegularExpression";
}

export interface HeaderModifierInput {
  readonly set?: readonly HeaderConfig[];
  readonly add?: readonly HeaderConfig[];
  readonly remove?: readonly string[];
}

/** What a route changes in heads, as in Gateway API, where `type` must be written. */
export type RouteFilterInput =
  | {
      readonly type?: "RequestHeaderModifier";
      readonly requestHeaderModifier: HeaderModifierInput;
    }
  | {
      readonly type?: "ResponseHeaderModifier";
      readonly responseHeaderModifier: HeaderModifierInput;
    };
