/** Prints which cells of docs/faults.md have tests: `C1 LC  packages/http/test/connect.test.ts`. */
import { faultTests } from "./fault-tests.ts";

for (const { id, surface, title, file } of faultTests()) {
  console.log(`${id.padEnd(3)} ${surface}  ${file}: ${title}`);
}
