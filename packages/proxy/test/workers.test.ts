/** `--workers`: several processes that look like one, to clients, to operators, and to what starts and ends it. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { About, Checks, Endpoints, Services } from "@inmesh/core/inspect";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { freePort } from "../../../scripts/free-port.ts";
import { listening } from "./support/net.ts";
import { Program } from "./support/program.ts";

// Four processes and more start in each of these tests, which takes a busy machine long.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });
const POLL = { timeout: 60_000, interval: 100 };
const TOKEN = "0123456789abcdef0123456789abcdef";
const INMESH = join(import.meta.dirname, "../../inmesh/src/cli/run.ts");

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "mesh-proxy-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

async function application(serve: RequestListener): Promise<string> {
  const server = createServer(serve);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

interface Answered {
  readonly status: number;
  readonly body: string;
}

interface Asked {
  readonly headers?: Readonly<Record<string, string>>;
  readonly method?: string;
  readonly body?: string;
}

/** On a connection of its own, so that any worker may get it. */
function ask(
  port: number,
  path: string,
  { headers = {}, method = "GET", body }: Asked = {},
): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const sent = request(
      { port, host: "127.0.0.1", path, headers, method, agent: false },
      (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
        response.on("end", () => resolve({ status: response.statusCode!, body: text }));
        response.on("error", reject);
      },
    );
    sent.on("error", reject);
    sent.end(body);
  });
}

class Crew {
  readonly port: number;
  readonly admin: number;
  readonly program: Program;

  static async start(
    args: readonly string[] | ((port: number) => readonly string[]),
    workers = 3,
  ): Promise<Crew> {
    const [port, admin] = [await freePort(), await freePort()];
    const given = typeof args === "function" ? args(port) : args;
    const crew = new Crew(port, admin, given, workers);
    await crew.program.until(({ stderr }) => stderr.includes("\n  admin "), "all workers");
    return crew;
  }

  private constructor(port: number, admin: number, args: readonly string[], workers: number) {
    this.port = port;
    this.admin = admin;
    const file = join(folder(), "token");
    writeFileSync(file, TOKEN);
    this.program = new Program(
      [
        ...args,
        "--workers",
        String(workers),
        "--admin",
        `127.0.0.1:${admin}`,
        "--admin-token-file",
        file,
        "--metrics-open",
      ],
      // A group of its own, as a terminal and systemd make one.
      { detached: true },
    );
  }

  async api<A>(path: string, asked: Asked = {}): Promise<A> {
    const headers = { authorization: `Bearer ${TOKEN}`, ...asked.headers };
    const { status, body } = await ask(this.admin, `/api/v1/${path}`, { ...asked, headers });
    expect(status, body).toBe(200);
    return JSON.parse(body) as A;
  }

  async ready(): Promise<string> {
    const { status, body } = await ask(this.admin, "/readyz");
    return `${status} ${body.trim()}`;
  }

  /** Sum of the samples of that name that have all of these labels. */
  async metric(name: string, ...labels: readonly string[]): Promise<number> {
    const { body } = await ask(this.admin, "/metrics");
    return body
      .split("\n")
      .filter((line) => line.startsWith(name) && labels.every((label) => line.includes(label)))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
  }

  calls(): Promise<number> {
    return this.metric("inmesh_calls_total{", 'inmesh_direction="outbound"');
  }

  async pids(): Promise<number[]> {
    const { workers } = await this.api<About>("about");
    return workers!.map(({ pid }) => pid!);
  }

  async send(count: number): Promise<string[]> {
    const replies = await Promise.all(Array.from({ length: count }, () => ask(this.port, "/x")));
    return replies.map(({ body }) => body);
  }
}

const toOrders = (address: string) => (port: number) => [
  "--listen",
  `127.0.0.1:${port}=orders`,
  "--to",
  `orders=${address}`,
];

