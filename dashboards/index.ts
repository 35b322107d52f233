/** The eight dashboards, in the order in which one opens them. */
import type { Dashboard } from "@grafana/grafana-foundation-sdk/dashboard";
import { discovery } from "./discovery.ts";
import { endpoints } from "./endpoints.ts";
import { identity } from "./identity.ts";
import { overview } from "./overview.ts";
import { dashboard } from "./parts.ts";
import { resilience } from "./resilience.ts";
import { routes } from "./routes.ts";
import { runtime } from "./runtime.ts";
import { service } from "./service.ts";

export const DASHBOARDS: readonly Dashboard[] = [
  overview,
  service,
  routes,
  endpoints,
  resilience,
  identity,
  discovery,
  runtime,
].map(dashboard);
