/** `npx inmesh` and `inmesh check <file>`, as a person and as a pipeline see them: a process, its output and its exit code. */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { OLDEST_NODE } from "../src/cli/version.ts";
import { run } from "./fake-admin.ts";

const PROGRAM: string = join(import.meta.dirname, "../src/cli/run.ts");
const folder: string = mkdtempSync(join(tmpdir(), "inmesh-cli-"));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string): string {
  writeFileSync(join(folder, name), text);
  return name;
}

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function inmesh(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  input = "",
): Ran {
  const { PATH = "" } = process.env;
  const child = spawnSync(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", "--conditions=inmesh-source", PROGRAM, ...args],
    { cwd: folder, encoding: "utf8", env: { PATH, INMESH_REGISTRY: "off", ...env }, input },
  );
  return { code: child.status, out: child.stdout, err: child.stderr };
}

const GOOD: string = file(
  "good.yaml",
  `services:
  orders:
    discovery: { dns: orders.shop.svc, port: 8080 }
    routes: [{ name: read, matches: [{ method: GET }] }]
  users: { discovery: { static: ["10.0.0.1:80", "10.0.0.2:80"] } }
`,
);
const BAD: string = file(
  "bad.yaml",
  `services:
  orders:
    discovery: { dns: orders.shop.svc, prot: 8080 }
    retry: { attemps: 3 }
    timeouts: { request: 5 }
`,
);

