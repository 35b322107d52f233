/** The page of mesh-proxy and the program say the same; the files that the package carries hold what they promise. */
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadConfig } from "@inmesh/core/spi/discovery";
import { EXIT, synopsis } from "inmesh/cli";
import { proxySection } from "mesh-proxy";
import { describe, expect, it } from "vitest";
import { differenceRows } from "../packages/proxy/test/parity/differences.ts";
import {
  GATEWAY_STATUSES,
  GATEWAY_STATUSES_BY_REASON,
} from "../packages/proxy/test/parity/gateway.ts";
import { EXIT_TEXTS, OPTIONS } from "../packages/proxy/src/cli/options.ts";
import { LISTEN_REASONS } from "../packages/proxy/src/listen/listener.ts";
import { SERVER_FIRST_PORTS } from "../packages/proxy/src/serve/section.ts";

const root: string = join(import.meta.dirname, "..");
const page: string = readFileSync(join(root, "docs/reference/proxy.md"), "utf8");
const guide: string = readFileSync(join(root, "docs/guides/proxy.md"), "utf8");

/** A `|` would end the cell. */
const cell = (text: string): string => text.replaceAll("|", String.raw`\|`);

describe("docs/reference/proxy.md", () => {
  it.each(Object.entries(OPTIONS))("has the option --%s as help has it", (name, option) => {
    const env = "env" in option ? ` Environment: \`${option.env}\`.` : "";
    const row = `| \`${synopsis(name, option).trim()}\` | ${cell(option.meaning)}${env} |`;
    expect(page).toContain(row);
  });

  it("has every field of the section", () => {
    for (const { path, meaning } of proxySection.fields) {
      expect(page).toContain(`| \`proxy.${path}\` | ${cell(meaning)} |`);
    }
  });

  it("has every exit code", () => {
    for (const [name, text] of Object.entries(EXIT_TEXTS)) {
      expect(page).toContain(`| ${EXIT[name as keyof typeof EXIT]} | ${text} |`);
    }
  });

  it("has every reason for which a connection is refused, and the ports on which servers speak first", () => {
    for (const reason of LISTEN_REASONS) {
      if (reason !== "no_bytes") expect(page).toContain(`| \`${reason}\` |`);
    }
    for (const reason of ["no_service", "no_endpoint"]) expect(page).toContain(`| \`${reason}\` |`);
    expect(page).toContain(SERVER_FIRST_PORTS.join(", "));
  });
});

describe("what is not the same in a program and through the proxy", () => {
  const [, section = ""] = /^## The same as in a program[^]*?\n(\| \|[^]*?)^## /m.exec(page) ?? [];
  const isStatus = /^\| (?:\d|status)/;

  it("is what the parity suite has found", () => {
    const rows = section
      .split("\n")
      .filter((line) => /^\| [^|-]/.test(line) && !isStatus.test(line));
    expect(rows).toEqual(differenceRows());
  });

  it("has the status of every error", () => {
    const said = new Map<string, number>();
    for (const [, status, codes = ""] of section.matchAll(/^\| (\d+) \| (.*) \|$/gm)) {
      for (const [, code = ""] of codes.matchAll(/`(\w+)`/g)) said.set(code, Number(status));
    }
    expect(Object.fromEntries(said)).toEqual(GATEWAY_STATUSES);
    for (const [reason, status] of Object.entries(GATEWAY_STATUSES_BY_REASON)) {
      expect(section).toContain(`\`${reason}\` is ${status}`);
    }
  });
});

describe("configurations that are shown", () => {
  const shown = [page, guide].flatMap((text) => [...text.matchAll(/^```yaml\n([^]*?)^```$/gm)]);

  it("are valid", () => {
    expect(shown.length).toBeGreaterThan(1);
    const folder = mkdtempSync(join(tmpdir(), "mesh-proxy-"));
    const file = join(folder, "mesh.yaml");
    try {
      for (const [, text = ""] of shown) {
        writeFileSync(file, text);
        const { config } = loadConfig({ file, env: false, sections: [proxySection] });
        expect(config.sections?.["proxy"]).toBeDefined();
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("among the examples too", () => {
    for (const file of globSync("examples/05-proxy/*.yaml", { cwd: root })) {
      const { config } = loadConfig({
        file: join(root, file),
        env: false,
        sections: [proxySection],
      });
      expect(config.sections?.["proxy"]).toBeDefined();
      // A program without that section reads the same file.
      loadConfig({ file: join(root, file), env: false });
    }
  });
});

describe("the files that the package carries", () => {
  const read = (name: string): string => readFileSync(join(root, "packages/proxy", name), "utf8");

  it("run it without root, as process 1, and stop it within its grace", () => {
    expect(read("Dockerfile")).toMatch(/^USER (?!0)\d+:\d+$/m);
    expect(read("Dockerfile")).toMatch(/^ENTRYPOINT \["node",/m);
    const [, stopSeconds] = /^TimeoutStopSec=(\d+)$/m.exec(read("mesh-proxy.service")) ?? [];
    expect(Number(stopSeconds)).toBeGreaterThan(25);
    const prevented = /^RestartPreventExitStatus=(.*)$/m.exec(read("mesh-proxy.service"))?.[1];
    expect(prevented?.split(" ").map(Number)).toEqual([
      EXIT.failed,
      EXIT.usage,
      EXIT.unreachable,
      EXIT.denied,
    ]);
  });

  it("are published", () => {
    const { files } = JSON.parse(read("package.json")) as { files: readonly string[] };
    expect(files).toEqual(expect.arrayContaining(["dist", "Dockerfile", "mesh-proxy.service"]));
  });
});
