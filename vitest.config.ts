import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Files that take 15 seconds and more, most of them asleep: they begin first, so that none is the last. */
const SLOW = [
  "parity",
  "c-netns",
  "r-own-replies",
  "r-surplus",
  "demo",
  "hostile",
  "r-private",
  "r-private-grpc-js",
  "r-replies",
  "guides",
  "r-ends",
  "c-connect",
  "r-made-to-end",
  "workers",
  "rolling",
];

class SlowFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification): number => {
      const at = SLOW.findIndex((name) => moduleId.endsWith(`/${name}.test.ts`));
      return at < 0 ? SLOW.length : at;
    };
    return (await super.sort(files)).sort((a, b) => place(a) - place(b));
  }
}

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
    // Processes and sockets of a busy machine answer late; what never comes fails all the same.
    expect: { poll: { timeout: 10_000 } },
    // Most tests wait for sockets and processes: two files at a time leave half of two cores idle, and four let what
    // starts processes of its own wait for too long.
    maxWorkers: 3,
    sequence: { sequencer: SlowFirst },
    projects: [
      unit("core"),
      unit("http"),
      wire("http"),
      unit("grpc"),
      wire("grpc"),
      unit("discovery-k8s"),
      wire("discovery-k8s"),
      unit("proxy"),
      wire("proxy"),
      wire("inmesh"),
      { extends: true as const, test: { name: "docs", root: "docs", testTimeout: 60_000 } },
      {
        extends: true as const,
        test: { name: "dashboards", root: "dashboards", testTimeout: 120_000 },
      },
    ],
  },
});
