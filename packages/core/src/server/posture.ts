/**
 * What a listener believes of its callers. The rule of the default, `edge`: an untrusted caller may ask
 * for less, never for more. A short deadline, an attempt number, a low priority cost only the sender; a
 * high priority is not granted, and what the deadline of an untrusted caller cuts short is charged to no
 * endpoint. Claims of identity are removed in every posture: nothing here verifies them
 * (docs/decisions/0007-postures.md).
 */

/** `edge`: anyone may connect. `local`: the application's own host. `mesh`: only servers and clients of the mesh. */
export type Posture = "edge" | "local" | "mesh";

/** What a server believes of what a caller says. */
export interface Trust {
  /** The sender's deadline measures endpoints: passing it is charged to them. */
  readonly deadlineIsOurs: boolean;
  /** The attempt number of an outer hop is read. Its hop count is read of every caller, or a circle would have no end. */
  readonly attempt: boolean;
  /** Handlers see how many attempts came before, where the protocol has a word of its own for it. */
  readonly showsAttempt: boolean;
  /** `critical` is granted. */
  readonly critical: boolean;
  /** `baggage` stays. */
  readonly baggage: boolean;
  /** Refusals say why. */
  readonly givesReasons: boolean;
}

export const TRUST: Readonly<Record<Posture, Trust>> = {
  edge: {
    deadlineIsOurs: false,
    attempt: true,
    showsAttempt: false,
    critical: false,
    baggage: false,
    givesReasons: false,
  },
  local: {
    deadlineIsOurs: true,
    attempt: false,
    showsAttempt: false,
    critical: true,
    baggage: true,
    givesReasons: true,
  },
  mesh: {
    deadlineIsOurs: true,
    attempt: true,
    showsAttempt: true,
    critical: true,
    baggage: true,
    givesReasons: true,
  },
};
