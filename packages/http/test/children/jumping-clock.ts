/** Loaded before anything else (`--import`): every look at the wall clock shows another time. */
const real = Date.now;
const HOUR_MS = 3_600_000;
const JUMPS = [
  () => real(),
  () => real() + HOUR_MS,
  () => real() - HOUR_MS,
  () => 0,
  () => real() + 1_000 * HOUR_MS,
];
let looks = 0;
const jumping = (): number => JUMPS[looks++ % JUMPS.length]!();

class JumpingDate extends Date {
  constructor(...given: ConstructorParameters<typeof Date> | []) {
    super(...(given.length === 0 ? ([jumping()] as ConstructorParameters<typeof Date>) : given));
  }
  static override now(): number {
    return jumping();
  }
}
globalThis.Date = JumpingDate as DateConstructor;
