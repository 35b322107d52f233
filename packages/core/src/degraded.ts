/**
 * What works less well in this process because a private member of Node or of a library is not where it
 * was. A private member may make something faster or stricter, and nothing may need it: a later version
 * can rename it. Each is probed here before its first use, and one that is missing is visible in
 * snapshots and in the log. `INMESH_PUBLIC_ONLY=1` hides all of them, so that a test suite can show that
 * nothing needs them.
 */

export interface PrivateMember {
  /** Where it is, such as `grpc-js Server.http2Servers`. */
  readonly name: string;
  /** What it is used for: nothing may need it. */
  readonly makes: "faster" | "stricter" | "more is known";
  /** The public way that is taken without it. */
  readonly instead: string;
  /** What is lost without it, as the end of a sentence that begins with "without it". */
  readonly loss: string;
}

let publicOnly: boolean | undefined;

/** Read at the first probe, because importing inmesh reads no variable (P8). Later changes have no effect. */
function isPublicOnly(): boolean {
  return (publicOnly ??= process.env["INMESH_PUBLIC_ONLY"] === "1");
}

/** By name of the member. Names are constants, so it stays small. */
const missing = new Map<string, string>();
const listeners = new Set<(line: string) => void>();

/** The members that one owner (a server, or a protocol's client half) has probed and not found. */
export class Degraded {
  readonly #lines = new Map<string, string>();

  /** One line for each missing member, in the order in which they were found missing. */
  get list(): readonly string[] {
    return [...this.#lines.values()];
  }

  /**
   * Whether the member may be used. `isThere`: it has been looked up and has the type that is expected.
   * A missing one is reported once. Cheap enough to be asked again for each connection, but not for
   * each call.
   */
  allows({ name, loss }: Pick<PrivateMember, "name" | "loss">, isThere: boolean): boolean {
    if (isThere && !isPublicOnly()) return true;
    if (this.#lines.has(name)) return false;
    const line = `${name} is missing: without it ${loss}`;
    this.#lines.set(name, line);
    if (missing.has(name)) return false;
    missing.set(name, line);
    for (const listener of listeners) listener(line);
    return false;
  }
}

/** The lines of all owners in this process. */
export function degradedInProcess(): readonly string[] {
  return [...missing.values()];
}

/** Calls `listener` once for each line, also for those that are there already. Returns its end. */
export function watchDegraded(listener: (line: string) => void): () => void {
  for (const line of missing.values()) listener(line);
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
  };
}
