/** What retries, timeouts and protection against overload do. */
import { type DashboardSpec, OUT, quantile, rate, ROUTE, SERVICE } from "./parts.ts";

export const resilience: DashboardSpec = {
  uid: "inmesh-resilience",
  title: "inmesh / 5 Resilience",
  description:
    "Retries and their budget, timeouts, and what is refused so that the rest can be served.",
  byRoute: true,
  rows: [
    {
      title: "Retries",
      panels: [
        {
          id: 101,
          title: "Attempts per call",
          description: "1 is no retry at all. The budget keeps it below 1.2 over time.",
          unit: "none",
          limits: [1.15, 1.5],
          queries: [
            {
              expr: `${rate("inmesh_attempts_total", "inmesh_service", SERVICE, ROUTE)} / (${rate("inmesh_calls_total", "inmesh_service", OUT, SERVICE, ROUTE)} > 0)`,
              legend: "{{inmesh_service}}",
            },
          ],
        },
        {
          id: 102,
          title: "Retry decisions",
          description:
            "Each time a further attempt was possible: `sent`, or what stood against it.",
          unit: "ops",
          queries: [
            {
              expr: rate(
                "inmesh_retry_decisions_total",
                "inmesh_service, inmesh_decision",
                SERVICE,
                ROUTE,
              ),
              legend: "{{inmesh_service}} {{inmesh_decision}}",
            },
          ],
        },
        {
          id: 103,
          title: "Retry budget",
          description:
            "Retries that the budget would pay for now, in the process that has the fewest. Near zero a service fails more than its traffic can pay for, and retrying more would not help it.",
          unit: "none",
          limits: [5, 1],
          queries: [
            {
              expr: `min by (inmesh_service) (inmesh_retry_budget_balance{${SERVICE}})`,
              legend: "{{inmesh_service}}",
            },
          ],
        },
        {
          id: 104,
          title: "Attempts by kind",
          description:
            "`first` of a call, `retry` of one that may have been processed, `resend` of one that certainly was not.",
          unit: "ops",
          queries: [
            {
              expr: rate("inmesh_attempts_total", "inmesh_kind", SERVICE, ROUTE),
              legend: "{{inmesh_kind}}",
            },
          ],
        },
        {
          id: 105,
          title: "Duration of attempts by outcome, p99",
          description:
            "Failures that are slower than successes are timeouts; failures that are faster attract calls, which is what breakers are for.",
          unit: "s",
          limits: [0.5, 1],
          exemplars: true,
          queries: [
            {
              expr: quantile(0.99, "inmesh_attempt_duration_seconds", "inmesh_outcome", SERVICE),
              legend: "{{inmesh_outcome}}",
            },
          ],
        },
        {
          id: 106,
          title: "Timeouts by reason",
          description:
            "Which clock ran out: that of the call, of the attempt, or of the connection.",
          unit: "reqps",
          queries: [
            {
              expr: rate(
                "inmesh_attempts_total",
                "inmesh_service, inmesh_reason",
                SERVICE,
                ROUTE,
                `inmesh_outcome="timeout"`,
              ),
              legend: "{{inmesh_service}}: {{inmesh_reason}}",
            },
          ],
        },
      ],
    },
    {
      title: "Overload",
      panels: [
        {
          id: 201,
          title: "Refused before any work",
          description: "Calls and requests that this side refused, by reason.",
          unit: "reqps",
          limits: [0.1, 1],
          queries: [
            {
              expr: rate("inmesh_shed_total", "inmesh_service, inmesh_direction, inmesh_reason"),
              legend: "{{inmesh_service}} {{inmesh_direction}}: {{inmesh_reason}}",
            },
          ],
        },
        {
          id: 202,
          title: "Limit and calls in progress",
          description:
            "How many may be in progress at once, and how many are. At the limit calls are refused.",
          unit: "none",
          queries: [
            {
              expr: "sum by (inmesh_service, inmesh_direction) (inmesh_concurrency_limit)",
              legend: "{{inmesh_service}} {{inmesh_direction}} limit",
            },
            {
              expr: "sum by (inmesh_service, inmesh_direction) (inmesh_call_active)",
              legend: "{{inmesh_service}} {{inmesh_direction}}",
            },
          ],
        },
        {
          id: 203,
          title: "Level of overload",
          description:
            "Which requests the servers refuse for load, the highest of all processes: 0 none, 1 sheddable ones, 2 normal ones too, 3 critical ones too.",
          unit: "none",
          limits: [1, 2],
          queries: [
            {
              expr: "max by (inmesh_service, inmesh_monitor) (inmesh_overload_level)",
              legend: "{{inmesh_service}}: {{inmesh_monitor}}",
            },
          ],
        },
      ],
    },
  ],
};
