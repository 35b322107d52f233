/**
 * What happens to the servers, and when. Times are fractions of the run, so that a run of six
 * seconds shows the same as one of thirty.
 */
import type { Fleet } from "./fleet.ts";

export interface Step {
  /** Share of the run, 0 to 1. */
  readonly at: number;
  /** What a person sees, in words. */
  readonly words: string;
  readonly act?: (fleet: Fleet) => Promise<void> | void;
}

const SLOW_FROM = 0.2;
const SLOW_TO = 0.4;
/** Index of the server that becomes slow. */
export const SLOW = 1;
const FAILING = 3;
const KILLED = 0;
const ROLL_FROM = 0.8;
const ROLL_TO = 0.97;

/** Milliseconds since the start. Requests due in `healthy` and `slow` give the two latencies. */
export interface Windows {
  readonly healthy: readonly [number, number];
  readonly slow: readonly [number, number];
}

export function windows(seconds: number): Windows {
  const ms = seconds * 1000;
  const slowMs = (SLOW_TO - SLOW_FROM) * ms;
  return {
    healthy: [0, SLOW_FROM * ms],
    // One second after the endpoint slows; in very short runs, half of the time it is slow.
    slow: [SLOW_FROM * ms + Math.min(1000, slowMs / 2), SLOW_TO * ms],
  };
}

/** `graceful`: the servers are wrapped, so one stops where a plain one is killed. */
export function timeline(size: number, graceful: boolean): Step[] {
  const rollEvery = (ROLL_TO - ROLL_FROM) / size;
  return [
    { at: 0, words: "all servers are healthy" },
    {
      at: SLOW_FROM,
      words: `server ${SLOW + 1} answers 20 times slower`,
      act: (fleet) => fleet.mode(SLOW, "slow"),
    },
    {
      at: SLOW_TO,
      words: `server ${SLOW + 1} is fast again`,
      act: (fleet) => fleet.mode(SLOW, "healthy"),
    },
    {
      at: 0.45,
      words: graceful
        ? `server ${FAILING + 1} is overloaded and refuses 30 %, before any work`
        : `server ${FAILING + 1} answers 30 % with 500, at once`,
      act: (fleet) => fleet.mode(FAILING, "failing"),
    },
    {
      at: 0.6,
      words: `server ${FAILING + 1} is healthy again`,
      act: (fleet) => fleet.mode(FAILING, "healthy"),
    },
    {
      at: 0.64,
      words: graceful
        ? `server ${KILLED + 1} drains and stops (SIGTERM)`
        : `server ${KILLED + 1} is killed (SIGKILL)`,
      act: (fleet) => fleet.end(KILLED, graceful ? "SIGTERM" : "SIGKILL"),
    },
    {
      at: 0.74,
      words: `server ${KILLED + 1} comes back on its port`,
      act: (fleet) => fleet.restart(KILLED),
    },
    ...Array.from({ length: size }, (_, i) => ({
      at: ROLL_FROM + i * rollEvery,
      words: `rolling restart: server ${i + 1} of ${size} ${graceful ? "drains" : "stops at once"} and starts again`,
      act: async (fleet: Fleet): Promise<void> => {
        await fleet.end(i, "SIGTERM");
        await fleet.restart(i);
      },
    })),
  ];
}
