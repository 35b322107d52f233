/** Loaded into a program before it starts (`--import`, with `--expose-gc`): SIGUSR2 writes what lives, in bytes, on stderr. */
import { writeSync } from "node:fs";

process.on("SIGUSR2", () => {
  for (let n = 0; n < 3; n++) globalThis.gc();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  writeSync(2, `live heap ${heapUsed + arrayBuffers}\n`);
});