/** `inmesh` as a process. */
function inmesh(admin: number, ...args: readonly string[]): Promise<string> {
  const target = ["--admin", `http://127.0.0.1:${admin}`, "--token", TOKEN];
  const child = spawn(
    process.execPath,
    ["--conditions=inmesh-source", INMESH, ...args, ...target],
    {
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, NO_COLOR: "1", COLUMNS: "200" },
    },
  );
  onTestFinished(() => void child.kill("SIGKILL"));
  return new Promise((resolve) => {
    let out = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => (out += chunk));
    child.once("close", () => resolve(out));
  });
}

describe("workers", () => {
  it("are shown as one by the API, the page of metrics and the commands", async () => {
    const one = await application((_, response) => response.end("one"));
    const two = await application((_, response) => response.end("two"));
    const crew = await Crew.start(toOrders(`${one},${two}`));
    expect(await crew.ready()).toBe("200 ok");
    const about = await crew.api<About>("about");
    expect(about.process.pid).toBe(crew.program.child.pid);
    expect(about.workers).toMatchObject([
      { number: 1, state: "serving", restarts: 0 },
      { number: 2, state: "serving" },
      { number: 3, state: "serving" },
    ]);
    await crew.send(60);
    // How many of them counted something: each connection comes to one of them.
    const { body } = await ask(crew.admin, "/metrics");
    expect(body).toContain('inmesh_workers{inmesh_state="serving"} 3');
    expect(body.match(/^# TYPE inmesh_calls_total /gm)).toHaveLength(1);
    await expect.poll(() => crew.calls(), POLL).toBe(60);
    expect(await crew.metric("inmesh_call_duration_seconds_count", 'direction="outbound"')).toBe(
      60,
    );
    expect(await crew.metric("inmesh_discovery_endpoints{")).toBe(2);
    const { services, servers } = await crew.api<Services>("services");
    expect(services).toMatchObject([
      { name: "orders", traffic: { calls: { total: 60, success: 60 } } },
    ]);
    expect(servers).toMatchObject([{ name: "outbound-orders", calls: { total: 60 } }]);
    const { endpoints } = await crew.api<Endpoints>("endpoints");
    expect(endpoints.map(({ address }) => address).toSorted()).toEqual([one, two].toSorted());
    expect(endpoints.reduce((sum, { picks }) => sum + picks, 0)).toBe(60);
    expect(endpoints.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1);
    const { checks } = await crew.api<Checks>("checks");
    expect(checks[0]).toMatchObject({ id: "workers-serving", status: "ok" });
    expect(await inmesh(crew.admin, "stat")).toMatch(/^orders +out +2\/2 +100\.00%/m);
    expect(await inmesh(crew.admin, "endpoints")).toMatch(/^127\.0\.0\.1 .* orders +available/m);
    const explained = await inmesh(crew.admin, "explain", "http://orders/x");
    expect(explained).toContain(one);
    // One that asks of what no worker knows gets their answer.
    const missing = await ask(crew.admin, "/api/v1/explain", {
      method: "POST",
      headers: { authorization: `Bearer ${TOKEN}`, "content-type": "application/json" },
      body: JSON.stringify({ service: "nothing" }),
    });
    expect([missing.status, JSON.parse(missing.body)]).toMatchObject([
      404,
      { code: "unknown_service" },
    ]);
    // What is changed is changed in all of them.
    const asked = { method: "PUT", headers: { "content-type": "application/json" } };
    await crew.api("log-level", { ...asked, body: '{"level":"warn","forMs":60000}' });
    await crew.program.until(
      ({ stderr }) => stderr.split("the log level is warn").length === 4,
      "a line of each worker",
    );
    expect(await crew.api("log-level")).toMatchObject({ level: "warn" });
    await crew.api("log-level", { method: "DELETE" });

    // Tapped together, also those that start later, within what the reader asks for.
    const [first] = await crew.pids();
    const tap = inmesh(crew.admin, "tap", "--direction", "outbound", "--limit", "90", "-o", "json");
    await expect.poll(() => crew.metric("inmesh_tap_subscribers"), POLL).toBe(1);
    process.kill(first!, "SIGKILL");
    await expect
      .poll(async () => (await crew.api<About>("about")).workers![0], POLL)
      .toMatchObject({ state: "serving", restarts: 1 });
    await expect.poll(() => crew.metric("inmesh_tap_events"), POLL).toBe(0);
    // More than are asked for; each worker gets some of them.
    await crew.send(100);
    const events = (await tap)
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { worker: number });
    expect(events).toHaveLength(90);
    expect(new Set(events.map(({ worker }) => worker))).toEqual(new Set([1, 2, 3]));
    await expect.poll(() => crew.metric("inmesh_tap_subscribers"), POLL).toBe(0);
    const top = inmesh(crew.admin, "top", "--direction", "outbound", "--for", "3s");
    await expect.poll(() => crew.metric("inmesh_tap_subscribers"), POLL).toBe(1);
    await crew.send(30);
    expect(await top).toMatch(/ GET +\/x +30 /);
  });

  it("are replaced when one ends, and nothing that was counted is lost", async () => {
    const address = await application((_, response) => response.end("hello"));
    const crew = await Crew.start((port) => [...toOrders(address)(port), "--drain-grace", "500ms"]);
    await crew.send(60);
    await expect.poll(() => crew.calls(), POLL).toBe(60);
    const before = await crew.pids();
    const { instance } = await crew.api<Services>("services");
    process.kill(before[1]!, "SIGKILL");
    // It is asked, and ends in the place of an answer.
    expect(await Promise.all([crew.ready(), crew.ready()])).toEqual(["200 ok", "200 ok"]);
    await crew.program.until(({ stderr }) =>
      stderr.includes("worker 2 ended (SIGKILL); another one starts in 1000 ms"),
    );
    // The others serve, so the whole is ready, and the counts go on from where they were.
    expect(await crew.ready()).toBe("200 ok");
    expect(await crew.calls()).toBe(60);
    expect(new Set(await crew.send(30))).toEqual(new Set(["hello"]));
    await expect.poll(() => crew.metric("inmesh_workers{", '"serving"'), POLL).toBe(3);
    await crew.send(30);
    await expect.poll(() => crew.calls(), POLL).toBe(120);
    expect(await crew.metric("inmesh_workers_ended_total")).toBe(1);
    const after = await crew.pids();
    expect([after[0], after[2]]).toEqual([before[0], before[2]]);
    expect(after[1]).not.toBe(before[1]);
    // Readers of counts begin anew, as with a process that was restarted.
    const services = await crew.api<Services>("services");
    expect(services.instance).not.toBe(instance);
    expect(services.services[0]!.traffic!.calls.total).toBeLessThan(120);
    // No process stays that has ended.
    expect(() => process.kill(before[1]!, 0)).toThrow("ESRCH");

    // Those that do not answer are said, and hold nothing up.
    const [, second] = after;
    process.kill(second!, "SIGSTOP");
    onTestFinished(() => {
      try {
        process.kill(second!, "SIGKILL");
      } catch {
        // It has ended.
      }
    });
    expect(await crew.ready()).toBe("503 no answer");
    expect(await crew.calls()).toBe(120);
    const { workers } = await crew.api<About>("about");
    expect(workers!.map(({ state }) => state)).toEqual(["serving", "silent", "serving"]);
    process.kill(second!, "SIGCONT");
    await expect.poll(() => crew.ready(), POLL).toBe("200 ok");
    expect(await crew.calls()).toBe(120);
    // One that does not answer when all are to leave is ended when its time is over.
    process.kill(second!, "SIGSTOP");
    expect(await crew.program.kill("SIGINT").ended).toEqual({ code: 0, signal: null });
    expect(() => process.kill(second!, 0)).toThrow("ESRCH");
  });

  it("all follow a changed file, and the process that started them", async () => {
    const one = await application((_, response) => response.end("one"));
    const two = await application((_, response) => response.end("two"));
    const file = join(folder(), "mesh.json");
    const write = (address: string, port: number): void => {
      const services = { orders: { discovery: { static: [address] } } };
      const listeners = { in: { listen: `127.0.0.1:${port}`, service: "orders" } };
      writeFileSync(`${file}.new`, JSON.stringify({ services, proxy: { listeners } }));
      renameSync(`${file}.new`, file);
    };
    const crew = await Crew.start((port) => (write(one, port), ["--config", file]), 2);
    expect(new Set(await crew.send(30))).toEqual(new Set(["one"]));
    write(two, crew.port);
    await expect.poll(async () => [...new Set(await crew.send(30))], POLL).toEqual(["two"]);
    await expect
      .poll(async () => (await crew.api<About>("about")).configVersion, POLL)
      .toBeGreaterThan(1);
    writeFileSync(file, "{");
    await expect.poll(() => crew.api("config"), POLL).toMatchObject({ state: "refused" });
    expect(new Set(await crew.send(30))).toEqual(new Set(["two"]));

    // Without the process that started them they leave too.
    const pids = await crew.pids();
    crew.program.kill("SIGKILL");
    await expect
      .poll(() => pids.filter((pid) => readOr(`/proc/${pid}/stat`, "") !== ""), POLL)
      .toEqual([]);
  });
});

describe("the end of workers", () => {
  const slow = async (): Promise<{ readonly address: string; readonly release: () => void }> => {
    const waiting: (() => void)[] = [];
    const address = await application(
      (_, response) => void waiting.push(() => response.end("late")),
    );
    return { address, release: () => waiting.splice(0).forEach((one) => one()) };
  };

  it("L3 PT: drains all of them, also when a terminal signals each of them beside", async () => {
    const { address, release } = await slow();
    const crew = await Crew.start(
      (port) => [...toOrders(address)(port), "--drain-grace", "60s"],
      2,
    );
    const replies = crew.send(12);
    await expect.poll(() => crew.metric("inmesh_call_active{", '"outbound"'), POLL).toBe(12);
    process.kill(-crew.program.child.pid!, "SIGINT");
    await expect.poll(() => crew.ready(), POLL).not.toBe("200 ok");
    await expect
      .poll(() => ask(crew.port, "/x").catch(({ code }) => code as string), POLL)
      .toBe("ECONNREFUSED");
    release();
    expect(await replies).toEqual(Array.from({ length: 12 }, () => "late"));
    expect(await crew.program.ended).toEqual({ code: 0, signal: null });
  });

  it("L2 PT: comes at once with the second signal", async () => {
    const { address } = await slow();
    const crew = await Crew.start(
      (port) => [...toOrders(address)(port), "--drain-grace", "60s"],
      2,
    );
    const pids = await crew.pids();
    const replies = crew.send(3).catch(() => {});
    await expect.poll(() => crew.metric("inmesh_call_active{", '"outbound"'), POLL).toBe(3);
    crew.program.kill();
    await expect.poll(() => crew.ready(), POLL).toBe("503 draining");
    expect(await crew.program.kill().ended).toEqual({ code: 130, signal: null });
    for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow("ESRCH");
    await replies;
  });

  it("says once what keeps the first of them from serving, with its exit code", async () => {
    const taken = await listening(() => {});
    const program = new Program([
      "--listen",
      `127.0.0.1:${taken.port}=db`,
      "--to",
      "db=127.0.0.1:1",
      "--workers",
      "3",
    ]);
    expect(await program.ended).toEqual({ code: 6, signal: null });
    expect(program.stderr.split("is in use (EADDRINUSE)")).toHaveLength(2);
    const file = join(folder(), "mesh.json");
    const listeners = { a: { listen: `unix:${join(folder(), "sock")}`, service: "db" } };
    const services = { db: { discovery: { static: ["127.0.0.1:1"] } } };
    writeFileSync(file, JSON.stringify({ services, proxy: { listeners } }));
    const other = new Program(["--config", file, "--workers", "2"]);
    expect(await other.ended).toEqual({ code: 2, signal: null });
    expect(other.stderr).toContain("a: --workers share a port");
  });

  it("is that of the command when the admin address is in use", async () => {
    const taken = await listening(() => {});
    const program = new Program([
      "--listen",
      `127.0.0.1:${await freePort()}=db`,
      "--to",
      "db=127.0.0.1:1",
      "--workers",
      "2",
      "--admin",
      `127.0.0.1:${taken.port}`,
    ]);
    expect(await program.ended).toEqual({ code: 6, signal: null });
    expect(program.stderr).toContain("--admin: ");
  });
});

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return otherwise;
  }
}
