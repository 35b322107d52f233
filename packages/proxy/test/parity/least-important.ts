/** A server that has as many calls in progress as it may: what both protocols play in the same way. */
import { until, type Bench } from "./bench.ts";

/**
 * Fills it up to its limit, and asks by all priorities. `start` begins the server; what it hands to `take` is done when
 * all have been asked.
 */
export async function leastImportantFirst(
  bench: Bench,
  start: (
    options: { posture: "mesh"; limits: { maxInFlight: number } },
    take: (answer: () => void) => void,
  ) => Promise<void>,
): Promise<void> {
  let release = (): void => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  let begun = 0;
  await start({ posture: "mesh", limits: { maxInFlight: 5 } }, (answer) => {
    begun++;
    void held.then(answer);
  });
  const first = Array.from({ length: 4 }, () => bench.ask());
  await until(() => begun === 4);
  await bench.ask({ headers: { "x-mesh-priority": "sheddable" } });
  const fifth = bench.ask();
  await until(() => begun === 5);
  await bench.ask();
  const critical = bench.ask({ headers: { "x-mesh-priority": "critical" } });
  await until(() => begun === 6);
  release();
  await Promise.all([...first, fifth, critical]);
}
