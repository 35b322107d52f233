/** `@inmesh/core/metrics`: takes the series of a mesh out of the process. Loaded only by those who do. */
export { metricsPage, type MeteredMesh, type MetricsPage } from "./page.ts";
export { metricProducer, type MeshMetricProducer, type ProducedMetrics } from "./producer.ts";
