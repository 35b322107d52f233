/** The files that docs/guides/grafana.md prints are in order, and fit each other and the package. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { FILES } from "./files.ts";

// The parser of configuration files, which belongs to core.
const fromCore = createRequire(new URL("../packages/core/package.json", import.meta.url));
const { parse } = fromCore("yaml") as { parse(text: string): unknown };

const root: string = join(import.meta.dirname, "..");
const guide: string = readFileSync(join(root, "docs/guides/grafana.md"), "utf8");

/** Texts by file name, which is in the first line of each block. */
const blocks = new Map(
  [...guide.matchAll(/^```yml\n# (\S+)\n([^]*?)^```$/gm)].map(([, name = "", text = ""]) => [
    name,
    text,
  ]),
);
const read = <T>(name: string): T => parse(blocks.get(name) ?? "") as T;

interface Compose {
  readonly services: Readonly<
    Record<
      string,
      {
        image: string;
        volumes?: string[];
        ports?: string[];
        depends_on?: string[];
        command?: string[];
      }
    >
  >;
}
const { services } = read<Compose>("compose.yaml");

/** `from:to` of every file and folder that a service is given. */
const mounts = Object.entries(services).flatMap(([service, { volumes = [] }]) =>
  volumes.map((volume) => {
    const [from = "", to = "", mode] = volume.split(":");
    return { service, from, to, mode };
  }),
);

it("the guide has all files, and every mount is a file of it or a folder of the package", () => {
  expect([...blocks.keys()]).toEqual([
    "compose.yaml",
    "prometheus.yml",
    "datasources.yaml",
    "dashboards.yaml",
    "collector.yaml",
  ]);
  const { files } = JSON.parse(
    readFileSync(join(root, "packages/inmesh/package.json"), "utf8"),
  ) as { files: string[] };
  for (const { from, to, mode } of mounts) {
    expect(mode, to).toBe("ro");
    const folder = /^\.\.\/node_modules\/inmesh\/(\w+)$/.exec(from)?.[1];
    if (folder === undefined) expect([...blocks.keys()]).toContain(from.slice("./".length));
    else {
      expect(existsSync(join(root, "packages/inmesh", folder))).toBe(true);
      expect(files).toContain(folder);
    }
  }
});

it("images have versions, ports are open on this machine alone, and nothing waits for what is not there", () => {
  for (const { image, ports = [], depends_on: needed = [] } of Object.values(services)) {
    expect(image).toMatch(/^[\w./-]+:v?\d+\.\d+\.\d+$/);
    for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/);
    for (const one of needed) expect(services).toHaveProperty(one);
  }
});

it("every shipped file is named, with its purpose", () => {
  for (const path of FILES.keys()) expect(guide).toContain(path.replace("packages/inmesh/", ""));
});

it("Grafana's folders and data sources fit each other and the dashboards", () => {
  const { providers } = read<{ providers: { options: { path: string } }[] }>("dashboards.yaml");
  const targets = mounts.filter(({ service }) => service === "grafana").map(({ to }) => to);
  expect(targets).toContain(providers[0]?.options.path);
  expect(guide).toContain(`${providers[0]?.options.path}/inmesh-overview.json`);
  const { datasources } = read<{
    datasources: {
      uid: string;
      type: string;
      url: string;
      jsonData?: { exemplarTraceIdDestinations: { name: string; datasourceUid: string }[] };
    }[];
  }>("datasources.yaml");
  for (const { url } of datasources) expect(services).toHaveProperty(new URL(url).hostname);
  const [link] = datasources[0]!.jsonData!.exemplarTraceIdDestinations;
  expect(link?.name).toBe("trace_id");
  expect(datasources.map(({ uid }) => uid)).toContain(link?.datasourceUid);
});

it("every part of the collector that a pipeline names is there", () => {
  type Parts = Record<string, object>;
  const collector = read<{
    receivers: Parts;
    processors: Parts;
    exporters: Record<string, { endpoint: string }>;
    service: {
      pipelines: Record<string, Record<"receivers" | "processors" | "exporters", string[]>>;
    };
  }>("collector.yaml");
  for (const pipeline of Object.values(collector.service.pipelines)) {
    for (const kind of ["receivers", "processors", "exporters"] as const) {
      for (const name of pipeline[kind]) expect(collector[kind]).toHaveProperty([name]);
    }
  }
  for (const { endpoint } of Object.values(collector.exporters)) {
    expect(services).toHaveProperty(/^(?:\w+:\/\/)?([\w-]+):/.exec(endpoint)![1]!);
  }
});

it("promtool takes the configuration with the rules of the package", ({ skip }) => {
  if (spawnSync("promtool", ["--version"]).error !== undefined) {
    if ((process.env["CI"] ?? "") === "") skip("promtool: not on the PATH");
    throw new Error("promtool: not on the PATH (on Debian: apt-get install prometheus)");
  }
  const folder = mkdtempSync(join(tmpdir(), "inmesh-guide-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const { to } = mounts.find(({ from }) => from.endsWith("/prometheus"))!;
  mkdirSync(join(folder, "inmesh"));
  for (const [path, text] of FILES) {
    if (path.endsWith(".yml")) writeFileSync(join(folder, "inmesh", path.split("/").at(-1)!), text);
  }
  const config = join(folder, "prometheus.yml");
  writeFileSync(config, blocks.get("prometheus.yml")!.replaceAll(to, join(folder, "inmesh")));
  const { status, stdout, stderr } = spawnSync("promtool", ["check", "config", config], {
    encoding: "utf8",
  });
  expect(status, stdout + stderr).toBe(0);
  expect(stdout).toMatch(/2 rule files found/);
  // Flags that the guide gives are flags of Prometheus; OTLP came with version 3.
  expect(services["prometheus"]?.command).toContain("--enable-feature=exemplar-storage");
});
