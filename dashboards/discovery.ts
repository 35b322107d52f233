/** Where endpoints and configuration come from, and how old they are. */
import { type DashboardSpec, grown, quantile, SERVICE } from "./parts.ts";

export const discovery: DashboardSpec = {
  uid: "inmesh-discovery",
  title: "inmesh / 7 Discovery and configuration",
  description:
    "What discovery and configuration sources said last, when, and whether it is in force.",
  rows: [
    {
      title: "Discovery",
      panels: [
        {
          id: 101,
          title: "Age of the last answer",
          description:
            "Of the source that was silent the longest. A source that watches may be silent for long; one that asks, such as DNS, may not.",
          unit: "s",
          queries: [
            {
              expr: "max by (inmesh_source) (time() - inmesh_discovery_last_update_timestamp_seconds)",
              legend: "{{inmesh_source}}",
            },
          ],
        },
        {
          id: 102,
          title: "Stale",
          description:
            "1 while the last good endpoints of a service are used because discovery cannot answer. Calls go on; new endpoints are not seen.",
          kind: "states",
          width: 8,
          unit: "none",
          limits: [1, 1],
          queries: [
            {
              expr: `max by (inmesh_service, inmesh_source) (inmesh_discovery_stale{${SERVICE}})`,
              legend: "{{inmesh_service}} {{inmesh_source}}",
            },
          ],
        },
        {
          id: 103,
          title: "Endpoints as last received",
          description:
            "In the process that knows the fewest. A process that differs from the others for long has a discovery of its own trouble.",
          unit: "none",
          queries: [
            {
              expr: `min by (inmesh_service, inmesh_source) (inmesh_discovery_endpoints{${SERVICE}})`,
              legend: "{{inmesh_service}} {{inmesh_source}}",
            },
          ],
        },
        {
          id: 104,
          title: "Errors",
          description: "Answers of discovery that were errors, in five minutes.",
          unit: "none",
          limits: [1, 10],
          queries: [
            {
              expr: grown(
                "inmesh_discovery_errors_total",
                "5m",
                "inmesh_service, inmesh_source",
                SERVICE,
              ),
              legend: "{{inmesh_service}} {{inmesh_source}}",
            },
          ],
        },
        {
          id: 105,
          title: "Endpoints ignored",
          description: "Because there were more than limits.maxEndpoints.",
          unit: "none",
          limits: [1, 1],
          queries: [
            {
              expr: `sum by (inmesh_service) (inmesh_discovery_excess_total{${SERVICE}})`,
              legend: "{{inmesh_service}}",
            },
          ],
        },
        {
          id: 106,
          title: "Time to take in an answer, p99",
          description: "From an answer of discovery to a list of endpoints in force.",
          unit: "s",
          limits: [0.05, 0.5],
          queries: [
            {
              expr: quantile(0.99, "inmesh_discovery_update_duration_seconds", "inmesh_source"),
              legend: "{{inmesh_source}}",
            },
          ],
        },
        {
          id: 107,
          title: "DNS look-ups by result",
          description: "In five minutes.",
          unit: "none",
          queries: [
            {
              expr: grown("inmesh_dns_lookups_total", "5m", "inmesh_result"),
              legend: "{{inmesh_result}}",
            },
          ],
        },
        {
          id: 108,
          title: "Watches begun again",
          description: "In five minutes, by what ended the watch before.",
          unit: "none",
          queries: [
            {
              expr: grown(
                "inmesh_discovery_watch_restarts_total",
                "5m",
                "inmesh_source, inmesh_trigger",
              ),
              legend: "{{inmesh_source}} {{inmesh_trigger}}",
            },
          ],
        },
        {
          id: 109,
          title: "Reports that came too late",
          description:
            "What a discovery said after its watch was stopped; it is ignored. More than a few is a mistake of that discovery.",
          unit: "none",
          queries: [
            {
              expr: `sum by (inmesh_service, inmesh_source) (inmesh_discovery_late_total{${SERVICE}})`,
              legend: "{{inmesh_service}} {{inmesh_source}}",
            },
          ],
        },
      ],
    },
    {
      title: "Configuration",
      panels: [
        {
          id: 201,
          title: "Generation in force",
          description: "Goes up by one with each change of a process.",
          unit: "none",
          queries: [
            { expr: "max by (instance) (inmesh_config_generation)", legend: "{{instance}}" },
          ],
        },
        {
          id: 202,
          title: "What sources said",
          description:
            "In five minutes: `applied`, `unchanged`, `refused`, `failed` or too `late`.",
          unit: "none",
          queries: [
            {
              expr: grown("inmesh_config_updates_total", "5m", "inmesh_source, inmesh_result"),
              legend: "{{inmesh_source}} {{inmesh_result}}",
            },
          ],
        },
        {
          id: 203,
          title: "Refused",
          description:
            "1 while what a source says is wrong and its last good layer is in force. `mesh.snapshot().config.mistakes` says what is wrong.",
          kind: "states",
          width: 8,
          unit: "none",
          limits: [1, 1],
          queries: [
            {
              expr: "max by (inmesh_source) (inmesh_config_refused)",
              legend: "{{inmesh_source}}",
            },
          ],
        },
        {
          id: 204,
          title: "Time since the last change",
          description: "Of each source, in the process that changed last.",
          unit: "s",
          queries: [
            {
              expr: "min by (inmesh_source) (time() - inmesh_config_last_applied_timestamp_seconds)",
              legend: "{{inmesh_source}}",
            },
          ],
        },
      ],
    },
  ],
};
