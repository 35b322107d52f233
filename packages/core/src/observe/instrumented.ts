/**
 * Whether a method is wrapped by an instrumentation of OpenTelemetry: the mark that `@opentelemetry/instrumentation`
 * leaves on what it wraps, and that its own `isWrapped` asks for. Where another one makes the spans, we make none.
 */
export function isInstrumented(owner: object, method: string): boolean {
  const { [method]: wrapped } = owner as Record<string, unknown>;
  return typeof wrapped === "function" && (wrapped as { __wrapped?: unknown }).__wrapped === true;
}
