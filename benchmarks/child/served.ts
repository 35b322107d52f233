/**
 * What a served process of a benchmark tells its parent: for each message the CPU time since the one
 * before (the whole process's, all threads, user and system) and what it served meanwhile. It ends with
 * its parent.
 */
export interface Served {
  readonly cpuUs: number;
  readonly requests: number;
}

/** Gives what is to be called for each request. */
export function tellServed(): () => void {
  let requests = 0;
  let before = process.cpuUsage();
  process.on("message", () => {
    const { user, system } = process.cpuUsage(before);
    process.send!({ cpuUs: user + system, requests } satisfies Served);
    requests = 0;
    before = process.cpuUsage();
  });
  process.on("disconnect", () => process.exit());
  return () => void requests++;
}
