/** Routes: what the application saw beside what the endpoints saw. */
import {
  BAD,
  COUNTED,
  type DashboardSpec,
  OUT,
  quantile,
  rate,
  ROUTE,
  SERVICE,
  share,
  success,
} from "./parts.ts";

const CALLS = "inmesh_calls_total";
const ATTEMPTS = "inmesh_attempts_total";
const BY = "inmesh_service, inmesh_route";
const NAME = "{{inmesh_service}} {{inmesh_route}}";
const calls = [OUT, SERVICE, ROUTE] as const;
const attempts = [SERVICE, ROUTE] as const;

export const routes: DashboardSpec = {
  uid: "inmesh-routes",
  title: "inmesh / 3 Routes",
  description:
    "Effective is what the application saw, actual is what the endpoints saw: between them stand the retries of a route.",
  byRoute: true,
  rows: [
    {
      title: "Effective and actual",
      panels: [
        {
          id: 101,
          title: "Effective success",
          description: "Share of calls that succeeded, after retries.",
          width: 12,
          unit: "percentunit",
          limits: [0.999, 0.99],
          queries: [{ expr: success(BY, ...calls), legend: NAME }],
        },
        {
          id: 102,
          title: "Actual success",
          description:
            "Share of attempts that succeeded. Far below the effective one, retries hide a problem of the endpoints.",
          width: 12,
          unit: "percentunit",
          limits: [0.99, 0.95],
          queries: [
            {
              expr: `1 - ${share(rate(ATTEMPTS, BY, ...attempts, BAD), rate(ATTEMPTS, BY, ...attempts, COUNTED))}`,
              legend: NAME,
            },
          ],
        },
        {
          id: 103,
          title: "Effective rate",
          description: "Calls per second.",
          unit: "reqps",
          queries: [{ expr: rate(CALLS, BY, ...calls), legend: NAME }],
        },
        {
          id: 104,
          title: "Actual rate",
          description:
            "Attempts per second, by kind: the first of a call, a retry, or a request sent again because it had never left.",
          unit: "reqps",
          queries: [
            {
              expr: rate(ATTEMPTS, `${BY}, inmesh_kind`, ...attempts),
              legend: `${NAME} {{inmesh_kind}}`,
            },
          ],
        },
        {
          id: 105,
          title: "Share of the route in its service",
          description:
            "Of all calls of a service. Compare it with the weights of the configuration.",
          unit: "percentunit",
          queries: [
            {
              expr: `${rate(CALLS, BY, ...calls)} / on (inmesh_service) group_left () (${rate(CALLS, "inmesh_service", OUT, SERVICE)} > 0)`,
              legend: NAME,
            },
          ],
        },
      ],
    },
    {
      title: "Replies",
      panels: [
        {
          id: 201,
          title: "Duration, p50",
          description: "Half of the calls were faster.",
          unit: "s",
          exemplars: true,
          queries: [
            { expr: quantile(0.5, "inmesh_call_duration_seconds", BY, ...calls), legend: NAME },
          ],
        },
        {
          id: 202,
          title: "Duration, p99",
          description: "99 of 100 calls were faster. The points lead to traces.",
          unit: "s",
          limits: [0.5, 1],
          exemplars: true,
          queries: [
            { expr: quantile(0.99, "inmesh_call_duration_seconds", BY, ...calls), legend: NAME },
          ],
        },
        {
          id: 203,
          title: "Status",
          description:
            "Class of the replies, for gRPC the name of the status; `none` where no reply came.",
          unit: "reqps",
          queries: [
            {
              expr: rate(CALLS, "inmesh_route, inmesh_status", ...calls),
              legend: "{{inmesh_route}} {{inmesh_status}}",
            },
          ],
        },
      ],
    },
  ],
};
