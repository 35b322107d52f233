/**
 * What a proxy loads costs memory in each of its processes (`proxy.rss_mb.idle_1000`): with static endpoints, no library
 * of HTTP, no YAML, and nothing of Kubernetes.
 */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import type { Loaded } from "./support/loaded.ts";

it("a proxy with static endpoints loads zod alone, and none of Node's large modules", () => {
  const script = fileURLToPath(new URL("./support/loaded.ts", import.meta.url));
  const args = ["--conditions=inmesh-source", "--no-warnings", script];
  const seen = JSON.parse(execFileSync(process.execPath, args, { encoding: "utf8" })) as Loaded;
  expect(seen).toEqual({ reply: "HTTP/1.1 200 OK", packages: ["zod"], builtins: [] });
});
