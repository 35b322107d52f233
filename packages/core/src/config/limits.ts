/** How large a configuration may be. The numbers stand in its schema and in docs/reference/config.md. */

export const LIMITS = {
  services: 500,
  routesPerService: 500,
  matchesPerRoute: 100,
  conditionsPerMatch: 16,
  backendRefsPerRoute: 100,
  headersPerList: 16,
  headerNameLength: 256,
  modifierBytes: 8_192,
  fileBytes: 4_194_304,
  endpointsPerList: 100_000,
  weight: 2_147_483_648,
  textLength: 4_096,
} as const;
