/** What only the users of some entries have installed. */
const MISSING = /'@opentelemetry\/(?:api|sdk-node)'/;

/** Throws an Error with `message`, which says what to install, where a package of OpenTelemetry is not there. */
export function needed<T>(load: () => T, message: string): T {
  try {
    return load();
  } catch (error) {
    const { code, message: text } = error as NodeJS.ErrnoException;
    // Of `require`, and of an `import` in what was required.
    const isMissing = code === "MODULE_NOT_FOUND" || code === "ERR_MODULE_NOT_FOUND";
    if (!isMissing || !MISSING.test(text)) throw error;
    throw new Error(message, { cause: error });
  }
}
