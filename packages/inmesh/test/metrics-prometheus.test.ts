/** The page of metrics, read by the real Prometheus and its promtool: what they take and what they make of it. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import { type AddressInfo, createServer as createSocketServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createMesh, type HttpMesh, meshClient, meshServer, type Series } from "inmesh";
import { metricsPage } from "inmesh/metrics";
import { describe, expect, it, onTestFinished } from "vitest";

const root: URL = new URL("../../../", import.meta.url);
const isThere = (program: string): boolean => spawnSync(program, ["--version"]).error === undefined;
const missing: string[] = ["prometheus", "promtool"].filter((program) => !isThere(program));

it("Prometheus is on the PATH", ({ skip }) => {
  if (missing.length === 0) return;
  const why = `${missing.join(" and ")}: not on the PATH (on Debian: apt-get install prometheus)`;
  if ((process.env["CI"] ?? "") === "") skip(why);
  throw new Error(why);
});

async function listen(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function freePort(): Promise<number> {
  const server = createSocketServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const HOSTILE = 'a "b" \\ {c}\n\r\0\u001b[31m# EOF 🙂 \ud800';
const HOSTILE_READ = 'a "b" \\ {c}\n\\u000d\\u0000\\u001b[31m# EOF 🙂 \ufffd';
const OWN = { name: "acme.jobs", unit: "{job}", description: `Jobs: ${HOSTILE}` };

/** 20 calls, of which 5 are answered with 404, and series of a package with names as hostile as they may be. */
async function usedMesh(): Promise<HttpMesh> {
  const orders = await listen((request, response) => {
    response.writeHead(request.url === "/missing" ? 404 : 200).end("x");
  });
  const config = { services: { orders: { url: `http://${orders}` } } };
  const mesh = createMesh({ env: {}, config });
  onTestFinished(() => mesh.close(0));
  const client = meshClient("orders", { mesh });
  for (let i = 0; i < 20; i++) await (await client.fetch(i % 4 === 0 ? "/missing" : "/")).text();
  mesh.telemetry.counter(OWN, { queue: HOSTILE }).add(7);
  mesh.telemetry.gauge({ ...OWN, name: "acme.level" }, {}, () => -Infinity);
  mesh.telemetry.gauge({ ...OWN, name: "acme.unknown" }, {}, () => Number.NaN);
  return mesh;
}

interface Answer {
  readonly data: {
    readonly result: { metric: Record<string, string>; value: [number, string] }[];
  };
}

interface Exemplars {
  readonly data: {
    readonly seriesLabels: Record<string, string>;
    readonly exemplars: {
      readonly labels: Record<string, string>;
      readonly value: string;
      readonly timestamp: number;
    }[];
  }[];
}

/** A Prometheus that scrapes `targets`, each as a job of its name. */
async function prometheus(targets: Readonly<Record<string, string>>): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "inmesh-prometheus-"));
  const jobs = Object.entries(targets).map(
    ([job, target]) => `  - job_name: ${job}
    static_configs: [{ targets: ["${target}"] }]
`,
  );
  const config = join(folder, "prometheus.yml");
  const scraping = "global: { scrape_interval: 200ms, scrape_timeout: 200ms }";
  writeFileSync(config, `${scraping}\nscrape_configs:\n${jobs.join("")}`);
  const address = `127.0.0.1:${await freePort()}`;
  const child: ChildProcess = spawn(
    "prometheus",
    [
      `--config.file=${config}`,
      `--storage.tsdb.path=${join(folder, "data")}`,
      `--web.listen-address=${address}`,
      "--enable-feature=exemplar-storage",
    ],
    { stdio: "ignore" },
  );
  const ended = once(child, "exit");
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await ended;
    rmSync(folder, { recursive: true, force: true });
  });
  await expect
    .poll(async () => (await fetch(`http://${address}/-/ready`)).status, { timeout: 20_000 })
    .toBe(200);
  return address;
}

function promtool(args: readonly string[], input = ""): { status: number | null; said: string } {
  const { status, stdout, stderr } = spawnSync("promtool", args, { input, encoding: "utf8" });
  return { status, said: stdout + stderr };
}

async function ask(address: string, text: string): Promise<Answer["data"]["result"]> {
  const reply = await fetch(`http://${address}/api/v1/query?query=${encodeURIComponent(text)}`);
  return ((await reply.json()) as Answer).data.result;
}

const numberOf = async (address: string, text: string): Promise<number | undefined> => {
  const [one] = await ask(address, text);
  return one && Number(one.value[1].replace("Inf", "Infinity"));
};

