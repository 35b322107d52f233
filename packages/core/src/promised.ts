/**
 * What the application's functions give back may be a promise of another realm (Node's own in a test that runs in a `vm`
 * context, as those of Jest do) or of a library: `instanceof` says no to it, and its rejection would end the process.
 */
export function promised(result: unknown): Promise<unknown> | undefined {
  if (typeof result !== "object" || result === null) return undefined;
  if (result instanceof Promise) return result;
  return "then" in result && typeof result.then === "function"
    ? Promise.resolve(result)
    : undefined;
}
