/** The one install: its names, and a program configured by file and environment alone. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as inmesh from "inmesh";
import * as inspect from "inmesh/inspect";
import * as metrics from "inmesh/metrics";
import { ConfigError, isMeshError, MeshError } from "inmesh";
import { expect, it, onTestFinished, vi } from "vitest";

async function serve(name: string): Promise<string> {
  const server = createServer((request, response) => {
    response.end(`${name} ${request.url} ${request.headers["host"]}`);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function runProgram(
  env: Readonly<Record<string, string>>,
): Promise<{ code: number; out: string; err: string }> {
  const child = spawn(
    process.execPath,
    [
      "--conditions=inmesh-source",
      "--unhandled-rejections=strict",
      join(import.meta.dirname, "fixtures/configured.ts"),
    ],
    { env: { PATH: process.env["PATH"] ?? "", ...env } },
  );
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
  const [code] = (await once(child, "close")) as [number];
  return { code, out, err };
}

async function configFile(text: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "inmesh-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const path = join(folder, "mesh.yaml");
  await writeFile(path, text);
  return path;
}

it("exports the documented names and no others", () => {
  expect(Object.keys(inmesh).toSorted()).toEqual([
    "AdminError",
    "ConfigError",
    "HttpHeaders",
    "HttpMesh",
    "MeshClient",
    "MeshError",
    "MeshServer",
    "ServedRequest",
    "StatusError",
    "accessLog",
    "context",
    "createMesh",
    "defaultMesh",
    "isMeshError",
    "meshClient",
    "meshServer",
    "parseTapOptions",
    "refusal",
  ]);
  expect(Object.keys(metrics).toSorted()).toEqual(["metricProducer", "metricsPage"]);
  expect(Object.keys(inspect).toSorted()).toEqual([
    "API_VERSION",
    "attemptsPerCall",
    "countsSince",
    "latencySince",
    "quantileMs",
    "since",
    "successRatio",
  ]);
});

it("a program reads mesh.yaml from INMESH_CONFIG and a service from INMESH_SERVICE_ORDERS", async () => {
  const [orders, users] = [await serve("orders"), await serve("users")];
  const path = await configFile(
    `services:\n  users:\n    authority: users.shop\n    discovery:\n      static: ["${users}"]\n`,
  );
  const { code, out, err } = await runProgram({
    INMESH_CONFIG: path,
    INMESH_SERVICE_ORDERS: `http://${orders}`,
  });
  expect(err).toBe("");
  expect(code).toBe(0);
  expect(JSON.parse(out)).toEqual({
    orders: `orders /a ${orders}`,
    users: "users /b users.shop",
    services: ["orders", "users"],
  });
});

it("a program with a mistake in mesh.yaml ends with its place", async () => {
  const path = await configFile("services:\n  users:\n    timeout: 5s\n");
  const { code, out, err } = await runProgram({ INMESH_CONFIG: path });
  expect(code).not.toBe(0);
  expect(out).toBe("");
  expect(err).toContain("ConfigError");
  expect(err).toContain("mesh.yaml");
  expect(err).toContain("timeout");
});

it("isMeshError knows the errors of another copy, and nothing else", async () => {
  vi.resetModules();
  const other = await import("@inmesh/core");
  expect(other.MeshError).not.toBe(MeshError);
  const init = { code: "closed", reason: "closing", message: "x", progress: "not-sent" } as const;
  const foreign = new other.MeshError(init);
  expect(foreign instanceof MeshError).toBe(false);
  expect(isMeshError(foreign)).toBe(true);
  expect(isMeshError(new ConfigError([]))).toBe(true);
  for (const no of [new Error("x"), null, undefined, "MeshError", { name: "MeshError" }]) {
    expect(isMeshError(no)).toBe(false);
  }
});
