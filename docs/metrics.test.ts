/** The page about metrics and the instruments of the code say the same. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import {
  type EndpointSink,
  INSTRUMENTS,
  type Instrument,
  type Labels,
  staticDiscovery,
  type Telemetry,
} from "@inmesh/core/spi";
import { accessLog, type IdentitySink, type IdentityWatch } from "@inmesh/core";
import { createMesh, meshClient } from "@inmesh/http";
import { expect, onTestFinished, test } from "vitest";

interface Row {
  readonly name: string;
  readonly unit: string;
  readonly labels: readonly string[];
  readonly meaning: string;
}

const page: string = readFileSync(new URL("reference/metrics.md", import.meta.url), "utf8");
const rows: Row[] = [...page.matchAll(/^\| `(inmesh\.[^`]+)` \|([^\n]+)\|$/gm)].map(
  ([, name = "", rest = ""]) => {
    const cells = rest.split("|").map((cell) => cell.trim());
    return {
      name,
      unit: (cells[1] ?? "").replaceAll("`", ""),
      labels: (cells[2] ?? "")
        .split(",")
        .map((label) => label.trim())
        .filter(Boolean),
      meaning: cells.at(-1) ?? "",
    };
  },
);

test("every instrument is documented, in its unit and its own words, and nothing else is", () => {
  const byName = (a: { name: string }, b: { name: string }): number => (a.name < b.name ? -1 : 1);
  const written = INSTRUMENTS.map(({ name, unit, description }) => ({
    name,
    unit,
    meaning: description,
  }));
  expect(rows.map(({ name, unit, meaning }) => ({ name, unit, meaning })).toSorted(byName)).toEqual(
    written.toSorted(byName),
  );
});

test("every instrument has the labels that the page says, as a mesh writes them", async () => {
  const seen = new Map<string, string[]>();
  const note = ({ name }: Instrument, labels: Labels): void => {
    seen.set(name, Object.keys(labels).toSorted());
  };
  const telemetry: Telemetry = {
    counter: (instrument, labels) => (note(instrument, labels), { add() {} }),
    histogram: (instrument, labels) => (note(instrument, labels), { record() {} }),
    gauge: (instrument, labels) => (note(instrument, labels), () => {}),
  };
  const folder = mkdtempSync(join(tmpdir(), "inmesh-metrics-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const configFile = join(folder, "mesh.yaml");
  writeFileSync(configFile, "services: { orders: { url: 'http://orders.test' } }");
  // Nothing listens there: attempts fail, a breaker opens, and a retry is decided on.
  const closedPorts = staticDiscovery([1, 2].map((port) => ({ host: "127.0.0.1", port })));
  const sinks: EndpointSink[] = [];
  const discovery = (): typeof closedPorts => ({
    source: "test",
    watch: (sink) => (sinks.push(sink), closedPorts.watch(sink)),
  });
  const identities = [
    {
      name: "silent",
      watch(sink: IdentitySink): IdentityWatch {
        sink.failed(new Error("has no certificate yet"));
        return { stop() {} };
      },
    },
  ];
  const exporters = [accessLog({ stream: new Writable() })];
  const mesh = createMesh({ env: {}, configFile, telemetry, discovery, identities, exporters });
  mesh.tap();
  onTestFinished(() => mesh.close(0));
  mesh.observe({
    callStarted() {
      throw new Error("a hook that throws");
    },
  });
  await expect(meshClient("orders", { mesh }).fetch("/")).rejects.toThrow("orders");
  mesh.update({});
  await mesh.close(0);
  for (const sink of sinks) sink.failed(new Error("after its watch was stopped"));
  // Those about the recorder, which there is only without a telemetry of one's own.
  const plain = createMesh({ env: {} });
  onTestFinished(() => plain.close(0));
  for (const { name, labels } of plain.metrics()) seen.set(name, Object.keys(labels).toSorted());
  const said = rows.map(({ name, labels }) => [name, labels.toSorted()] as const);
  expect(Object.fromEntries(seen)).toEqual(Object.fromEntries(said));
});
