/**
 * The TypeScript of READMEs and guides is type-checked. That of the READMEs runs as printed, each
 * block as a program of its own, with a server here in the place of the one it names, unless it is
 * marked ```` ```ts types ````; a guide is one program, which guides.test.ts runs.
 */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freePort } from "../scripts/free-port.ts";

interface Snippet {
  readonly title: string;
  readonly code: string;
  readonly runs: boolean;
  readonly file: string;
}

const root: string = join(import.meta.dirname, "..");
const run = promisify(execFile);
// Inside the repository, so that `inmesh` resolves as it does in a project that installed it.
const folder: string = join(root, ".tmp", `snippets-${process.pid}`);

const snippets: Snippet[] = globSync(["README.md", "packages/*/README.md"], { cwd: root })
  .sort()
  .flatMap((page) => {
    const text = readFileSync(join(root, page), "utf8");
    return [...text.matchAll(/^```ts( types)?\n([^]*?)^```$/gm)].map(([, types, code = ""], i) => ({
      title: `${page}, block ${i + 1}`,
      code,
      runs: types === undefined,
      file: join(folder, `${page.replaceAll("/", "-")}-${i + 1}.ts`),
    }));
  });

for (const page of globSync("docs/guides/*.md", { cwd: root }).sort()) {
  const text = readFileSync(join(root, page), "utf8");
  const code = [...text.matchAll(/^```ts\n([^]*?)^```$/gm)].map(([, block]) => block).join("\n");
  const file = join(folder, `${page.replaceAll("/", "-")}.ts`);
  // They run one folder higher.
  const lowered = code.replaceAll('from "../', 'from "../../');
  snippets.push({ title: page, code: lowered, runs: false, file });
}

let server: Server;

beforeAll(async () => {
  server = createServer((request, response) => {
    request.resume().on("end", () => {
      response.setHeader("location", "/v1/orders/42").end('{"id":42}');
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  mkdirSync(folder, { recursive: true });
  for (const { file, code } of snippets) writeFileSync(file, code);
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
  server.closeAllConnections();
  server.close();
});

test("all of them are type-correct", async () => {
  expect(snippets.map(({ title }) => title)).toContain("README.md, block 1");
  const options = {
    extends: "../../tsconfig.base.json",
    compilerOptions: {
      noEmit: true,
      composite: false,
      declaration: false,
      declarationMap: false,
      isolatedDeclarations: false,
      moduleDetection: "force",
      types: ["node"],
    },
    files: snippets.map(({ file }) => basename(file)),
    include: ["../../packages/*/src/**/*.d.ts"],
  };
  const project = join(folder, "tsconfig.json");
  writeFileSync(project, JSON.stringify(options));
  const { stdout } = await run(join(root, "node_modules/.bin/tsc"), ["-p", project]).catch(
    (error: { stdout: string }) => error,
  );
  expect(stdout).toBe("");
});

/** Puts free ports in the place of those that are printed, because the same test may run twice at once. */
async function withFreePorts(code: string): Promise<string> {
  let text = code;
  for (const printed of new Set(code.match(/\bport: \d+/g))) {
    text = text.replaceAll(printed, `port: ${await freePort()}`);
  }
  return text;
}

test.each(snippets.filter(({ runs }) => runs))("$title runs", async ({ code, file }) => {
  const { port } = server.address() as AddressInfo;
  const program = file.replace(/\.ts$/, ".run.ts");
  const here = code.replaceAll(/http:\/\/[\w.-]+\.svc:\d+/g, `http://127.0.0.1:${port}`);
  writeFileSync(program, await withFreePorts(here));
  const { stdout, stderr } = await run(
    process.execPath,
    ["--conditions=inmesh-source", "--unhandled-rejections=strict", program],
    { cwd: root, timeout: 30_000 },
  );
  expect(stderr.replaceAll(/^.*(ExperimentalWarning|--trace-warnings).*\n/gm, "")).toBe("");
  // What it prints about a reply is about the one it got.
  if (code.includes("reply.status")) expect(stdout).toMatch(/^200 /);
  if (code.includes("calls succeeded")) expect(stdout).toContain("300 of 300 calls succeeded");
});
