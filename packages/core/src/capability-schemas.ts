/**
 * The shapes of what capabilities read in the configuration where a list of options does not describe them.
 * Apart from capability-options.ts, because the types of applications depend on that one, and zod's declarations,
 * which these need, do not compile under all of their settings.
 */
export { routeSchema } from "./route/schema.ts";
