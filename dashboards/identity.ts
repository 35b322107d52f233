/** Certificates and TLS: how long they last, and what handshakes say. */
import { type DashboardSpec, grown, quantile, rate, SERVICE } from "./parts.ts";

export const identity: DashboardSpec = {
  uid: "inmesh-identity",
  title: "inmesh / 6 Identity",
  description: "Certificates, their renewal, and the handshakes that use them.",
  rows: [
    {
      title: "Certificates",
      panels: [
        {
          id: 101,
          title: "Time left",
          description: "Until the first certificate expires, of each process and kind.",
          unit: "s",
          limits: [7 * 86_400, 86_400],
          queries: [
            {
              expr: "min by (instance, inmesh_kind) (inmesh_cert_expiry_timestamp_seconds) - time()",
              legend: "{{instance}} {{inmesh_kind}}",
            },
          ],
        },
        {
          id: 102,
          title: "Share of life left",
          description:
            "Of the certificate of each process. Renewal is due at a third; below a quarter something is in its way.",
          unit: "percentunit",
          limits: [0.25, 0.1],
          queries: [
            {
              expr: `min by (instance, inmesh_service) ((inmesh_cert_expiry_timestamp_seconds{inmesh_kind="leaf"} - time()) / (inmesh_cert_expiry_timestamp_seconds{inmesh_kind="leaf"} - inmesh_cert_issued_timestamp_seconds{inmesh_kind="leaf"}))`,
              legend: "{{instance}} {{inmesh_service}}",
            },
          ],
        },
        {
          id: 103,
          title: "What identity sources said",
          description:
            "In five minutes: `applied`, `unchanged`, `refused` because a certificate is wrong, or `failed`.",
          unit: "none",
          queries: [
            {
              expr: grown("inmesh_identity_updates_total", "5m", "inmesh_identity, inmesh_result"),
              legend: "{{inmesh_identity}} {{inmesh_result}}",
            },
          ],
        },
        {
          id: 104,
          title: "Certificates not in use",
          description:
            "1 while what an identity source said last is not used, because it is missing or wrong. The log says why.",
          kind: "states",
          unit: "none",
          limits: [1, 1],
          queries: [
            {
              expr: "max by (inmesh_identity) (inmesh_identity_problem)",
              legend: "{{inmesh_identity}}",
            },
          ],
        },
        {
          id: 105,
          title: "Services that cannot use new certificates",
          description:
            "1 while connections to a service use older certificates because the new ones are missing or do not fit.",
          kind: "states",
          unit: "none",
          limits: [1, 1],
          queries: [
            {
              expr: `max by (inmesh_service) (inmesh_transport_problem{${SERVICE}})`,
              legend: "{{inmesh_service}}",
            },
          ],
        },
      ],
    },
    {
      title: "Trust",
      panels: [
        {
          id: 301,
          title: "Bundles of authorities",
          description:
            "How many identities use which bundle, named by the first half of its hash. Two at once is a rollout; for long it is one that stands still.",
          unit: "none",
          width: 12,
          queries: [
            { expr: "count by (inmesh_hash) (inmesh_bundle_info)", legend: "{{inmesh_hash}}" },
          ],
        },
        {
          id: 302,
          title: "Connections with mutual TLS",
          description: "Share of the open connections on which both ends have shown a certificate.",
          unit: "percentunit",
          width: 12,
          queries: [
            {
              expr: `(sum by (inmesh_direction) (inmesh_connections{inmesh_mtls="true"}) or 0 * sum by (inmesh_direction) (inmesh_connections)) / (sum by (inmesh_direction) (inmesh_connections) > 0)`,
              legend: "{{inmesh_direction}}",
            },
          ],
        },
      ],
    },
    {
      title: "Handshakes",
      panels: [
        {
          id: 201,
          title: "Handshakes by result",
          description: "`ok`, or why a handshake failed.",
          unit: "ops",
          queries: [
            {
              expr: rate("inmesh_tls_handshakes_total", "inmesh_direction, inmesh_result"),
              legend: "{{inmesh_direction}} {{inmesh_result}}",
            },
          ],
        },
        {
          id: 202,
          title: "Duration of handshakes, p99",
          description:
            "A handshake costs a round trip and CPU; much more than that is a peer that is busy.",
          unit: "s",
          limits: [0.25, 1],
          queries: [
            {
              expr: quantile(0.99, "inmesh_tls_handshake_duration_seconds", "inmesh_direction"),
              legend: "{{inmesh_direction}}",
            },
          ],
        },
        {
          id: 203,
          title: "Connections closed because of identity",
          description: "Connections that grew old early because certificates changed.",
          unit: "ops",
          queries: [
            {
              expr: rate("inmesh_connection_closed_total", "inmesh_direction, inmesh_trigger"),
              legend: "{{inmesh_direction}} {{inmesh_trigger}}",
            },
          ],
        },
      ],
    },
  ],
};