describe("inmesh check", () => {
  it("says that it has not looked at what is for mesh-proxy", () => {
    const mixed = file("proxy.yaml", "services: {}\nproxy: { listeners: { out: { listn: x } } }\n");
    const { code, out, err } = inmesh(["check", mixed]);
    expect(out).toBe("valid  proxy.yaml: 0 services\n");
    expect(err).toContain("what stands under proxy was not checked: mesh-proxy --check does that");
    expect(code).toBe(0);
    const [checked] = JSON.parse(inmesh(["check", "--json", mixed]).out).files;
    expect(checked.unchecked).toEqual(["proxy"]);
  });

  it("lists the services of a valid file", () => {
    const { code, out, err } = inmesh(["check", GOOD]);
    expect(err).toBe("");
    expect(out).toBe(
      [
        "valid  good.yaml: 2 services",
        "       orders  dns orders.shop.svc:8080, 1 route",
        "       users   static, 2 endpoints, 0 routes",
        "",
      ].join("\n"),
    );
    expect(code).toBe(0);
  });

  it("knows of a kind of the program when it is named, and says that it is not checked", () => {
    const own = file("own.yaml", "services:\n  orders: { discovery: { table: { nmae: a } } }\n");
    const unnamed = inmesh(["check", own]);
    expect(unnamed.code).toBe(1);
    expect(unnamed.out).toContain("services.orders.discovery.table");
    expect(unnamed.out.replaceAll(/\s+/g, " ")).toContain("createMesh({ discoveries })");
    const { code, out, err } = inmesh(["check", own, "--discovery", "table"]);
    expect(err).toBe("");
    expect(out).toBe("valid  own.yaml: 1 service\n       orders  table, not checked, 0 routes\n");
    expect(code).toBe(0);
    const taken = inmesh(["check", own, "--discovery", "dns"]);
    expect(taken.code).toBe(1);
    expect(taken.out).toContain("discoveries[0].name");
  });

  it("lists every mistake with its line, in the order of the file, within 80 columns", () => {
    const { code, out, err } = inmesh(["check", BAD]);
    expect(err).toBe("");
    expect(out).toBe(
      [
        "wrong  bad.yaml: 4 mistakes",
        "       line 3  services.orders.discovery.prot",
        '         is not known; did you mean "port"? (got 8080)',
        "       line 3  services.orders.discovery.port",
        "         must be written: { dns: orders.shop.svc, port: 8080 }",
        "       line 4  services.orders.retry.attemps",
        '         is not known; did you mean "attempts"? (got 3)',
        "       line 5  services.orders.timeouts.request",
        '         must be a duration with its unit, such as "500ms" or "1m30s" (a plain',
        "         number goes under requestMs) (got 5)",
        "",
      ].join("\n"),
    );
    expect(code).toBe(1);
  });

  it("checks several files, and fails if one is wrong", () => {
    const { code, out } = inmesh(["check", GOOD, BAD, "missing.yaml"]);
    expect(code).toBe(1);
    expect(out.match(/^(valid|wrong) {2}\S+/gm)).toEqual([
      "valid  good.yaml:",
      "wrong  bad.yaml:",
      "wrong  missing.yaml:",
    ]);
    expect(out).toContain("cannot be read (ENOENT)");
  });

  it("prints one JSON document for machines", () => {
    const { code, out } = inmesh(["check", "--json", GOOD, BAD]);
    expect(code).toBe(1);
    const { files } = JSON.parse(out) as { files: Record<string, unknown>[] };
    expect(JSON.parse(out)).toMatchObject({ apiVersion: "inmesh.dev/v1", kind: "FileChecks" });
    expect(files[0]).toEqual({
      file: "good.yaml",
      valid: true,
      services: [
        { name: "orders", discovery: "dns orders.shop.svc:8080", routes: 1 },
        { name: "users", discovery: "static, 2 endpoints", routes: 0 },
      ],
      mistakes: [],
      unchecked: [],
    });
    expect(files[1]).toMatchObject({ file: "bad.yaml", valid: false, services: [] });
    expect(files[1]!["mistakes"]).toContainEqual({
      path: "services.orders.retry.attemps",
      rule: 'is not known; did you mean "attempts"?',
      value: "3",
      origin: "file:bad.yaml",
      line: 4,
    });
  });

  it("names the line at which a file is no JSON, and quotes nothing of it", () => {
    const broken = file("broken.json", '{\n  "secret": "hunter2",\n}');
    const { code, out } = inmesh(["check", broken]);
    expect(code).toBe(1);
    expect(out).toMatch(/line 3 .*\n +is not JSON\n/);
    expect(out).not.toContain("hunter2");
  });

  it("reads the environment only when it is asked to", () => {
    const env = { INMESH_SERVICE_USERS: "not a url" };
    expect(inmesh(["check", GOOD], env).code).toBe(0);
    const { code, out } = inmesh(["check", GOOD, "--env"], env);
    expect(code).toBe(1);
    expect(out).toContain("env:INMESH_SERVICE_USERS");
    const named = inmesh(["check", "--env"], { INMESH_CONFIG: GOOD });
    expect(named.out).toMatch(/^valid {2}environment: 2 services/);
  });

  it("colours where colour is forced, and not where NO_COLOR is set", () => {
    expect(inmesh(["check", GOOD], { FORCE_COLOR: "1" }).out).toContain(
      "\u001b[32mvalid\u001b[39m",
    );
    expect(inmesh(["check", GOOD], { NO_COLOR: "1" }).out).not.toContain("\u001b");
  });

  it.each([
    [["check"], "Which file? For example: inmesh check mesh.yaml"],
    [["check", "--jsno", "x.yaml"], '--jsno is not known; did you mean "--json"?'],
    [["check", "-x"], "-x is not known; known here: --env, --discovery"],
    [["check", "--discovery"], "--discovery needs a value, <kind>"],
    [["check", "-", "-"], "The standard input can be read once, and - is written twice."],
    [["chek", "x.yaml"], 'The command "chek" is not known; did you mean "check"?'],
    [["constructor"], 'The command "constructor" is not known; known here: stat, routes'],
    [
      ["check", "--jsno", "--discovery", "--wait", "soon"],
      "--discovery needs a value, <kind>; one that begins with a dash is written --discovery=--wait",
    ],
    [
      ["check", "x.yaml", "--admin", "unix:/x"],
      "--admin is for the checks of a process, and files",
    ],
    [["check", "--json=yes", "x.yaml"], '--json takes no value (got "yes")'],
    [["version", "now"], '"now" is one argument too many'],
    [["explain"], "<target> is missing"],
    [["completion", "bsh"], '<shell> "bsh" is not known; did you mean "bash"?'],
    [["help", "chek"], 'The command "chek" is not known; did you mean "check"?'],
    [[], "Usage: inmesh <command> [options]"],
  ])("a wrong command %j gets a sentence, the usage and exit code 2", async (args, sentence) => {
    const { code, out, err } = await run(args);
    expect(code).toBe(2);
    expect(out).toBe("");
    expect(err).toContain(sentence);
    expect(err).toContain("Usage: inmesh");
  });

  it("names every mistake of a command line at once", async () => {
    const { code, err } = await run([
      "stat",
      "--jsno",
      "--window",
      "x",
      "--json=1",
      "--columns",
      "nme",
    ]);
    expect(code).toBe(2);
    expect(err.split("\n\n")[0]!.split("\n")).toEqual([
      '--window must be a duration with its unit, such as "500ms" or "1m30s" (got "x")',
      '--json takes no value (got "1")',
      '--jsno is not known; did you mean "--json"?',
    ]);
    const table = ["stat", "--columns", "nme,rps", "--sort", "p99:up", "--admin", "unix:/x"];
    expect((await run(table)).err.split("\n\n")[0]!.split("\n")).toEqual([
      '--columns "nme" is not known; did you mean "NAME"?',
      expect.stringContaining('--sort "p99" is not known; known here: NAME'),
    ]);
  });

  it("explains itself on stdout", () => {
    expect(inmesh(["--help"])).toMatchObject({ code: 0, err: "" });
    expect(inmesh(["help"])).toEqual(inmesh(["--help"]));
    const { code, out } = inmesh(["check", "--help"]);
    expect(code).toBe(0);
    expect(out).toContain("Exit codes: 0 ok, 1 a check failed");
    expect(inmesh(["help", "check"])).toEqual({ code, out, err: "" });
  });

  it("prints the version of its package, and needs the Node that the package needs", () => {
    const text = readFileSync(join(import.meta.dirname, "../package.json"), "utf8");
    const { version, engines } = JSON.parse(text) as { version: string; engines: { node: string } };
    expect(engines.node).toBe(`>=${OLDEST_NODE.join(".")}`);
    for (const option of ["--version", "-v"]) {
      expect(inmesh([option])).toEqual({ code: 0, out: `${version}\n`, err: "" });
    }
  });

  it("checks its standard input, as YAML or JSON, beside files, and leaves nothing behind", () => {
    const env = { TMPDIR: mkdtempSync(join(folder, "tmp-")) };
    const yaml = "services:\n  orders: { url: http://a.b, retry: { attemps: 3 } }\n";
    const { code, out } = inmesh(["check", GOOD, "-"], env, yaml);
    expect(code).toBe(1);
    expect(out).toContain(
      'wrong  standard input: 1 mistake\n       line 2  services.orders.retry.attemps\n         is not known; did you mean "attempts"?',
    );
    const json = inmesh(["check", "--json", "-"], env, '{ "services": { "a": {} } }');
    const { files } = JSON.parse(json.out) as { files: Record<string, unknown>[] };
    expect(files).toMatchObject([
      { file: "standard input", mistakes: [{ path: "services.a", line: 1 }] },
    ]);
    expect(inmesh(["check", "-"], env, "").out).toMatch(/standard input {2}.*\n +is empty/);
    expect(readdirSync(env.TMPDIR)).toEqual([]);
  });

  it("reads no more of its standard input than a configuration may have", () => {
    const { PATH = "" } = process.env;
    const line = `yes '#' | node --disable-warning=ExperimentalWarning --conditions=inmesh-source ${PROGRAM} check -`;
    const child = spawnSync("sh", ["-c", line], { cwd: folder, encoding: "utf8", env: { PATH } });
    expect([child.status, child.stderr]).toEqual([1, ""]);
    expect(child.stdout).toContain("must be at most 4 MiB");
  });

  it("waits for a pipe that is written to later", () => {
    const { PATH = "" } = process.env;
    const line = `(sleep 2; cat ${GOOD}) | node --disable-warning=ExperimentalWarning --conditions=inmesh-source ${PROGRAM} check -`;
    const child = spawnSync("sh", ["-c", line], { cwd: folder, encoding: "utf8", env: { PATH } });
    expect(child.stderr).toBe("");
    expect(child.stdout).toMatch(/^valid {2}standard input: 2 services/);
  });

  it("ends at once on a signal while it waits for its standard input", async () => {
    const node = ["--disable-warning=ExperimentalWarning", "--conditions=inmesh-source", PROGRAM];
    const { PATH = "" } = process.env;
    const TMPDIR = mkdtempSync(join(folder, "tmp-"));
    const env = { PATH, TMPDIR };
    const child = spawn(process.execPath, [...node, "check", "-"], { cwd: folder, env });
    // More than a pipe holds: it reads when all has gone into it.
    await new Promise((resolve) => child.stdin.write(Buffer.alloc(1_000_000, "#\n"), resolve));
    child.kill("SIGINT");
    const ended = new Promise((resolve) => child.on("exit", (_code, signal) => resolve(signal)));
    expect(await ended).toBe("SIGINT");
    expect(readdirSync(TMPDIR)).toEqual([]);
  });
});
