/**
 * All that packages around inmesh are written against, in one entry. Each part is an entry of its own:
 * `spi/transport`, `spi/discovery`, `spi/server` and `spi/telemetry`. Not covered by semver before 1.0.
 */
export * from "./spi/transport.ts";
export * from "./spi/discovery.ts";
export * from "./spi/server.ts";
export * from "./spi/telemetry.ts";
