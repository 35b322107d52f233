/** What the players of clients and the clients under attack say to each other. */

/** A call that gets a hostile reply, with others beside and behind it that get good ones. */
export interface Play {
  /** Which of the client's services, each with an upstream of its own. */
  readonly slot: number;
  /** A name for this play; calls that get good replies are `<id>-<number>`. */
  readonly id: string;
  /** The way into the mesh, where there are several: a number of which the remainder counts. */
  readonly door: number;
}

export interface Outcome {
  readonly ms: number;
  /** What was sent back for each good call: its own id, if all is right; undefined: it failed. */
  readonly good: readonly { readonly id: string; readonly got: string | undefined }[];
  /** How the hostile call ended: a status, a code of an error. */
  readonly bad: string;
}

export const SLOTS = 8;
export const CALL_WITHIN_MS = 1_200;
