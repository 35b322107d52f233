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
  readonly #closed = new Set<MeteredMesh>();
  #made = 0;

  add(mesh: MeteredMesh): void {
    this.#producers.set(mesh, { producer: metricProducer(mesh), number: ++this.#made });
  }

  /** It is closed. Its series end with the next collection, which has what it counted last. */
  remove(mesh: MeteredMesh): void {
    this.#closed.add(mesh);
  }

  async collect(): Promise<ProducedMetrics> {
    const all: ProducedMetrics[] = [];
    for (const [mesh, { producer, number }] of this.#producers) {
      const isClosed = this.#closed.delete(mesh);
      const produced = await producer.collect();
      if (isClosed) this.#producers.delete(mesh);
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
