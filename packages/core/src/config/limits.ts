/** How large a configuration may be. The numbers stand in its schema and in docs/reference/config.md. */

export const LIMITS: Readonly<
  Record<
    | "services"
    | "routesPerService"
    | "matchesPerRoute"
    | "conditionsPerMatch"
    | "backendRefsPerRoute"
    | "headersPerList"
    | "headerNameLength"
    | "modifierBytes"
    | "fileBytes"
    | "endpointsPerList"
    | "weight"
    | "textLength",
    number
  >
> = {
  services: 500,
  routesPerService: 500,
  matchesPerRoute: 100,
  conditionsPerMatch: 16,
  backendRefsPerRoute: 100,
  headersPerList: 16,
  headerNameLength: 256,
  modifierBytes: 8_192,
  fileBytes: 4 * 1024 * 1024,
  endpointsPerList: 100_000,
  weight: 2 ** 31,
  textLength: 4_096,
};
