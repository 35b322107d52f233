/** For C16: takes all descriptors of this process but ten, for good. */
import { closeSync, openSync } from "node:fs";

export function takeDescriptors(): void {
  const taken: number[] = [];
  try {
    for (;;) taken.push(openSync("/dev/null", "r"));
  } catch {
    for (const one of taken.splice(-10)) closeSync(one);
  }
}
