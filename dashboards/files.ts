/** Which files the package ships for Grafana and Prometheus, and what stands in each. */
import { DASHBOARDS } from "./index.ts";
import { LINKERD_NAMES } from "./linkerd-names.ts";
import { print } from "./parts.ts";
import { printRules, RULES } from "./rules.ts";

const GENERATED = "Written by dashboards/write.ts of inmesh.";

/** Text by path, from the root of the repository. */
export const FILES: ReadonlyMap<string, string> = new Map([
  ...DASHBOARDS.map((one) => [`packages/inmesh/grafana/${one.uid}.json`, print(one)] as const),
  [
    "packages/inmesh/prometheus/rules.yml",
    printRules(
      `Recording rules and alerts for an objective of 99.9 % over 30 days. ${GENERATED}`,
      RULES,
    ),
  ],
  [
    "packages/inmesh/prometheus/linkerd-names.yml",
    printRules(
      `The names of Linkerd's metrics, for queries and alerts that ask for them. ${GENERATED}`,
      LINKERD_NAMES,
    ),
  ],
]);
