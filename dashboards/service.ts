/** One service, from both sides: those that call it, and the processes that serve it. */
import {
  BAD,
  COUNTED,
  type DashboardSpec,
  type PanelSpec,
  IN,
  OUT,
  quantile,
  rate,
  ROUTE,
  SERVICE,
  share,
  success,
} from "./parts.ts";

const CALLS = "inmesh_calls_total";
const DURATION = "inmesh_call_duration_seconds";
const out = [OUT, SERVICE, ROUTE] as const;
const inbound = [IN, SERVICE] as const;

/** Quantiles of how long calls, or requests, with these labels took. */
const durations = (id: number, description: string, labels: readonly string[]): PanelSpec => ({
  id,
  title: "Duration",
  description,
  unit: "s",
  limits: [0.5, 1],
  exemplars: true,
  queries: [0.5, 0.95, 0.99].map((q) => ({
    expr: quantile(q, DURATION, "", ...labels),
    legend: `p${q * 100}`,
  })),
});

/** Which multiple of the error budget of 99.9 % is used up per time: 1 uses it up in 30 days. */
const burn = (range: string): string => {
  const of = (...more: string[]): string =>
    `sum by (inmesh_service) (rate(${CALLS}{${[OUT, SERVICE, ...more].join(", ")}}[${range}]))`;
  return `${share(of(BAD), of(COUNTED))} / 0.001`;
};

