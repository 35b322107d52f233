/** An application in a pod: names of Services work without a line of code, and outside of one nothing is loaded. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { createMesh, meshServer } from "inmesh";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FakeApi, refuse } from "../../discovery-k8s/test/support/fake-api.ts";
import { canBePod, inPod } from "../../discovery-k8s/test/support/pod.ts";
import { TestCa } from "../../http/test/support/ca.ts";

const run = promisify(execFile);
const CLIENT = join(import.meta.dirname, "fixtures/pod-client.ts");
const FLAGS = ["--conditions=inmesh-source", "--disable-warning=ExperimentalWarning"];

interface Said {
  readonly answer: string;
  readonly source: string;
  readonly lines: readonly string[];
}

describe.skipIf(!canBePod)("in a pod", () => {
  const ca = new TestCa();
  const identity = ca.issue({ names: ["127.0.0.1"] });
  const api = new FakeApi(identity);
  const refusing = new FakeApi(identity);
  const server = meshServer((_, response) => response.end("pod"), { discoveryWaitMs: 0 });
  /** Each starts a process, so they do so side by side. */
  let said: Record<"plain" | "option" | "variable" | "refused", Promise<Said>>;

  beforeAll(async () => {
    api.token = "of-the-pod";
    refusing.intercept = (_url, _request, response) => {
      refuse(response, 403, "Forbidden", 'User "system:serviceaccount:web:front" cannot list');
      return true;
    };
    const { port } = await server.listen(0, "127.0.0.1");
    api.put({
      name: "orders-a",
      service: "orders",
      ports: [{ name: "http", port }],
      endpoints: [{ address: "127.0.0.1", uid: "1" }],
    });
    const ports = [await api.listen(), await refusing.listen()] as const;
    said = {
      plain: client(ports[0]),
      option: client(ports[0], { kubernetes: false }),
      variable: client(ports[0], {}, { INMESH_KUBERNETES: "off" }),
      refused: client(ports[1]),
    };
    await Promise.all(Object.values(said));
  }, 60_000);

  afterAll(() => Promise.all([api.close(), refusing.close(), server.close(0)]));

  async function client(apiPort: number, options: object = {}, env: object = {}): Promise<Said> {
    const account = { token: "of-the-pod", ca: ca.cert, namespace: "web", apiPort };
    const { file, args, env: ofPod } = inPod([...FLAGS, CLIENT, JSON.stringify(options)], account);
    const { stdout } = await run(file, args, { env: { ...ofPod, ...env }, timeout: 50_000 });
    return JSON.parse(stdout) as Said;
  }

  test("a URL with the name of a Service reaches its pods, and the log says how", async () => {
    const { answer, source, lines } = await said.plain;
    expect(answer).toBe("pod");
    expect(source).toBe("kubernetes");
    expect(lines.filter((line) => line.startsWith("discovery.kubernetes"))).toHaveLength(1);
  });

  test.each(["option", "variable"] as const)("the %s leaves the name to DNS", async (way) => {
    const { answer, source, lines } = await said[way];
    expect(answer).not.toBe("pod");
    expect(source).toBe("dns");
    expect(lines.join("\n")).not.toContain("discovery.kubernetes");
  });

  test("D12 CO: where RBAC forbids it DNS is asked, and the log has the rule to add", async () => {
    const { answer, lines } = await said.refused;
    expect(answer).not.toBe("pod");
    const fallback = lines.find((line) => line.startsWith("discovery.fallback"));
    expect(fallback).toContain("kubectl create role inmesh-endpoints -n shop");
    expect(fallback).toContain("--serviceaccount=web:front");
  });
});

test("INMESH_KUBERNETES must be on or off", () => {
  expect(() => createMesh({ env: { INMESH_KUBERNETES: "false" } })).toThrow(
    "env:INMESH_KUBERNETES",
  );
});

test("outside of a cluster nothing of Kubernetes is loaded", async () => {
  const code = `
    import { registerHooks } from "node:module";
    const loaded = [];
    registerHooks({ load: (url, context, next) => (loaded.push(url), next(url, context)) });
    const { createMesh } = await import("inmesh");
    createMesh();
    process.stdout.write(loaded.join("\\n"));
  `;
  const { stdout } = await run(process.execPath, [...FLAGS, "--input-type=module", "-e", code]);
  expect(stdout).toContain("packages/inmesh/src/kubernetes.ts");
  expect(stdout).not.toContain("packages/discovery-k8s/src");
});
