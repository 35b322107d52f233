/** The program as it is started, against a real process with a real mesh: pipes, terminals, signals and sockets. */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";

const NODE = ["--disable-warning=ExperimentalWarning", "--conditions=inmesh-source"];
const PROGRAM: string = join(import.meta.dirname, "../src/cli/run.ts");
const OBSERVED: string = join(import.meta.dirname, "fixtures/observed.ts");
const folder: string = mkdtempSync(join(tmpdir(), "inmesh-cli-process-"));
const socketPath: string = join(folder, "mesh.sock");

/** A module that makes the program fail inside, some time after it has begun to draw. */
const DEFECT: string = join(folder, "defect.mjs");
writeFileSync(
  DEFECT,
  `const { toSorted } = Array.prototype;
   let left = 8;
   Array.prototype.toSorted = function (...args) {
     if (new Error().stack.includes("/table.ts") && --left === 0) throw new TypeError("on purpose");
     return toSorted.apply(this, args);
   };`,
);

let observed: ChildProcess;
let url = "";
let token = "";

beforeAll(async () => {
  observed = spawn(process.execPath, [...NODE, OBSERVED, socketPath], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  let text = "";
  for await (const piece of observed.stdout! as AsyncIterable<Buffer>) {
    text += piece.toString();
    if (text.includes("\n")) break;
  }
  ({ url, token } = JSON.parse(text) as { url: string; token: string });
}, 60_000);
afterAll(() => {
  observed.stdin!.end();
  observed.kill();
  rmSync(folder, { recursive: true });
});

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function env(more: Readonly<Record<string, string>> = {}): Record<string, string> {
  const { PATH = "" } = process.env;
  return {
    PATH,
    LANG: "C.UTF-8",
    TERM: "xterm",
    INMESH_ADMIN: url,
    INMESH_ADMIN_TOKEN: token,
    ...more,
  };
}

function start(
  command: string,
  args: readonly string[],
  more?: Record<string, string>,
): ChildProcess {
  return spawn(command, args, { env: env(more), stdio: "pipe" });
}

async function ended(child: ChildProcess): Promise<Ran> {
  let [out, err] = ["", ""];
  child.stdout!.on("data", (piece: Buffer) => (out += piece.toString()));
  child.stderr!.on("data", (piece: Buffer) => (err += piece.toString()));
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
  return { code, out, err };
}

function inmesh(args: readonly string[], more?: Record<string, string>): Promise<Ran> {
  return ended(start(process.execPath, [...NODE, PROGRAM, ...args], more));
}

const quoted = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`;
const LINE: string = [process.execPath, ...NODE, PROGRAM].map(quoted).join(" ");

/** In a terminal of its own, of 80 columns and 24 rows. The program takes the place of the shell, whose id is printed. */
function inTerminal(args: string, more?: Record<string, string>): ChildProcess {
  const line = `stty cols 80 rows 24; echo pid $$; exec ${LINE} ${args}`;
  return start("script", ["-qec", line, "/dev/null"], more);
}

it("stat has the services that were called and the server that runs", async () => {
  const { code, out, err } = await inmesh(["stat", "--json"]);
  expect(err).toBe("");
  expect(code).toBe(0);
  const { items } = JSON.parse(out) as { items: Record<string, unknown>[] };
  expect(items).toMatchObject([
    {
      name: "orders",
      direction: "out",
      successRatio: 1,
      attemptsPerCall: 1,
      endpoints: 2,
      tls: false,
    },
    { name: "pay", direction: "out", successRatio: 0 },
    { name: "storefront", direction: "in", successRatio: 1 },
  ]);
  for (const row of items) {
    expect(row["perSecond"]).toBeGreaterThan(0);
    expect(row["p50Ms"]).toBeGreaterThan(0);
    expect(row["p99Ms"]).toBeGreaterThanOrEqual(row["p50Ms"] as number);
  }
});

it("every table is printed by way of the socket", async () => {
  const admin = { INMESH_ADMIN: `unix:${socketPath}` };
  const routes = await inmesh(["routes", "orders"], admin);
  expect(routes.out).toMatch(/^read +orders +100\.00% +[\d.]+rps +100\.00%/m);
  const endpoints = await inmesh(["endpoints", "--window", "200ms"], admin);
  expect(endpoints.out.match(/^127\.0\.0\.1 +\d+ +orders +available/gm)).toHaveLength(2);
  const config = await inmesh(["config", "orders", "--all"], admin);
  expect(config.out).toMatch(/^services\.orders\.retry\.attempts +2 +code +code$/m);
  expect(config.out).toMatch(/ default +default$/m);
  const version = await inmesh(["version"], admin);
  expect(version.out).toContain(`pid ${observed.pid} on `);
  const check = await inmesh(["check"], admin);
  expect(check.out).toMatch(/^Status: \d+ failed, \d+ warnings?$/m);
});

it("explain finds the route by path and header, and says why not the other", async () => {
  const { code, out } = await inmesh([
    "explain",
    "GET",
    "http://orders/v1/orders/42",
    "-H",
    "x-user: 7",
  ]);
  expect(code).toBe(0);
  expect(out).toMatch(/^route +read$/m);
  expect(out).toMatch(/^ +gold +not: header x-tier is absent$/m);
  expect(out.match(/127\.0\.0\.1:\d+ .* in flight/g)).toHaveLength(2);
  expect((await inmesh(["explain", "orders/x", "-H", "x-tier: gold"])).out).toMatch(
    /^route +gold$/m,
  );
  const unknown = await inmesh(["explain", "http://ordres/"]);
  expect(unknown.code).toBe(2);
  expect(unknown.err).toContain("orders");
});

it("a wrong token and none at all are denied", async () => {
  const wrong = await inmesh(["stat"], { INMESH_ADMIN_TOKEN: "wrong" });
  expect(wrong).toMatchObject({ code: 4, out: "" });
  expect(wrong.err).toContain("token_wrong");
  const none = await inmesh(["stat"], { INMESH_ADMIN_TOKEN: "" });
  expect(none).toMatchObject({ code: 4 });
  expect(none.err).toContain("token_missing");
});

it("a reader that has enough ends the program quietly", async () => {
  const line = `${LINE} stat -w --window 50ms -o jsonl | head -n 2; echo "\${PIPESTATUS[0]}"`;
  const { out, err } = await ended(start("bash", ["--norc", "-c", line]));
  expect(err).toBe("");
  expect(out.trim().split("\n")).toHaveLength(3);
  expect(out.trim().split("\n")[2]).toBe("0");
});

it.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)("%s ends -w with 130", async (signal) => {
  const child = start(process.execPath, [...NODE, PROGRAM, "stat", "-w", "--window", "100ms"]);
  child.stdout!.once("data", () => child.kill(signal));
  const { code, err } = await ended(child);
  expect(code).toBe(130);
  expect(err).not.toContain("Error");
});

const UP = new RegExp(String.raw`\u001b\[\d+A\r`);
const RED = new RegExp(String.raw`\u001b\[31m +0\.00%\u001b\[39m`);

it("a terminal gets the table in place, within its columns, and colours", async () => {
  const child = inTerminal("stat -w --window 200ms");
  let text = "";
  child.stdout!.on("data", (piece: Buffer) => (text += piece.toString()));
  // Up by as many lines as were drawn: the table, its head and its notes.
  const drawnOver = (): boolean => UP.test(text);
  await expect.poll(drawnOver, { timeout: 20_000 }).toBe(true);
  child.stdin!.write("\u0003");
  const code = await new Promise((resolve) => child.on("close", resolve));
  expect(code).toBe(130);
  expect(text).toContain("\u001b[1mNAME");
  expect(text).toMatch(RED);
  // oxlint-disable-next-line no-control-regex
  const lines = text.replaceAll(/\u001b\[\d*[A-Za-z]/g, "").split(/\r?\n/);
  for (const line of lines) expect(line.replaceAll("\r", "").length, line).toBeLessThanOrEqual(80);
});

it.each([
  [{ NO_COLOR: "1" }, ""],
  [{ TERM: "dumb" }, ""],
  [{}, "--no-color"],
])("a terminal gets no escape sequence with %j %s", async (more, flag) => {
  const { out } = await ended(inTerminal(`stat ${flag}`, more as Record<string, string>));
  expect(out).toContain("storefront");
  expect(out).not.toContain("\u001b");
});

it("tap shows calls and requests as they end, and ends by its limit", async () => {
  const lines = await inmesh(["tap", "--limit", "6"]);
  expect(lines).toMatchObject({ code: 0, err: "" });
  expect(lines.out).toMatch(
    /^[\d:.]+ out 200 +[\d.]+ms 1x orders\/read +127\.0\.0\.1:\d+ +GET \/v1\/orders\/42$/m,
  );
  expect(lines.out).toMatch(
    /^[\d:.]+ in  200 +[\d.]+ms +storefront +127\.0\.0\.1:\d+ +GET \/buy$/m,
  );
  const failed = await inmesh(["tap", "pay", "--status", "5xx", "--attempts", "--limit", "1"]);
  expect(failed.out).toMatch(/500 .* pay .* POST \/v1\/pay failure$/m);
  expect(failed.out).toMatch(/^ {4}#1 first 127\.0\.0\.1:\d+ 500 failure \(picked at /m);
  const json = await inmesh(["tap", "--direction", "inbound", "--limit", "1", "--json"]);
  expect(JSON.parse(json.out)).toMatchObject({ version: 1, event: "call", service: "storefront" });
  const none = await inmesh([
    "tap",
    "-H",
    "x-user: 8",
    "--limit",
    "1",
    "--path",
    "/v1",
    "--admin",
    url,
    "--token",
    "x",
  ]);
  expect(none.code).toBe(4);
});

it("tap by a header finds the calls that have it, and shows the head without secrets", async () => {
  const { code, out } = await inmesh(["tap", "-H", "X-User: 7", "--headers", "--limit", "1"]);
  expect(code).toBe(0);
  expect(out).toContain("    x-user: 7\n");
  expect(out).toContain("    authorization: [redacted]\n");
});

it("top is plain lines in a pipe, and a table for programs", async () => {
  const { code, out } = await inmesh(["top", "--for", "1s"]);
  expect(code).toBe(0);
  expect(out).toMatch(/^\d+ calls in [\d.]+s; by count, largest first$/m);
  expect(out).toMatch(/^self +orders +GET +\/v1\/orders\/42 +\d+ /m);
  expect(out).toMatch(/^127\.0\.0\.1 +storefront +GET +\/buy +\d+ /m);
  expect(out).not.toContain("\u001b");
});

const ENTER = "\u001b[?1049h";
const LEAVE = "\u001b[?25h\u001b[?1049l";

it.each([
  ["q", 0],
  ["\u0003", 130],
  ["SIGTERM", 130],
  ["SIGHUP", 130],
] as const)("top takes the whole terminal, and gives it back after %j", async (how, exit) => {
  const child = inTerminal("top --every 200ms");
  let text = "";
  child.stdout!.on("data", (piece: Buffer) => (text += piece.toString()));
  const end = new Promise((resolve) => child.on("close", resolve));
  await expect.poll(() => text, { timeout: 20_000 }).toContain("/v1/orders/42");
  const drawn = text.split(ENTER)[1]!;
  expect(drawn).toContain("q ends, s sorts, c clears");
  if (how.startsWith("SIG"))
    process.kill(Number(/pid (\d+)/.exec(text)![1]), how as NodeJS.Signals);
  else child.stdin!.write(how);
  expect(await end).toBe(exit);
  expect(text.split(ENTER)).toHaveLength(2);
  expect(text.trimEnd().endsWith(LEAVE)).toBe(true);
});

it("a defect while the whole terminal is taken gives it back", async () => {
  const child = inTerminal("top --every 200ms", { NODE_OPTIONS: `--import=${DEFECT}` });
  const { code, out } = await ended(child);
  expect(code).toBe(70);
  expect(out).toContain(ENTER);
  expect(out.indexOf(LEAVE)).toBeGreaterThan(out.indexOf(ENTER));
  expect(out.slice(out.indexOf(LEAVE))).toMatch(
    /This is a defect of inmesh.*\s+TypeError: on purpose\s+at /,
  );
});

it("Ctrl-Z in a terminal without a shell that could stop it changes nothing", async () => {
  const child = inTerminal("top --every 200ms");
  let text = "";
  child.stdout!.on("data", (piece: Buffer) => (text += piece.toString()));
  const end = new Promise((resolve) => child.on("close", resolve));
  await expect.poll(() => text, { timeout: 20_000 }).toContain("/v1/orders/42");
  child.stdin!.write("\u001a");
  const afterwards = (): string => text.slice(text.indexOf(LEAVE));
  await expect
    .poll(afterwards, { timeout: 20_000 })
    .toMatch(/\/v1\/orders\/42[^]*\/v1\/orders\/42/);
  expect(afterwards()).toContain(ENTER);
  child.stdin!.write("q");
  expect(await end).toBe(0);
});
