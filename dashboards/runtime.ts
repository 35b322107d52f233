/** The process around the mesh, its connections, and what the mesh costs. */
import { type DashboardSpec, grown, quantile, rate, SERVICE } from "./parts.ts";

export const runtime: DashboardSpec = {
  uid: "inmesh-runtime",
  title: "inmesh / 8 Runtime and connections",
  description:
    "Event loop and memory, connections, refusals of the protocols, and the mesh's own cost and bounds.",
  rows: [
    {
      title: "Process",
      panels: [
        {
          id: 101,
          title: "Event loop delay",
          description:
            "How late timers and I/O were, over ten seconds. Every call of the process waits that long.",
          unit: "s",
          limits: [0.05, 0.1],
          queries: [
            {
              expr: "max by (instance, inmesh_quantile) (inmesh_runtime_loop_delay_seconds)",
              legend: "{{instance}} {{inmesh_quantile}}",
            },
          ],
        },
        {
          id: 102,
          title: "Event loop utilisation",
          description:
            "Share of the time in which the loop was busy. Above 0.9 calls queue behind each other.",
          unit: "percentunit",
          limits: [0.8, 0.95],
          queries: [
            {
              expr: "max by (instance) (inmesh_runtime_loop_utilization_ratio)",
              legend: "{{instance}}",
            },
          ],
        },
        {
          id: 103,
          title: "Heap",
          description: "Used share of what V8 may use.",
          unit: "percentunit",
          limits: [0.8, 0.95],
          queries: [
            {
              expr: "max by (instance) (inmesh_runtime_heap_utilization_ratio)",
              legend: "{{instance}}",
            },
          ],
        },
      ],
    },
    {
      title: "Connections",
      panels: [
        {
          id: 201,
          title: "Open connections",
          description: "Now, by direction and protocol.",
          unit: "none",
          queries: [
            {
              expr: "sum by (inmesh_direction, inmesh_protocol) (inmesh_connections)",
              legend: "{{inmesh_direction}} {{inmesh_protocol}}",
            },
          ],
        },
        {
          id: 202,
          title: "Opened, by result",
          description: "`none` is a connection that came about; anything else is why it did not.",
          unit: "ops",
          queries: [
            {
              expr: rate(
                "inmesh_connection_opened_total",
                "inmesh_direction, inmesh_service, inmesh_reason",
                SERVICE,
              ),
              legend: "{{inmesh_direction}} {{inmesh_service}} {{inmesh_reason}}",
            },
          ],
        },
        {
          id: 203,
          title: "Closed, by trigger",
          description:
            "Many by `error` or `glitch` deserve a look, `idle` and `age` are housekeeping.",
          unit: "ops",
          queries: [
            {
              expr: rate("inmesh_connection_closed_total", "inmesh_direction, inmesh_trigger"),
              legend: "{{inmesh_direction}} {{inmesh_trigger}}",
            },
          ],
        },
        {
          id: 204,
          title: "Attempts on a connection that was there",
          description:
            "Share of attempts that needed no new connection. Low, each call pays for a handshake.",
          unit: "percentunit",
          limits: [0.9, 0.5],
          queries: [
            {
              expr: `(${rate("inmesh_connection_reuse_total", "inmesh_service", SERVICE, `inmesh_result="reused"`)} or 0 * ${rate("inmesh_connection_reuse_total", "inmesh_service", SERVICE)}) / (${rate("inmesh_connection_reuse_total", "inmesh_service", SERVICE)} > 0)`,
              legend: "{{inmesh_service}}",
            },
          ],
        },
        {
          id: 205,
          title: "Time to connect, p99",
          description: "By phase. `tcp` is a round trip; `tls` adds one and the CPU of both sides.",
          unit: "s",
          limits: [0.1, 1],
          queries: [
            {
              expr: quantile(
                0.99,
                "inmesh_connect_duration_seconds",
                "inmesh_service, inmesh_phase",
                SERVICE,
              ),
              legend: "{{inmesh_service}} {{inmesh_phase}}",
            },
          ],
        },
      ],
    },
    {
      title: "Protocols",
      panels: [
        {
          id: 301,
          title: "Requests refused by the protocol",
          description:
            "Requests that were malformed, too large or too slow, by reason. A sudden rise is a broken client or an attack.",
          unit: "none",
          queries: [
            {
              expr: grown("inmesh_requests_rejected_total", "1m", "inmesh_reason"),
              legend: "{{inmesh_reason}}",
            },
          ],
        },
        {
          id: 302,
          title: "Glitches",
          description: "What was tolerated of a peer although it is not right, in a minute.",
          unit: "none",
          queries: [
            {
              expr: grown("inmesh_glitches_total", "1m", "inmesh_direction, inmesh_kind"),
              legend: "{{inmesh_direction}} {{inmesh_kind}}",
            },
          ],
        },
        {
          id: 303,
          title: "Streams reset",
          description: "Of HTTP/2 and gRPC, by who reset them, in a minute.",
          unit: "none",
          queries: [
            {
              expr: grown("inmesh_streams_reset_total", "1m", "inmesh_direction, inmesh_trigger"),
              legend: "{{inmesh_direction}} {{inmesh_trigger}}",
            },
          ],
        },
      ],
    },
    {
      title: "The mesh itself",
      panels: [
        {
          id: 401,
          title: "Time of the mesh for each call",
          description: "Its own synchronous work, measured at one call of 64.",
          unit: "s",
          limits: [0.0005, 0.001],
          queries: [0.5, 0.99].map((q) => ({
            expr: quantile(q, "inmesh_overhead_duration_seconds", "inmesh_direction"),
            legend: `{{inmesh_direction}} p${q * 100}`,
          })),
        },
        {
          id: 402,
          title: "Series",
          description: "How many series a process exports. The bound is 2,000 for each metric.",
          unit: "none",
          limits: [20_000, 40_000],
          queries: [{ expr: "max by (instance) (inmesh_metrics_series)", legend: "{{instance}}" }],
        },
        {
          id: 403,
          title: "Records counted under `other`",
          description:
            "Because there were too many series of a metric, in an hour. Something has too many names, such as routes or services.",
          unit: "none",
          limits: [1, 1],
          queries: [
            {
              expr: grown("inmesh_metrics_overflow_total", "1h", "instance, inmesh_limit"),
              legend: "{{instance}} {{inmesh_limit}}",
            },
          ],
        },
        {
          id: 404,
          title: "Fullest structures",
          description: "Queues, caches and tables of the mesh against their bounds.",
          unit: "percentunit",
          limits: [0.8, 1],
          queries: [
            {
              expr: "topk(10, max by (inmesh_structure) (inmesh_bounded_size / inmesh_bounded_limit))",
              legend: "{{inmesh_structure}}",
            },
          ],
        },
        {
          id: 405,
          title: "Handles",
          description: "Sockets, timers and servers that the mesh owns.",
          unit: "none",
          queries: [
            {
              expr: "sum by (instance, inmesh_kind) (inmesh_handles)",
              legend: "{{instance}} {{inmesh_kind}}",
            },
          ],
        },
        {
          id: 406,
          title: "Errors of the application's hooks",
          description:
            "Times a hook of an observer, or an exporter, has thrown or not ended. The log has the first error of each.",
          unit: "none",
          limits: [1, 1],
          queries: [
            {
              expr: grown("inmesh_hook_errors_total", "5m", "inmesh_hook"),
              legend: "{{inmesh_hook}}",
            },
          ],
        },
        {
          id: 408,
          title: "Taps",
          description:
            "Taps that are open, and what became of the events for them. `dropped` is a reader that is too slow; calls do not wait for it.",
          unit: "none",
          queries: [
            { expr: "sum(inmesh_tap_subscribers)", legend: "open" },
            {
              expr: grown("inmesh_tap_events_total", "1m", "inmesh_result"),
              legend: "events {{inmesh_result}}",
            },
          ],
        },
        {
          id: 409,
          title: "Access log",
          description: "Lines in a minute. `dropped` says that its stream takes too few of them.",
          unit: "none",
          queries: [
            {
              expr: grown("inmesh_access_log_lines_total", "1m", "inmesh_result"),
              legend: "{{inmesh_result}}",
            },
          ],
        },
        {
          id: 407,
          title: "Lines of the log that were left out",
          description: "Because the same reason had just been logged, in five minutes.",
          unit: "none",
          queries: [
            {
              expr: grown("inmesh_log_suppressed_total", "5m", "inmesh_reason"),
              legend: "{{inmesh_reason}}",
            },
          ],
        },
        {
          id: 410,
          title: "Errors of inmesh's own",
          description:
            "Each has ended one connection of a mesh-proxy, and stands in its log. Please report it.",
          unit: "none",
          queries: [
            { expr: grown("inmesh_defects_total", "5m", "instance"), legend: "{{instance}}" },
          ],
        },
        {
          id: 411,
          title: "Workers of proxies",
          description:
            "Of mesh-proxy --workers, by what they do, and how many ended unasked in five minutes.",
          unit: "none",
          queries: [
            {
              expr: "sum by (instance, inmesh_state) (inmesh_workers)",
              legend: "{{instance}} {{inmesh_state}}",
            },
            {
              expr: grown("inmesh_workers_ended_total", "5m", "instance"),
              legend: "{{instance}} ended unasked",
            },
          ],
        },
      ],
    },
  ],
};
