/** Which endpoints there are, which get the calls, and why. */
import { type DashboardSpec, grown, rate, SERVICE } from "./parts.ts";

const EACH = "inmesh_service, inmesh_endpoint";
const NAME = "{{inmesh_service}} {{inmesh_endpoint}}";
const gauge = (metric: string): string => `sum by (${EACH}) (${metric}{${SERVICE}})`;

export const endpoints: DashboardSpec = {
  uid: "inmesh-endpoints",
  title: "inmesh / 4 Endpoints and balancing",
  description:
    "Endpoints by state, what the picker knows of each, how calls are shared between them, and what breakers did.",
  rows: [
    {
      title: "Endpoints",
      panels: [
        {
          id: 101,
          title: "Endpoints by state",
          description:
            "As the processes see them, summed over all processes. `open` endpoints get no calls, `refusing` ones accept no connection, `half-open` ones get one call to try.",
          unit: "none",
          queries: [
            {
              expr: `sum by (inmesh_service, inmesh_state) (inmesh_endpoints{${SERVICE}})`,
              legend: "{{inmesh_service}} {{inmesh_state}}",
            },
          ],
        },
        {
          id: 102,
          title: "Breaker of each endpoint",
          description:
            "Which state the breaker of an endpoint is in: how many processes see it open or half open.",
          kind: "states",
          width: 16,
          unit: "none",
          limits: [1, 1],
          queries: [
            {
              expr: `sum by (${EACH}, inmesh_state) (inmesh_endpoint_state{${SERVICE}, inmesh_state=~"open|half-open"})`,
              legend: `${NAME} {{inmesh_state}}`,
            },
          ],
        },
        {
          id: 103,
          title: "Breaker transitions",
          description: "Changes of breakers in a minute, by the new state and what caused them.",
          width: 12,
          unit: "none",
          queries: [
            {
              expr: grown(
                "inmesh_breaker_transitions_total",
                "1m",
                "inmesh_service, inmesh_state, inmesh_trigger",
                SERVICE,
              ),
              legend: "{{inmesh_service}} {{inmesh_state}}: {{inmesh_trigger}}",
            },
          ],
        },
        {
          id: 104,
          title: "Verdicts not enforced",
          description:
            "Endpoints that would have been taken out, had not too many been out already (maxEjectedRatio).",
          width: 6,
          unit: "none",
          limits: [1, 1],
          queries: [
            {
              expr: grown("inmesh_breaker_suppressed_total", "1m", "inmesh_service", SERVICE),
              legend: "{{inmesh_service}}",
            },
          ],
        },
        {
          id: 105,
          title: "Panic",
          description:
            "1 while verdicts on failures are ignored because there are too many of them.",
          kind: "states",
          width: 6,
          unit: "none",
          limits: [1, 1],
          queries: [
            {
              expr: `max by (inmesh_service) (inmesh_balancer_panic{${SERVICE}})`,
              legend: "{{inmesh_service}}",
            },
          ],
        },
      ],
    },
    {
      title: "Balancing",
      panels: [
        {
          id: 201,
          title: "Share of each endpoint",
          description:
            "Of all picks of its service. Equal endpoints have equal shares; a slow one gets fewer.",
          unit: "percentunit",
          queries: [
            {
              expr: `${rate("inmesh_endpoint_picks_total", EACH, SERVICE)} / on (inmesh_service) group_left () (${rate("inmesh_endpoint_picks_total", "inmesh_service", SERVICE)} > 0)`,
              legend: NAME,
            },
          ],
        },
        {
          id: 202,
          title: "Share against a fair share",
          description:
            "1 is as many picks as every endpoint would get if all were equal; below 0.5 an endpoint is avoided.",
          unit: "none",
          queries: [
            {
              expr: `${rate("inmesh_endpoint_picks_total", EACH, SERVICE)} / on (inmesh_service) group_left () (avg by (inmesh_service) (${rate("inmesh_endpoint_picks_total", EACH, SERVICE)}) > 0)`,
              legend: NAME,
            },
          ],
        },
        {
          id: 203,
          title: "Picks by zone",
          description: "`remote` picks cross a zone, which costs time and often money.",
          unit: "ops",
          queries: [
            {
              expr: rate("inmesh_balancer_picks_total", "inmesh_service, inmesh_zone", SERVICE),
              legend: "{{inmesh_service}} {{inmesh_zone}}",
            },
          ],
        },
        {
          id: 204,
          title: "Latency of each endpoint",
          description:
            "What the picker believes: the recent latency, which rises at once and falls slowly. The highest of all processes.",
          unit: "s",
          queries: [
            {
              expr: `max by (${EACH}) (inmesh_endpoint_latency_seconds{${SERVICE}})`,
              legend: NAME,
            },
          ],
        },
        {
          id: 205,
          title: "Cost of each endpoint",
          description:
            "What the picker compares: latency and attempts in flight together. The highest of all processes.",
          unit: "none",
          queries: [
            {
              expr: `max by (${EACH}) (inmesh_endpoint_cost{${SERVICE}})`,
              legend: NAME,
            },
          ],
        },
        {
          id: 206,
          title: "In flight at each endpoint",
          description: "Attempts that have been sent and not ended, of all processes together.",
          unit: "none",
          queries: [{ expr: gauge("inmesh_endpoint_in_flight"), legend: NAME }],
        },
        {
          id: 207,
          title: "Endpoints added and removed",
          description: "In a minute. Many of both are endpoints that come and go.",
          unit: "none",
          queries: [
            {
              expr: grown(
                "inmesh_balancer_updates_total",
                "1m",
                "inmesh_service, inmesh_op",
                SERVICE,
              ),
              legend: "{{inmesh_service}} {{inmesh_op}}",
            },
          ],
        },
        {
          id: 208,
          title: "Bytes",
          description:
            "Sent to and received from the endpoints, and by whether they crossed a zone.",
          unit: "Bps",
          queries: [
            {
              expr: rate(
                "inmesh_io_bytes_total",
                "inmesh_service, inmesh_direction, inmesh_op, inmesh_zone",
                SERVICE,
              ),
              legend: "{{inmesh_service}} {{inmesh_direction}} {{inmesh_op}} {{inmesh_zone}}",
            },
          ],
        },
      ],
    },
  ],
};
