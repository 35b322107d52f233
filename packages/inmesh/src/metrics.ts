/** `inmesh/metrics`: takes the series of a mesh out of the process. Loaded only by those who do. */
export {
  metricProducer,
  metricsPage,
  type MeshMetricProducer,
  type MeteredMesh,
  type MetricsPage,
  type ProducedMetrics,
} from "@inmesh/core/metrics";
