/** Is anything wrong, and where? The first page to open. */
import {
  BAD,
  COUNTED,
  type DashboardSpec,
  OUT,
  quantile,
  rate,
  SERVICE,
  share,
  success,
} from "./parts.ts";

const CALLS = "inmesh_calls_total";
const DURATION = "inmesh_call_duration_seconds";
const of = [OUT, SERVICE] as const;

const inRange = (...more: string[]): string =>
  `sum(increase(${CALLS}{${[...of, ...more].join(", ")}}[$__range]))`;

export const overview: DashboardSpec = {
  uid: "inmesh-overview",
  title: "inmesh / 1 Mesh overview",
  description:
    "Whether calls between services succeed, how fast they are, and which state of the mesh explains it when they are not.",
  rows: [
    {
      title: "Now",
      panels: [
        {
          id: 101,
          title: "Success",
          description:
            "Share of outbound calls that succeeded, as the application saw them, after retries. Calls that the caller itself gave up are left out.",
          kind: "number",
          unit: "percentunit",
          limits: [0.999, 0.99],
          queries: [{ expr: success("", ...of), legend: "success" }],
        },
        {
          id: 102,
          title: "Calls per second",
          description: "Outbound calls that ended, of all chosen services together.",
          kind: "number",
          unit: "reqps",
          queries: [{ expr: rate(CALLS, "", ...of), legend: "calls" }],
        },
        {
          id: 103,
          title: "p99",
          description:
            "99 of 100 calls were faster, from the start of the call to the last byte of its reply, retries included.",
          kind: "number",
          unit: "s",
          limits: [0.5, 1],
          queries: [{ expr: quantile(0.99, DURATION, "", ...of), legend: "p99" }],
        },
        {
          id: 104,
          title: "Error budget left",
          description:
            "Of an objective of 99.9 % over the time shown: 100 % is untouched, 0 % is used up, below that the objective is missed. Choose 30 days to see that of the alerts.",
          kind: "number",
          unit: "percentunit",
          limits: [0.5, 0],
          queries: [
            {
              expr: `1 - ${share(inRange(BAD), inRange(COUNTED))} / 0.001`,
              legend: "budget",
            },
          ],
        },
        {
          id: 105,
          title: "Attempts per call",
          description:
            "The load that retries add: 1 is none, 1.1 is one retry in ten calls. A number that stays above 1.15 says that a service fails more than it should.",
          kind: "number",
          unit: "none",
          limits: [1.15, 1.5],
          queries: [
            {
              expr: `${rate("inmesh_attempts_total", "", SERVICE)} / (${rate(CALLS, "", ...of)} > 0)`,
              legend: "attempts",
            },
          ],
        },
        {
          id: 106,
          title: "Processes",
          description: "Processes with a mesh that Prometheus can read.",
          kind: "number",
          unit: "none",
          queries: [{ expr: "count(inmesh_build_info)", legend: "processes" }],
        },
      ],
    },
    {
      title: "Services",
      panels: [
        {
          id: 201,
          title: "Services",
          description:
            "One row for each service that is called. Open the dashboard Service for more of one.",
          kind: "table",
          width: 24,
          unit: "none",
          queries: [
            { expr: success("inmesh_service", ...of), legend: "Success", unit: "percentunit" },
            {
              expr: rate(CALLS, "inmesh_service", ...of),
              legend: "Calls per second",
              unit: "reqps",
            },
            { expr: quantile(0.5, DURATION, "inmesh_service", ...of), legend: "p50", unit: "s" },
            { expr: quantile(0.95, DURATION, "inmesh_service", ...of), legend: "p95", unit: "s" },
            { expr: quantile(0.99, DURATION, "inmesh_service", ...of), legend: "p99", unit: "s" },
          ],
        },
        {
          id: 202,
          title: "Success by service",
          description: "Share of outbound calls that succeeded after retries.",
          unit: "percentunit",
          limits: [0.999, 0.99],
          queries: [{ expr: success("inmesh_service", ...of), legend: "{{inmesh_service}}" }],
        },
        {
          id: 203,
          title: "p99 by service",
          description:
            "99 of 100 calls were faster. The points are sampled calls and lead to their traces.",
          unit: "s",
          limits: [0.5, 1],
          exemplars: true,
          queries: [
            {
              expr: quantile(0.99, DURATION, "inmesh_service", ...of),
              legend: "{{inmesh_service}}",
            },
          ],
        },
        {
          id: 204,
          title: "What fails most",
          description:
            "The ten most frequent reasons of failed calls. What each reason means and what to do stands in the reference of errors.",
          unit: "reqps",
          queries: [
            {
              expr: `topk(10, ${rate(CALLS, "inmesh_service, inmesh_reason, inmesh_status", ...of, BAD)})`,
              legend: "{{inmesh_service}}: {{inmesh_reason}} {{inmesh_status}}",
            },
          ],
        },
      ],
    },
    {
      title: "State of the mesh",
      panels: [
        {
          id: 301,
          title: "Panic",
          description:
            "1 while so many endpoints of a service were judged bad that the verdicts are ignored and all are used.",
          kind: "states",
          width: 8,
          unit: "none",
          limits: [1, 1],
          queries: [
            {
              expr: `max by (inmesh_service) (inmesh_balancer_panic{${SERVICE}})`,
              legend: "{{inmesh_service}}",
            },
          ],
        },
        {
          id: 302,
          title: "Stale discovery",
          description: "1 while the last good endpoints are used because discovery cannot answer.",
          kind: "states",
          width: 8,
          unit: "none",
          limits: [1, 1],
          queries: [
            {
              expr: `max by (inmesh_service) (inmesh_discovery_stale{${SERVICE}})`,
              legend: "{{inmesh_service}}",
            },
          ],
        },
        {
          id: 303,
          title: "Refused before any work",
          description:
            "Calls and requests refused by this side because it had too much to do. Above zero, something needs more capacity or sends too much.",
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
          id: 304,
          title: "Certificates: time left",
          description:
            "Until the certificate that expires first does, for each kind. They should be renewed long before.",
          unit: "s",
          limits: [7 * 86_400, 86_400],
          queries: [
            {
              expr: "min by (inmesh_kind) (inmesh_cert_expiry_timestamp_seconds) - time()",
              legend: "{{inmesh_kind}}",
            },
          ],
        },
        {
          id: 305,
          title: "Versions",
          description:
            "Processes by version of inmesh and of Node. More than two at once, for a day, is a rollout that stands still.",
          kind: "table",
          width: 8,
          unit: "none",
          queries: [
            {
              expr: "count by (inmesh_version, inmesh_node) (inmesh_build_info)",
              legend: "Processes",
            },
          ],
        },
        {
          id: 306,
          title: "Processes on an unsafe Node",
          description:
            "How many run a version of Node that has known weaknesses or is at its end. It should be none.",
          kind: "number",
          width: 8,
          unit: "none",
          limits: [1, 1],
          queries: [{ expr: "sum(1 - inmesh_runtime_supported)", legend: "processes" }],
        },
      ],
    },
  ],
};