describe.skipIf(missing.length > 0)("read by Prometheus", () => {
  it("promtool has nothing against the page", async () => {
    const mesh = await usedMesh();
    const { body } = await metricsPage(mesh, "text/plain");
    expect(promtool(["check", "metrics"], body)).toEqual({ status: 0, said: "" });
  });

  it("promtool has nothing against any instrument of the mesh", async () => {
    const page = readFileSync(new URL("docs/reference/metrics.md", root), "utf8");
    const rows = page.matchAll(/^\| `(inmesh\.[^`]+)` \| (\w+) \| `([^`]+)` \|.*\| ([^|]+) \|$/gm);
    const series = [...rows].map(([, name = "", kind = "", unit = "", description = ""]) => ({
      name,
      unit,
      description,
      labels: {},
      startedAtWallMs: 0,
      kind,
      ...(kind === "histogram" ? { bounds: [1], counts: [1, 0], count: 1, sum: 1 } : { value: 1 }),
    })) as Series[];
    expect(series.length).toBeGreaterThan(20);
    const { runtime } = await usedMesh();
    const { body } = await metricsPage({ runtime, metrics: () => series });
    expect(body.match(/^# TYPE/gm)).toHaveLength(series.length);
    expect(promtool(["check", "metrics"], body)).toEqual({ status: 0, said: "" });
  });

  it("promtool takes the configuration and the queries of the guide", () => {
    const guide = readFileSync(new URL("docs/guides/observe.md", root), "utf8");
    const blockOf = (language: string): string =>
      new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, "m").exec(guide)![1]!;
    const folder = mkdtempSync(join(tmpdir(), "inmesh-promtool-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const write = (name: string, text: string): string => {
      writeFileSync(join(folder, name), text);
      return join(folder, name);
    };
    const config = write("prometheus.yml", blockOf("yaml"));
    expect(promtool(["check", "config", config])).toMatchObject({ status: 0 });
    const queries = blockOf("promql").trim().split(/\n\n/);
    expect(queries.length).toBeGreaterThan(3);
    const rules = queries.map((query, i) => ({ record: `query:${i}`, expr: query }));
    const file = write("rules.yml", JSON.stringify({ groups: [{ name: "guide", rules }] }));
    expect(promtool(["check", "rules", file])).toMatchObject({ status: 0 });
    // What they ask for is on the page.
    const known = readFileSync(new URL("docs/reference/metrics.md", root), "utf8");
    for (const [, name = ""] of blockOf("promql").matchAll(/inmesh_(\w+?)_(?:total|seconds)/g)) {
      expect(known).toContain(`\`inmesh.${name.replaceAll("_", ".")}\``);
    }
  });

  it("PromQL has the numbers of the mesh, in either format", { timeout: 60_000 }, async () => {
    const mesh = await usedMesh();
    const asked = new Set<string>();
    const serve =
      (only?: string): RequestListener =>
      async (request, response) => {
        const page = await metricsPage(mesh, only ?? request.headers.accept);
        asked.add(page.contentType);
        response.setHeader("content-type", page.contentType).end(page.body);
      };
    const address = await prometheus({
      negotiated: await listen(serve()),
      plain: await listen(serve("text/plain")),
    });
    await expect.poll(() => numberOf(address, "sum(up)"), { timeout: 20_000 }).toBe(2);
    expect([...asked].toSorted()).toEqual([
      "application/openmetrics-text; version=1.0.0; charset=utf-8",
      "text/plain; version=0.0.4; charset=utf-8",
    ]);
    for (const job of ["negotiated", "plain"]) {
      const orders = `job="${job}",inmesh_service="orders"`;
      const expected: Readonly<Record<string, number>> = {
        [`sum(inmesh_calls_total{${orders}})`]: 20,
        [`inmesh_calls_total{${orders},inmesh_status="4xx"}`]: 5,
        [`inmesh_call_duration_seconds_count{${orders}}`]: 20,
        [`inmesh_call_duration_seconds_bucket{${orders},le="+Inf"}`]: 20,
        [`count(inmesh_call_duration_seconds_bucket{${orders}})`]: 15,
        [`inmesh_call_active{${orders}}`]: 0,
        [`inmesh_discovery_endpoints{${orders}}`]: 1,
        [`acme_level{job="${job}"}`]: -Infinity,
        [`acme_unknown{job="${job}"}`]: Number.NaN,
      };
      for (const [text, value] of Object.entries(expected)) {
        expect(await numberOf(address, text), text).toBe(value);
      }
      // The sum has the fractions that were measured.
      const { sum } = mesh
        .metrics()
        .find(({ name }) => name === "inmesh.call.duration") as Series & { kind: "histogram" };
      const summed = `sum(inmesh_call_duration_seconds_sum{${orders}})`;
      expect(await numberOf(address, summed)).toBe(sum);
      const [own] = await ask(address, `acme_jobs_total{job="${job}"}`);
      expect(own).toMatchObject({
        metric: { queue: HOSTILE_READ },
        value: [expect.anything(), "7"],
      });
    }
    // Every series of the page is there: nothing was dropped on the way.
    const { body } = await metricsPage(mesh, "text/plain");
    const lines = body.match(/^[^#\n]/gm)!.length;
    const of = '{job="plain",__name__=~"inmesh_.*|acme_.*|http_.*"}';
    expect(await numberOf(address, `count(${of})`)).toBe(lines);
    // Standard metrics have the names and labels that the Collector would give them.
    const standard = 'sort_desc(http_client_request_duration_seconds_count{job="negotiated"})';
    const byStatus = (await ask(address, standard)).map(({ metric, value }) => [metric, value[1]]);
    const common = {
      __name__: "http_client_request_duration_seconds_count",
      http_request_method: "GET",
      network_protocol_version: "1.1",
      server_address: "orders",
      url_scheme: "http",
      job: "negotiated",
    };
    expect(byStatus).toEqual([
      [expect.objectContaining({ ...common, http_response_status_code: "200" }), "15"],
      [
        expect.objectContaining({ ...common, http_response_status_code: "404", error_type: "404" }),
        "5",
      ],
    ]);
    const reply = await fetch(
      `http://${address}/api/v1/metadata?metric=inmesh_call_duration_seconds`,
    );
    const { data } = (await reply.json()) as { data: Record<string, unknown[]> };
    expect(data["inmesh_call_duration_seconds"]).toContainEqual({
      type: "histogram",
      unit: "seconds",
      help: "From the start of a call to the last byte of its reply.",
    });
  });

  it("exemplars lead from buckets and counters to traces", { timeout: 60_000 }, async () => {
    const backend = await listen((_, response) => void response.end("x"));
    const mesh = createMesh({
      env: {},
      config: { services: { orders: { url: `http://${backend}` } } },
    });
    onTestFinished(() => mesh.close(0));
    const client = meshClient("orders", { mesh });
    const server = meshServer(
      async (_, response) => void response.end(await (await client.fetch("/")).text()),
      { mesh, limits: { maxLoopDelayMs: Infinity } },
    );
    onTestFinished(() => server.close(0));
    const { port } = await server.listen(0, "127.0.0.1");
    const sampled = "0af7651916cd43dd8448eb211c80319c";
    const unsampled = "1af7651916cd43dd8448eb211c80319c";
    for (const [trace, flags] of [
      [sampled, "01"],
      [unsampled, "00"],
    ]) {
      const traceparent = `00-${trace}-b7ad6b7169203331-${flags}`;
      await (await fetch(`http://127.0.0.1:${port}/`, { headers: { traceparent } })).text();
    }
    const startedAt = Date.now() / 1000;
    const address = await prometheus({
      app: await listen(async (request, response) => {
        const page = await metricsPage(mesh, request.headers.accept);
        response.setHeader("content-type", page.contentType).end(page.body);
      }),
    });
    const exemplars = async (query: string): Promise<Exemplars["data"]> => {
      const asked = new URLSearchParams({
        query,
        start: String(startedAt - 60),
        end: String(startedAt + 120),
      });
      const reply = await fetch(`http://${address}/api/v1/query_exemplars?${asked}`);
      return ((await reply.json()) as Exemplars).data;
    };
    for (const [query, directions] of [
      ["inmesh_calls_total", 2],
      ["inmesh_call_duration_seconds_bucket", 2],
      ["inmesh_attempt_duration_seconds_bucket", 1],
      ["http_client_request_duration_seconds_bucket", 1],
      ["http_server_request_duration_seconds_bucket", 1],
    ] as const) {
      await expect
        .poll(async () => (await exemplars(query)).length, { timeout: 20_000 })
        .toBe(directions);
      for (const { exemplars: found } of await exemplars(query)) {
        expect(found).toHaveLength(1);
        expect(found[0]!.labels).toEqual({ trace_id: sampled });
        expect(Math.abs(found[0]!.timestamp - startedAt)).toBeLessThan(60);
      }
    }
    const [counted] = await exemplars("inmesh_calls_total");
    expect(counted!.exemplars[0]!.value).toBe("1");
  });
});
