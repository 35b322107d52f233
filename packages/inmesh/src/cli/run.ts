#!/usr/bin/env node
/** The program behind `npx inmesh`. */
import { assertSupported } from "@inmesh/core/spi";
import { main } from "./main.ts";
import { Output } from "./output.ts";

try {
  assertSupported();
  process.exitCode = main(process.argv.slice(2), new Output());
} catch (error) {
  // A defect of ours or an old Node. A mistake of the user is answered by the command itself.
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 3;
}
