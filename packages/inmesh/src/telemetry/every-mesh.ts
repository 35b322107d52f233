/** The series of all meshes of a process as one producer. */
import {
  metricProducer,
  type MeshMetricProducer,
  type MeteredMesh,
  type ProducedMetrics,
} from "@inmesh/core/metrics";

/** Says which one it is, of the second mesh and those after it: two must not write one series. */
const MESH = "inmesh.mesh";

export class EveryMesh implements MeshMetricProducer {
  readonly #producers = new Map<
    MeteredMesh,
    { readonly producer: MeshMetricProducer; readonly number: number }
  >();
  #made = 0;

  add(mesh: MeteredMesh): void {
    this.#producers.set(mesh, { producer: metricProducer(mesh), number: ++this.#made });
  }

  /** Its series end with it. */
  remove(mesh: MeteredMesh): void {
    this.#producers.delete(mesh);
  }

  async collect(): Promise<ProducedMetrics> {
    const all: ProducedMetrics[] = [];
    for (const { producer, number } of this.#producers.values()) {
      const produced = await producer.collect();
      if (number > 1) nameMesh(produced, String(number));
      all.push(produced);
    }
    const [first] = all;
    if (first === undefined) return metricProducer(NO_MESH).collect();
    for (const other of all.slice(1)) {
      first.resourceMetrics.scopeMetrics.push(...other.resourceMetrics.scopeMetrics);
      first.errors.push(...other.errors);
    }
    return first;
  }
}

const NO_MESH: MeteredMesh = {
  metrics: () => [],
  runtime: { wallNow: () => 0 } as MeteredMesh["runtime"],
};

function nameMesh({ resourceMetrics }: ProducedMetrics, number: string): void {
  for (const { metrics } of resourceMetrics.scopeMetrics) {
    for (const { dataPoints } of metrics) {
      for (const { attributes } of dataPoints) attributes[MESH] = number;
    }
  }
}
