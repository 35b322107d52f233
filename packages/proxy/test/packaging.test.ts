/** What the package carries for containers and systemd, tried with what there is of them on this machine. */
import { spawnSync } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { createServer, get } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { parse } from "inmesh/cli";
import { freePort } from "../../../scripts/free-port.ts";
import { OPTIONS } from "../src/cli/options.ts";
import { settingsOf } from "../src/cli/settings.ts";
import { contained, processOne, USER, whyNoContainer } from "./support/container.ts";
import { Program } from "./support/program.ts";

vi.setConfig({ testTimeout: 180_000 });
const POLL = { timeout: 60_000, interval: 100 };
const folder = join(import.meta.dirname, "..");
const guide = readFileSync(join(folder, "../../docs/guides/proxy.md"), "utf8");

function body(port: number, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ port, host: "127.0.0.1", path, agent: false }, (reply) => {
      let text = "";
      reply.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      reply.on("end", () => resolve(text));
    }).on("error", reject);
  });
}

describe("in a container", () => {
  const why = whyNoContainer();

  it.skipIf(why !== undefined)(
    "it runs as process 1, without root, where nothing can be written, and leaves no process behind",
    async () => {
      const application = createServer((_, response) => response.end("hello"));
      await new Promise<void>((resolve) => application.listen(0, "127.0.0.1", resolve));
      onTestFinished(() => void application.close());
      const [port, admin] = [await freePort(), await freePort()];
      const program = new Program(
        [
          "--inbound",
          `127.0.0.1:${port}`,
          "--app",
          `127.0.0.1:${(application.address() as AddressInfo).port}`,
          "--admin",
          `127.0.0.1:${admin}`,
          "--metrics-open",
          "--workers",
          "2",
          "--drain-grace",
          "1s",
        ],
        // The cache of compiled files would be written to.
        {
          within: (own) => ["unshare", ...contained(own)],
          env: { NODE_COMPILE_CACHE: undefined, NODE_DISABLE_COMPILE_CACHE: "1" },
        },
      );
      await program.until(({ stderr }) => stderr.includes("\n  admin "), "its start");
      expect(program.stderr).toContain("process 1, 2 workers");
      expect(await body(port, "/")).toBe("hello");
      expect(await body(admin, "/readyz")).toBe("ok\n");
      const one = processOne(program.child.pid!, "run.ts")!;
      expect(readFileSync(`/proc/${one}/status`, "utf8")).toMatch(
        new RegExp(`^Uid:\\s${USER}\\s${USER}\\s${USER}\\s${USER}$`, "m"),
      );
      // Its file system is as it says.
      const target = ["--target", String(one), "--mount", "--setuid", String(USER), "touch", "/x"];
      const touched = spawnSync("nsenter", target, { encoding: "utf8" });
      expect(touched.stderr).toContain("Read-only file system");
      // It waits for those that it has started: none stays as a zombie.
      const workers = readFileSync(`/proc/${one}/task/${one}/children`, "utf8").trim().split(" ");
      expect(workers).toHaveLength(2);
      process.kill(Number(workers[0]), "SIGKILL");
      await program.until(({ stderr }) => stderr.includes("worker_ended"), "its end");
      expect(() => statSync(`/proc/${workers[0]}`)).toThrow("ENOENT");
      await expect
        .poll(
          async () => /inmesh_workers\{.*serving"\} 2/.test(await body(admin, "/metrics")),
          POLL,
        )
        .toBe(true);
      process.kill(one, "SIGTERM");
      expect(await program.ended).toEqual({ code: 0, signal: null });
    },
  );
});

describe("the unit of systemd", () => {
  const unit = join(folder, "mesh-proxy.service");
  const analyze = (...args: readonly string[]): ReturnType<typeof spawnSync> =>
    spawnSync("systemd-analyze", [...args, unit], { encoding: "utf8" });
  const isThere = spawnSync("systemd-analyze", ["--version"]).status === 0;

  it.skipIf(!isThere)("is understood by systemd, and leaves little open", () => {
    const { status, stderr, stdout } = analyze("verify");
    // It may have something to say of other units of the machine.
    expect(`${String(stdout)}${String(stderr)}`).not.toContain("mesh-proxy");
    expect(status).toBe(0);
    // In tenths. What opens sockets and runs compiled code keeps some of it; 9.6 is a service that says nothing.
    const security = analyze("security", "--offline=true", "--threshold=35");
    expect(security.status, String(security.stdout)).toBe(0);
  });

  it("starts what the program takes, with a token that root can read", async () => {
    const text = readFileSync(unit, "utf8");
    const [, line = ""] = /^ExecStart=\/usr\/bin\/env mesh-proxy (.*)$/m.exec(text) ?? [];
    const { values } = await parse(line.split(" "), OPTIONS, []);
    const { admin } = settingsOf(values, {});
    expect(admin).toMatchObject({ address: { path: "/run/mesh-proxy/admin.sock" } });
    expect(admin!.tokenFile).toBe("/run/mesh-proxy/token");
    expect(text).toMatch(/^RuntimeDirectory=mesh-proxy$/m);
  });
});

it("the sidecar of the guide is started with what the program takes", async () => {
  // What the API server of Kubernetes says of it: packages/discovery-k8s/test/sidecar.test.ts.
  const [, list = ""] = /^ +args: \[\s*([^\]]*?),?\s*\]$/m.exec(guide) ?? [];
  const args = list.split(/,\s*/).map((one) => one.replaceAll('"', ""));
  expect(args.length).toBeGreaterThan(4);
  const { values } = await parse(args, OPTIONS, []);
  expect(settingsOf(values, {})).toMatchObject({ configFile: "/etc/mesh/mesh.yaml" });
});
