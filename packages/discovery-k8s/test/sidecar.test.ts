/** The pod of docs/guides/proxy.md, with mesh-proxy as a sidecar, as the API server of Kubernetes takes it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { parse } from "yaml";
import { ControlPlane, kubeBin } from "./support/control-plane.ts";

const guide = readFileSync(join(import.meta.dirname, "../../../docs/guides/proxy.md"), "utf8");
const bin = kubeBin();

interface PodSpec {
  readonly initContainers: readonly { restartPolicy: string }[];
}

it.skipIf(bin === undefined)(
  "is accepted, with a container that starts first and stays",
  { timeout: 180_000 },
  async () => {
    const [, snippet = ""] = /^```yml\n([^]*?)^```$/m.exec(guide) ?? [];
    const { spec } = parse(snippet) as { spec: PodSpec };
    const plane = new ControlPlane(bin!);
    onTestFinished(() => plane.stop());
    await plane.start();
    const labels = { app: "orders" };
    const deployment = {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "orders" },
      spec: { selector: { matchLabels: labels }, template: { metadata: { labels }, spec } },
    };
    const path = "/apis/apps/v1/namespaces/default/deployments?dryRun=All&fieldValidation=Strict";
    const { status, text } = await plane.ask("POST", path, deployment);
    expect(status, text).toBe(201);
    const made = JSON.parse(text) as { spec: { template: { spec: PodSpec } } };
    expect(made.spec.template.spec.initContainers[0]!.restartPolicy).toBe("Always");
    // It looks at what it is given.
    const wrong = structuredClone(deployment);
    wrong.spec.template.spec.initContainers[0]!.restartPolicy = "Sometimes";
    expect((await plane.ask("POST", path, wrong)).status).toBe(422);
  },
);
