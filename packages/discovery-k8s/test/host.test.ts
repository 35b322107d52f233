/** The host comes first: what a watch is for the process it runs in. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { meshServer } from "@inmesh/http";
import { expect, it } from "vitest";
import { FakeApi } from "./support/fake-api.ts";
import { kubeconfigFor } from "./support/watched.ts";

const run = promisify(execFile);

it("an open watch does not keep a process alive that has nothing else to do", async () => {
  const api = new FakeApi();
  const apiPort = await api.listen();
  const server = meshServer((_, response) => response.end("served"), {
    discoveryWaitMs: 0,
    idleWaitMs: 0,
  });
  const { port } = await server.listen(0, "127.0.0.1");
  api.put({
    name: "orders-a",
    service: "orders",
    ports: [{ name: "http", port }],
    endpoints: [{ address: "127.0.0.1", uid: "1" }],
  });
  const child = join(import.meta.dirname, "children/one-call.ts");
  const args = ["--conditions=inmesh-source", child, kubeconfigFor(apiPort, "token")];
  // It is killed after this time, which fails the test.
  const { stdout } = await run(process.execPath, args, { timeout: 25_000 });
  expect(stdout).toBe("served");
  await api.close();
  await server.close();
});