export const service: DashboardSpec = {
  uid: "inmesh-service",
  title: "inmesh / 2 Service",
  description:
    "Rate, errors and duration of one service: outbound as its callers see it, inbound as its own processes do.",
  byRoute: true,
  rows: [
    {
      title: "Outbound: as callers see it",
      panels: [
        {
          id: 101,
          title: "Calls per second",
          description: "Outbound calls that ended, by outcome.",
          unit: "reqps",
          queries: [
            {
              expr: rate(CALLS, "inmesh_service, inmesh_outcome", ...out),
              legend: "{{inmesh_service}} {{inmesh_outcome}}",
            },
          ],
        },
        {
          id: 102,
          title: "Errors by reason",
          description:
            "Calls that did not succeed. `none` with a status is an error that the service itself answered.",
          unit: "reqps",
          queries: [
            {
              expr: rate(CALLS, "inmesh_service, inmesh_reason, inmesh_status", ...out, BAD),
              legend: "{{inmesh_service}}: {{inmesh_reason}} {{inmesh_status}}",
            },
          ],
        },
        durations(
          103,
          "From the start of a call to the last byte of its reply, retries included. The points lead to traces.",
          out,
        ),
        {
          id: 104,
          title: "Duration, all calls",
          description:
            "How many calls took how long. Two bands are two populations: an endpoint, a route or a cache that differs from the others.",
          kind: "heat",
          width: 12,
          unit: "s",
          queries: [{ expr: rate(`${DURATION}_bucket`, "le", ...out), legend: "{{le}}" }],
        },
        {
          id: 105,
          title: "Burn rate of the error budget",
          description:
            "How many times faster than allowed the budget of 99.9 % is used up, over a short and a long time. Alerts fire where both stay above 14.4 (1 h and 5 min) or 6 (6 h and 30 min).",
          width: 12,
          unit: "none",
          limits: [6, 14.4],
          queries: ["5m", "30m", "1h", "6h"].map((range) => ({
            expr: burn(range),
            legend: `{{inmesh_service}} ${range}`,
          })),
        },
        {
          id: 106,
          title: "Routes",
          description: "One row for each route of the chosen services.",
          kind: "table",
          width: 16,
          unit: "none",
          queries: [
            {
              expr: success("inmesh_service, inmesh_route", ...out),
              legend: "Success",
              unit: "percentunit",
            },
            {
              expr: rate(CALLS, "inmesh_service, inmesh_route", ...out),
              legend: "Calls per second",
              unit: "reqps",
            },
            {
              expr: quantile(0.5, DURATION, "inmesh_service, inmesh_route", ...out),
              legend: "p50",
              unit: "s",
            },
            {
              expr: quantile(0.99, DURATION, "inmesh_service, inmesh_route", ...out),
              legend: "p99",
              unit: "s",
            },
          ],
        },
        {
          id: 107,
          title: "Calls in progress",
          description:
            "Outbound calls that have begun and not ended. A number that only rises is a service that does not answer.",
          unit: "none",
          queries: [
            {
              expr: `sum by (inmesh_service) (inmesh_call_active{${OUT}, ${SERVICE}})`,
              legend: "{{inmesh_service}}",
            },
          ],
        },
      ],
    },
    {
      title: "Waiting and deadlines",
      panels: [
        {
          id: 201,
          title: "Wait before sending",
          description:
            "Time until a call had an endpoint, a connection or a stream. It should be near zero.",
          unit: "s",
          limits: [0.01, 0.1],
          exemplars: true,
          queries: [
            {
              expr: quantile(0.99, "inmesh_queue_duration_seconds", "inmesh_service", SERVICE),
              legend: "{{inmesh_service}} p99",
            },
          ],
        },
        {
          id: 202,
          title: "Calls that wait",
          description: "Calls that have no endpoint, connection or stream yet.",
          unit: "none",
          queries: [
            {
              expr: `sum by (inmesh_service) (inmesh_queue_depth{${SERVICE}})`,
              legend: "{{inmesh_service}}",
            },
          ],
        },
        {
          id: 203,
          title: "Deadlines that had passed on arrival",
          description:
            "Requests whose caller had given up before this side began: work that was spared.",
          unit: "reqps",
          queries: [
            {
              expr: rate(
                "inmesh_deadline_expired_total",
                "inmesh_service, inmesh_direction",
                SERVICE,
              ),
              legend: "{{inmesh_service}} {{inmesh_direction}}",
            },
          ],
        },
      ],
    },
    {
      title: "Inbound: as its processes see it",
      panels: [
        {
          id: 301,
          title: "Requests per second",
          description:
            "Requests served by servers with a mesh, by outcome. `inmesh_service` is the name of the server.",
          unit: "reqps",
          queries: [
            {
              expr: rate(CALLS, "inmesh_service, inmesh_outcome", ...inbound),
              legend: "{{inmesh_service}} {{inmesh_outcome}}",
            },
          ],
        },
        {
          id: 302,
          title: "Refused and failed by reason",
          description: "Requests that were refused or ended badly, and why.",
          unit: "reqps",
          queries: [
            {
              expr: rate(CALLS, "inmesh_service, inmesh_reason, inmesh_status", ...inbound, BAD),
              legend: "{{inmesh_service}}: {{inmesh_reason}} {{inmesh_status}}",
            },
          ],
        },
        durations(
          303,
          "From the head of a request to the end of its reply. What callers see above it is network, waiting and retries.",
          inbound,
        ),
        {
          id: 304,
          title: "Requests in progress",
          description: "Requests whose reply has not ended.",
          unit: "none",
          queries: [
            {
              expr: `sum by (inmesh_service) (inmesh_call_active{${IN}, ${SERVICE}})`,
              legend: "{{inmesh_service}}",
            },
          ],
        },
      ],
    },
    {
      title: "Standard metrics of OpenTelemetry",
      panels: [
        {
          id: 401,
          title: "http.client.request.duration, p99",
          description:
            "By attempt, under the standard name, for comparison with clients that are not in the mesh.",
          width: 6,
          unit: "s",
          exemplars: true,
          queries: [
            {
              expr: quantile(
                0.99,
                "http_client_request_duration_seconds",
                "server_address",
                `server_address=~"$inmesh_service"`,
              ),
              legend: "{{server_address}}",
            },
          ],
        },
        {
          id: 402,
          title: "http.server.request.duration, p99",
          description: "Requests served over HTTP, under the standard name.",
          width: 6,
          unit: "s",
          exemplars: true,
          queries: [
            {
              expr: quantile(
                0.99,
                "http_server_request_duration_seconds",
                "http_request_method, http_response_status_code",
              ),
              legend: "{{http_request_method}} {{http_response_status_code}}",
            },
          ],
        },
        {
          id: 403,
          title: "rpc.client.call.duration, p99",
          description: "Calls of gRPC, under the standard name.",
          width: 6,
          unit: "s",
          exemplars: true,
          queries: [
            {
              expr: quantile(0.99, "rpc_client_call_duration_seconds", "rpc_method"),
              legend: "{{rpc_method}}",
            },
          ],
        },
        {
          id: 404,
          title: "rpc.server.call.duration, p99",
          description: "Calls of gRPC that were served, under the standard name.",
          width: 6,
          unit: "s",
          exemplars: true,
          queries: [
            {
              expr: quantile(0.99, "rpc_server_call_duration_seconds", "rpc_method"),
              legend: "{{rpc_method}}",
            },
          ],
        },
      ],
    },
  ],
};
