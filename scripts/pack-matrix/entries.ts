/** Every entry of every package, so that all their declarations are checked. */
import * as inmesh from "inmesh";
import * as inmeshCli from "inmesh/cli";
import * as inmeshInspect from "inmesh/inspect";
import * as inmeshMetrics from "inmesh/metrics";
import * as inmeshTelemetry from "inmesh/telemetry";
import * as inmeshTraces from "inmesh/traces";
import * as core from "@inmesh/core";
import * as spi from "@inmesh/core/spi";
import * as discovery from "@inmesh/core/spi/discovery";
import * as spiInspect from "@inmesh/core/spi/inspect";
import * as server from "@inmesh/core/spi/server";
import * as telemetry from "@inmesh/core/spi/telemetry";
import * as transport from "@inmesh/core/spi/transport";
import * as inspect from "@inmesh/core/inspect";
import * as metrics from "@inmesh/core/metrics";
import * as testing from "@inmesh/core/testing";
import * as traces from "@inmesh/core/traces";
import * as http from "@inmesh/http";
import * as httpSpi from "@inmesh/http/spi";
import * as httpCodec from "@inmesh/http/spi/codec";
import * as grpc from "@inmesh/grpc";
import * as discoveryK8s from "@inmesh/discovery-k8s";
import * as meshProxy from "mesh-proxy";

/** The classes of the process, at every place that takes them. Checked, and never called. */
export async function classes({ fetch }: http.MeshClient, mesh: inmesh.HttpMesh): Promise<void> {
  const headers = new Headers({ a: "b" });
  const body = new FormData();
  const query = new URLSearchParams({ page: "1" });
  const reply = await fetch("/", { method: "POST", headers, body, query });
  const response: Response = reply.toResponse();
  await mesh.fetch(new Request("http://orders/", { method: "POST", headers, body }));
  inmesh.meshClient("orders", { mesh, headers });
  await new Response(reply.webBody).text();
  console.log(response.status);
}

const entries = [inmesh, core, spi, discovery, server, telemetry, transport, testing];
const outside = [
  inmeshCli,
  inmeshInspect,
  inmeshMetrics,
  inmeshTelemetry,
  inmeshTraces,
  inspect,
  metrics,
  spiInspect,
  traces,
];
console.log(
  [...entries, ...outside, http, httpSpi, httpCodec, grpc, discoveryK8s, meshProxy].map(
    (entry) => Object.keys(entry).length > 0,
  ),
);
