/**
 * The size of V8's young generation. Left alone it doubles over minutes, up to two halves of 64 MB, of which a proxy has no use
 * (docs/decisions/0057-spent-memory.md). V8 reads the size once, before it runs anything, so the program starts itself anew.
 */
import { isSea } from "node:sea";

const FLAG = "--max-semi-space-size";
/** Of 16 MB for each half. */
export const YOUNG_GENERATION_FLAG: string = `${FLAG}=16`;

/**
 * Starts the program anew in the same process (`process.execve`), with the flag, unless a size was chosen. Where that
 * cannot be done, as on Windows, it goes on without.
 */
export function limitYoungGeneration(): void {
  const { execArgv, execPath, argv, env } = process;
  const chosen = [...execArgv, env["NODE_OPTIONS"] ?? ""].join(" ").replaceAll("_", "-");
  // A single executable has it built in. Descriptors beyond the third would be closed: a channel to the parent, a file `<(…)`.
  const hasMore = process.connected || argv.some((one) => one.includes("/dev/fd/"));
  if (chosen.includes(FLAG) || isSea() || hasMore) return;
  try {
    process.execve?.(
      execPath,
      [execPath, YOUNG_GENERATION_FLAG, ...execArgv, ...argv.slice(1)],
      env,
    );
  } catch {
    // This system does not have it.
  }
}
