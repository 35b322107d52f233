/** What a scenario has really done, for comparison with what dashboards show. */
export interface Truth {
  /** When it was so, in seconds since 1970. */
  readonly at: number;
  /** Calls to `exact` that have ended since the process began: all, those that failed, those of the route `read`. */
  readonly calls: number;
  readonly failed: number;
  readonly read: number;
  /** Calls to `exact` per second, over the ten seconds before. */
  readonly perSecond: number;
  /** Of `broken`: the endpoint whose breaker is open. */
  readonly open: string;
  /** When the certificate of the server `secure` ends, in seconds since 1970. */
  readonly expiresAt: number;
  readonly generation: number;
  /** Requests that the server `gate` refused for their Host. */
  readonly badHosts: number;
  /** Whether the mesh holds this version of Node to be safe. */
  readonly supported: boolean;
  /** Of the trace that some calls belong to. */
  readonly traceId: string;
}

export type FromScenario =
  | { readonly type: "page"; readonly address: string }
  /** All has been played, and goes on; the next message asks for the truth. */
  | { readonly type: "played" }
  | { readonly type: "truth"; readonly truth: Truth }
  | { readonly type: "end" };
