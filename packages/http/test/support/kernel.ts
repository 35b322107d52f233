/** What the kernel does beside a test: how much of a connection it keeps by itself. */
import { readFileSync } from "node:fs";

const MIB = 1_048_576;

/** The most that TCP keeps of one connection, in bytes, as Linux says it; elsewhere, what is common. */
function socketBuffers(): number {
  try {
    const largest = (name: string): number =>
      Number(readFileSync(`/proc/sys/net/ipv4/${name}`, "utf8").trim().split(/\s+/).at(-1));
    return largest("tcp_rmem") + largest("tcp_wmem");
  } catch {
    return 16 * MIB;
  }
}

/**
 * How far ahead of a reader that does not read a writer may get, in bytes: the buffers of both kernels, which grow up
 * to 37 MiB on new versions of Linux, and some of the processes' own.
 */
export const AHEAD_BYTES = socketBuffers() + 8 * MIB;
