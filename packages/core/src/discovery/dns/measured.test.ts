/** What is measured of DNS, with a server on real sockets. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { NodeRuntime } from "../../runtime/node-runtime.ts";
import { Bounds } from "../../telemetry/bounds.ts";
import { Recorder } from "../../telemetry/recorder.ts";
import { DnsServer } from "../../testing/dns-server.ts";
import { measuredResolver } from "./measured.ts";

it("questions are counted by what came of them, and answers that are kept by their number", async () => {
  const dns = await DnsServer.start();
  const folder = mkdtempSync(join(tmpdir(), "inmesh-dns-"));
  onTestFinished(async () => {
    await dns.close();
    rmSync(folder, { recursive: true });
  });
  dns.set("orders.test", "A", {
    answers: [{ name: "orders.test", type: "A", ttl: 30, data: "10.0.0.1" }],
  });
  dns.set("orders.test", "AAAA", {});
  for (const type of ["A", "AAAA"]) {
    dns.set("broken.test", type, { rcode: 2 });
    dns.set("refused.test", type, { rcode: 5 });
    dns.set("silent.test", type, { silent: true });
  }
  const resolvConfPath = join(folder, "resolv.conf");
  writeFileSync(resolvConfPath, `nameserver 127.0.0.1#${dns.port}\noptions attempts:1\n`);
  const runtime = new NodeRuntime();
  const telemetry = new Recorder(runtime);
  const bounds = new Bounds(telemetry);
  const resolver = measuredResolver(
    { runtime, telemetry, bounds },
    { resolvConfPath, hostsPath: "/dev/null", tryTimeoutMs: 100, maxAnswers: 7 },
  );
  expect((await resolver.addresses("orders.test.")).addresses).toEqual(["10.0.0.1"]);
  for (const name of ["broken.test.", "refused.test.", "silent.test."]) {
    await expect(resolver.addresses(name)).rejects.toThrow("dns");
  }
  const valueOf = (label: string, value: string): number | undefined => {
    const found = telemetry.read().find(({ labels }) => labels[label] === value);
    return found?.kind === "counter" ? found.value : undefined;
  };
  const results = ["ok", "empty", "servfail", "refused", "timeout"] as const;
  expect(results.map((result) => valueOf("result", result))).toEqual([1, 1, 2, 2, 2]);
  const fill = telemetry.read().filter(({ labels }) => labels["structure"] === "dns_answers");
  expect(
    fill.map(({ name, kind, ...one }) => [name, kind, (one as { value: number }).value]),
  ).toEqual([
    ["inmesh.bounded.limit", "gauge", 7],
    ["inmesh.bounded.size", "gauge", 2],
  ]);
});
