import { defineConfig } from "vitest/config";

/** `run` is instant: core and units. `wire` projects use real sockets and processes. */
const unit = (name: string) => ({
  extends: true as const,
  // Simulations of minutes take seconds on a machine that has other work.
  test: {
    name,
    root: `packages/${name}`,
    include: ["src/**/*.test.ts"],
    testTimeout: 30_000,
  },
});
const wire = (name: string) => ({
  extends: true as const,
  test: {
    name: `${name}-wire`,
    root: `packages/${name}`,
    include: ["test/**/*.test.ts"],
    testTimeout: 30_000,
  },
});

export default defineConfig({
  ssr: { resolve: { conditions: ["inmesh-source", "node", "import", "module", "default"] } },
  test: {
    coverage: { include: ["packages/*/src/**/*.ts"], exclude: ["**/*.test.ts"] },
    passWithNoTests: false,
    // Most tests wait for sockets and processes: one file at a time would leave two cores idle.
    maxWorkers: 2,
    projects: [
      unit("core"),
      unit("http"),
      wire("http"),
      unit("grpc"),
      wire("grpc"),
      wire("inmesh"),
      { extends: true as const, test: { name: "docs", root: "docs", testTimeout: 60_000 } },
    ],
  },
});
