/** What goes wrong between the command line and a process: each has its exit code, its reason, and what to do. */
import { createServer, type RequestListener } from "node:http";
import { createServer as createTcpServer, type AddressInfo, type Server } from "node:net";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { EXIT } from "../src/cli/failure.ts";
import {
  CHECKS,
  ENDPOINTS,
  EXPLANATION,
  SERVICES,
  SERVICES_LATER,
  TAPPED,
} from "./admin-answers.ts";
import { fakeAdmin, run, type Answers, type FakeAdmin } from "./fake-admin.ts";

// "Did you mean" is core's, and is loaded for a mistake: on a busy machine the first one takes longer than a test may.
beforeAll(() => import("@inmesh/core/spi/transport"), 120_000);

const folder: string = mkdtempSync(join(tmpdir(), "inmesh-cli-admin-"));
afterAll(() => rmSync(folder, { recursive: true }));
const open: (Server | FakeAdmin["server"])[] = [];
afterEach(() => {
  for (const server of open.splice(0)) {
    if ("closeAllConnections" in server) server.closeAllConnections();
    server.close();
  }
});

async function admin(answers: Answers | RequestListener): Promise<FakeAdmin> {
  const made = await fakeAdmin(answers);
  open.push(made.server);
  return made;
}

async function replying(status: number, body: unknown): Promise<string> {
  const { url } = await admin((_request, response) => {
    response.writeHead(status).end(typeof body === "string" ? body : JSON.stringify(body));
  });
  return url;
}

const error = (code: string, message: string, hint: string): object => ({
  apiVersion: "inmesh.dev/v1",
  kind: "Error",
  code,
  message,
  hint,
});

describe("a process that cannot be asked", () => {
  it("does not listen", async () => {
    const server = createTcpServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    const url = `http://127.0.0.1:${port}`;
    const { code, out, err } = await run(["stat", "--admin", url]);
    expect(code).toBe(EXIT.unreachable);
    expect(out).toBe("");
    expect(err).toBe(
      `${url} cannot be reached.\n  why   nothing listens there\n  next  Is the process running, and does it call mesh.admin.listen()?\n`,
    );
  });

  it("has no such socket", async () => {
    const { code, err } = await run(["stat", "--admin", `unix:${folder}/none.sock`]);
    expect(code).toBe(EXIT.unreachable);
    expect(err).toContain("there is no such socket");
  });

  it("does not answer in time", async () => {
    const server = createTcpServer(() => {});
    await new Promise<void>((resolve) => server.listen(join(folder, "mute.sock"), resolve));
    open.push(server);
    const { code, err } = await run([
      "stat",
      "--admin",
      `unix:${folder}/mute.sock`,
      "--timeout",
      "50ms",
    ]);
    expect(code).toBe(EXIT.timeout);
    expect(err).toContain("has not answered within 50ms");
    expect(err).toContain("--timeout");
  });

  it("begins an answer and does not end it", async () => {
    const { url } = await admin((_request, response) => void response.writeHead(200).write("{"));
    const { code, err } = await run(["stat", "--admin", url, "--timeout", "100ms"]);
    expect(code).toBe(EXIT.timeout);
    expect(err).toContain("has not answered within 100ms");
  });

  it("cuts its answer", async () => {
    const { url } = await admin((_request, response) => {
      response.writeHead(200, { "content-length": "100" }).write("{");
      setTimeout(() => response.destroy(), 20);
    });
    const { code, err } = await run(["stat", "--admin", url]);
    expect(code).toBe(EXIT.unreachable);
    expect(err).toContain("the connection was cut");
  });

  it.each([
    [200, "<html>", "it replied with status 200 and something else"],
    [404, { message: "no" }, "it replied with status 404 and something else"],
    [
      200,
      { ...SERVICES, apiVersion: "inmesh.dev/v2\u001b" },
      String.raw`it speaks inmesh.dev/v2\u{1b}, and this program inmesh.dev/v1`,
    ],
    [200, ENDPOINTS, "it replied with status 200 and Endpoints"],
    [500, SERVICES, "it replied with status 500 and Services"],
    [200, null, "something else"],
    [200, { ...SERVICES, servers: {} }, "its Services have no list servers"],
  ])("answers %i with something else: %#", async (status, body, reason) => {
    const { code, err } = await run(["stat", "--admin", await replying(status, body)]);
    expect(code).toBe(EXIT.unreachable);
    expect(err).toContain("does not answer as the administration of an inmesh process");
    expect(err).toContain(reason);
  });

  it.each([
    ["null in the place of a service", "stat", { ...SERVICES, services: [null] }],
    ["a service without its numbers", "stat", { ...SERVICES, services: [{ name: "x" }] }],
    [
      "a number for a list",
      "stat",
      { ...SERVICES, services: [{ ...SERVICES.services[0], notes: 5 }] },
    ],
    ["a check without a text", "check", { ...CHECKS, checks: [{ status: "failure" }] }],
  ])("answers with %s: said as a fault of the answer", async (_, command, body) => {
    const { code, err } = await run([command, "--admin", await replying(200, body)]);
    expect(code).toBe(EXIT.unreachable);
    expect(err).toContain("answers otherwise than this program expects");
    expect(err).toContain("another version of inmesh");
  });

  it("answers with JSON that is deeper than a program can print", async () => {
    const { url } = await admin((_request, response) => {
      const deep = "[".repeat(200_000) + "]".repeat(200_000);
      response.end(`{"more":${deep},${JSON.stringify(CHECKS).slice(1)}`);
    });
    const { code, err } = await run(["check", "--json", "--admin", url]);
    expect(code).toBe(EXIT.unreachable);
    expect(err).toContain("answers otherwise than this program expects");
  });

  it("refuses with what is no text", async () => {
    const body = { apiVersion: "inmesh.dev/v1", kind: "Error", code: 5, message: {}, hint: [] };
    const { code, err } = await run(["stat", "--admin", await replying(400, body)]);
    expect(code).toBe(EXIT.usage);
    expect(err).toContain("The process refused");
  });

  it("answers with more than any process has to say", async () => {
    const { url } = await admin((_request, response) => {
      response.writeHead(200);
      const piece = Buffer.alloc(1024 * 1024, " ");
      const write = (): void => {
        while (!response.destroyed && response.write(piece));
      };
      response.on("drain", write);
      write();
    });
    const { code, err } = await run(["stat", "--admin", url, "--timeout", "20s"]);
    expect(code).toBe(EXIT.unreachable);
    expect(err).toContain("its answer is larger than 64 MiB");
  });

  it.each([
    [403, "host_refused", EXIT.denied],
    [404, "unknown_service", EXIT.usage],
    [400, "bad_filter", EXIT.usage],
    [409, "changed", EXIT.conflict],
    [503, "too_many_readers", EXIT.unreachable],
  ])("refuses with %i %s: exit code %i, with its own words", async (status, code, exit) => {
    const url = await replying(status, error(code, "the \u001b[31mmessage", "do something"));
    const ran = await run(["stat", "--admin", url]);
    expect(ran.code).toBe(exit);
    expect(ran.err).toBe(
      `the \\u{1b}[31mmessage.\n  why   the process answered with status ${status}, ${code}\n  next  do something\n`,
    );
  });

  it.each([
    ["token_missing", "--token-file or INMESH_ADMIN_TOKEN_FILE"],
    ["token_wrong", "Is it the token of this process?"],
  ])(
    "refuses with 401 %s, and says what to do in words of the command line",
    async (code, next) => {
      const url = await replying(401, error(code, "the message", "send Authorization"));
      const ran = await run(["stat", "--admin", url]);
      expect(ran.code).toBe(EXIT.denied);
      expect(ran.err).toContain(`answered with status 401, ${code}\n`);
      expect(ran.err).toContain(next);
      expect(ran.err).not.toContain("send Authorization");
    },
  );

  it("refuses without saying why", async () => {
    const url = await replying(403, { apiVersion: "inmesh.dev/v1", kind: "Error" });
    const { code, err } = await run(["stat", "--admin", url]);
    expect(code).toBe(EXIT.denied);
    expect(err).toBe(
      "The process refused.\n  why   the process answered with status 403, without a code\n",
    );
  });

  it("shows where the error came from with --debug alone", async () => {
    const args = ["stat", "--admin", `unix:${folder}/none.sock`];
    expect((await run(args)).err).not.toContain("    at ");
    const { err } = await run([...args, "--debug"]);
    expect(err).toMatch(/Failure: .*\n {4}at /);
    expect(err).toContain("caused by Error: connect ENOENT");
  });
});

describe("the address and the token", () => {
  it.each([
    [
      "127.0.0.1:9464",
      "must be http://127.0.0.1:<port>, unix:<path>, or the pid or name of a process of this user",
    ],
    [
      "https://127.0.0.1",
      "must be http://127.0.0.1:<port>, unix:<path>, or the pid or name of a process of this user",
    ],
    ["unix:", "needs a path behind unix:"],
    ["http://127.0.0.1:1/api", "must be an address alone, without a path"],
    ["http://a:b@127.0.0.1:1", "must be an address alone, without a path"],
  ])("%s is no address", async (address, rule) => {
    const flag = await run(["stat", "--admin", address]);
    expect(flag.code).toBe(EXIT.usage);
    expect(flag.err).toContain(`--admin ${rule} (got ${JSON.stringify(address)})`);
    const { err } = await run(["stat"], { env: { INMESH_ADMIN: address } });
    expect(err).toContain(`INMESH_ADMIN ${rule}`);
  });

  it("come from flags before the environment, and a file may have the token", async () => {
    const { url, asked } = await admin({ services: SERVICES });
    const file = join(folder, "token");
    writeFileSync(file, "from-file\n");
    const elsewhere = { INMESH_ADMIN: "http://127.0.0.1:1" };
    const from = async (
      args: string[],
      env: Record<string, string>,
    ): Promise<string | undefined> => {
      expect((await run(["stat", ...args], { env })).code).toBe(0);
      return asked.at(-1)!.headers.authorization;
    };
    expect(await from(["--admin", url], elsewhere)).toBeUndefined();
    const env = {
      INMESH_ADMIN: url,
      INMESH_ADMIN_TOKEN: "from-env",
      INMESH_ADMIN_TOKEN_FILE: file,
    };
    expect(await from([], env)).toBe("Bearer from-env");
    expect(await from([], { ...env, INMESH_ADMIN_TOKEN: "" })).toBe("Bearer from-file");
    expect(await from(["--token", "from-flag"], env)).toBe("Bearer from-flag");
    expect(await from(["--token-file", file], env)).toBe("Bearer from-file");
  });

  it("are refused when they cannot be sent, without the token in the message", async () => {
    const env = { INMESH_ADMIN: "http://127.0.0.1:1" };
    const split = await run(["stat", "--token", "a\r\nx: y"], { env });
    expect(split).toMatchObject({ code: EXIT.usage });
    expect(split.err).toContain("visible ASCII characters");
    expect(split.err).not.toContain("x: y");
    const missing = await run(["stat", "--token-file", join(folder, "nothing")], { env });
    expect(missing).toMatchObject({ code: EXIT.usage });
    expect(missing.err).toContain("ENOENT");
    const both = await run(["stat", "--token", "a", "--token-file", "b"], { env });
    expect(both.err).toContain("--token and --token-file exclude each other");
  });
});

describe("a window", () => {
  it("counts what happened between two readings", async () => {
    const { url } = await admin({ services: [SERVICES, SERVICES_LATER] });
    const args = ["stat", "pay.shop", "--admin", url, "--window", "20ms", "--json"];
    const { code, out, err } = await run(args);
    expect(err).toBe("");
    expect(code).toBe(0);
    const { windowMs, items, kind, apiVersion } = JSON.parse(out) as {
      windowMs: number;
      kind: string;
      apiVersion: string;
      items: Record<string, unknown>[];
    };
    expect([apiVersion, kind, windowMs]).toEqual(["inmesh.dev/v1", "StatList", 10_000]);
    expect(items).toEqual([
      expect.objectContaining({
        name: "pay.shop",
        successRatio: 0.5,
        perSecond: 20,
        p50Ms: 750,
        attemptsPerCall: 1.5,
        endpoints: 2,
        notes: ["1 of 3 endpoints has an open breaker", "the retry budget is spent"],
      }),
    ]);
  });

  it("begins anew when the process was restarted in between", async () => {
    const restarted = { ...SERVICES_LATER, instance: "another", uptimeMs: 1000 };
    const { url } = await admin({ services: [SERVICES, restarted] });
    const { out } = await run(["stat", "pay.shop", "--admin", url, "--window", "1ms", "--json"]);
    expect(JSON.parse(out)).toMatchObject({ windowMs: 1000, instance: "another" });
  });

  it("gives endpoints the share of the picks in it", async () => {
    const later = {
      ...ENDPOINTS,
      uptimeMs: ENDPOINTS.uptimeMs + 1000,
      endpoints: ENDPOINTS.endpoints.map((one) =>
        one.host === "10.0.0.7"
          ? { ...one, picks: one.picks + 30 }
          : one.host === "10.0.0.8"
            ? { ...one, picks: one.picks + 10 }
            : one,
      ),
    };
    const { url } = await admin({ endpoints: [ENDPOINTS, later] });
    const { out } = await run([
      "endpoints",
      "orders.shop",
      "--admin",
      url,
      "--window",
      "1ms",
      "-o",
      "jsonl",
    ]);
    const shares = out
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { share: number }).share);
    expect(shares).toEqual([0.75, 0.25, 0]);
  });

  it("is read again and again with -w, until it is interrupted", async () => {
    const { url, asked } = await admin({ services: [SERVICES, SERVICES_LATER] });
    const interruption = new AbortController();
    const ran = run(["stat", "-w", "--window", "10ms", "--admin", url], {
      signal: interruption.signal,
    });
    await expect.poll(() => asked.length).toBeGreaterThan(2);
    interruption.abort();
    const { code, out } = await ran;
    expect(code).toBe(EXIT.interrupted);
    expect(out.match(/^NAME/gm)!.length).toBeGreaterThan(1);
  });
});

it("a watched process may be restarted, and one that was never there is an error", async () => {
  const socketPath = join(folder, "restarted.sock");
  const listen = async (answer: object): Promise<ReturnType<typeof createServer>> => {
    const server = createServer((_request, response) => response.end(JSON.stringify(answer)));
    await new Promise<void>((resolve) => server.listen(socketPath, resolve));
    open.push(server);
    return server;
  };
  const args = [
    "stat",
    "pay.shop",
    "-w",
    "--window",
    "20ms",
    "--json",
    "--admin",
    `unix:${socketPath}`,
  ];
  expect((await run(args)).code).toBe(EXIT.unreachable);
  const first = await listen(SERVICES);
  const interruption = new AbortController();
  let asked = 0;
  const ran = run(args, { signal: interruption.signal });
  first.on("request", () => asked++);
  await expect.poll(() => asked).toBeGreaterThan(0);
  first.closeAllConnections();
  await new Promise((resolve) => first.close(resolve));
  await new Promise((resolve) => setTimeout(resolve, 100));
  const second = await listen({ ...SERVICES_LATER, instance: "second" });
  let again = 0;
  second.on("request", () => again++);
  await expect.poll(() => again).toBeGreaterThan(1);
  interruption.abort();
  const { code, out, err } = await ran;
  expect(code).toBe(EXIT.interrupted);
  expect(err).toContain("cannot be reached; reading again");
  const documents = out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { instance: string });
  expect(new Set(documents.map(({ instance }) => instance))).toEqual(
    new Set(["q7Jx0a2m", "second"]),
  );
});

describe("formats", () => {
  it("have the columns that are asked for, in the order that is asked for", async () => {
    const { url } = await admin({ services: SERVICES });
    const args = ["stat", "--admin", url, "--columns", "rps,name,state", "--sort", "rps"];
    const { out } = await run([...args, "--no-headers"]);
    expect(out.split("\n").map((line) => line.trim().split(/\s+/).slice(-2).join(" "))).toEqual([
      "orders.shop connected",
      "storefront open",
      "pay.shop connected",
      "stock.shop unreachable",
      expect.stringMatching(/asleep$/),
      "",
    ]);
    const ascending = await run([...args, "--sort", "name:desc", "-o", "name"]);
    expect(ascending.out.split("\n").slice(0, 2)).toEqual(["storefront", "stock.shop"]);
  });

  it("do not cut anything in a pipe, and say where there is nothing", async () => {
    const { url } = await admin({
      services: { ...SERVICES, services: [], servers: [] },
      endpoints: ENDPOINTS,
    });
    const { out } = await run(["endpoints", "--admin", url]);
    expect(out).toContain("pay-7f8c9d6b54-x2x1q.pay.shop.svc.cluster.local");
    expect(out).toContain("open since 4s: 7 failures in a row; next probe in 3s");
    const nothing = await run(["stat", "--admin", url]);
    expect(nothing).toMatchObject({ code: 0, out: "" });
    expect(nothing.err).toContain("has called no service yet");
  });

  it("of a service that is not known name the one that was meant", async () => {
    const { url } = await admin({ services: SERVICES });
    const { code, err } = await run(["routes", "pay.shpo", "--admin", url]);
    expect(code).toBe(EXIT.usage);
    expect(err).toContain('The service "pay.shpo" is not known; did you mean "pay.shop"?');
  });
});

describe("check", () => {
  it("fails for a failure, and for a warning if it is asked to", async () => {
    const warned = { ...CHECKS, status: "warning", failures: 0 };
    const { url } = await admin({ checks: warned });
    expect((await run(["check", "--admin", url])).code).toBe(EXIT.ok);
    expect((await run(["check", "--admin", url, "--fail-on", "warning"])).code).toBe(EXIT.failed);
    const failing = await admin({ checks: CHECKS });
    const { code, out } = await run(["check", "--admin", failing.url, "-o", "short"]);
    expect(code).toBe(EXIT.failed);
    expect(out).not.toContain("√");
    expect(out).toContain("Status: 1 failed, 2 warnings");
  });

  it("counts what holds, and lists it with --verbose alone", async () => {
    const { url } = await admin((_request, response) => response.end(JSON.stringify(CHECKS)));
    const brief = (await run(["check", "--admin", url])).out;
    const holding = CHECKS.checks.filter(({ status }) => status === "ok").length;
    expect(brief.split("\n")[0]).toMatch(`√ ${holding} checks hold: runtime 1, services 1`);
    expect(brief).not.toContain("orders.shop");
    expect(brief).toContain("pay.shop");
    const short = (await run(["check", "-o", "short", "--admin", url])).out;
    expect(short).toBe(brief.split("\n").slice(2).join("\n"));
    const all = (await run(["check", "--verbose", "--admin", url])).out;
    for (const { message } of CHECKS.checks) expect(all.replace(/\s+/g, " ")).toContain(message);
  });

  it("waits until nothing fails", async () => {
    const well = { ...CHECKS, status: "ok", failures: 0, warnings: 0, checks: [CHECKS.checks[0]] };
    const { url, asked } = await admin({ checks: [CHECKS, well] });
    const { code, out, err } = await run(["check", "--admin", url, "--wait", "20s"]);
    expect(code).toBe(EXIT.ok);
    expect(asked).toHaveLength(2);
    expect(err).toContain("1 failed, 2 warnings; checking again");
    expect(out).toContain("Status: 1 check, all good");
  });
});

describe("check --wait", () => {
  it("waits for a process that does not listen yet, and no longer than it may", async () => {
    const socketPath = join(folder, "later.sock");
    const args = ["check", "--admin", `unix:${socketPath}`];
    const well = { ...CHECKS, status: "ok", failures: 0, warnings: 0, checks: [] };
    const server = createServer((_request, response) => response.end(JSON.stringify(well)));
    open.push(server);
    setTimeout(() => server.listen(socketPath), 100);
    const { code, err } = await run([...args, "--wait", "20s"]);
    expect(code).toBe(EXIT.ok);
    expect(err).toContain("cannot be reached; checking again");
    const never = await run(["check", "--admin", `unix:${folder}/never.sock`, "--wait", "1.2s"]);
    expect(never.code).toBe(EXIT.unreachable);
  });
});

describe("explain", () => {
  it("asks with method, path and headers, and repeats none of their values", async () => {
    const { url, asked } = await admin({ explain: EXPLANATION });
    const { code, out } = await run([
      "explain",
      "post",
      "orders.shop/v1/orders",
      "-H",
      "X-User: 7: 8",
      "--admin",
      url,
    ]);
    expect(code).toBe(0);
    expect(JSON.parse(asked[0]!.body)).toEqual({
      service: "orders.shop",
      method: "POST",
      path: "/v1/orders",
      headers: { "x-user": "7: 8" },
    });
    expect(out).not.toContain("7: 8");
    const wrong = await run([
      "explain",
      "GET",
      "x",
      "-H",
      "no colon",
      "-H",
      " : x",
      "--admin",
      url,
    ]);
    expect(wrong.code).toBe(EXIT.usage);
    expect(wrong.err.match(/-H must be the name of a field/g)).toHaveLength(2);
  });

  it("of a call that would be refused fails", async () => {
    const refused = {
      ...EXPLANATION,
      refused: { reason: "no_endpoints", why: "discovery has named none" },
    };
    const { url } = await admin({ explain: refused });
    const { code, out } = await run(["explain", "orders.shop", "--admin", url]);
    expect(code).toBe(EXIT.failed);
    expect(out).toContain("refused     no_endpoints: discovery has named none");
  });
});

describe("tap and top", () => {
  it("ask for what their flags say", async () => {
    const { url, asked } = await admin({ tap: [] });
    const args = [
      "tap",
      "orders",
      "--status",
      "5xx",
      "--status",
      "none",
      "--min-latency",
      "1.5s",
      "-H",
      "X-A: b c",
      "--ratio",
      "0.5",
      "--limit",
      "9",
      "--max-rps",
      "50",
      "--direction",
      "inbound",
      "--headers",
      "--query",
      "--path",
      "/v1",
    ];
    expect((await run([...args, "--admin", url])).code).toBe(0);
    expect([...new URL(asked[0]!.url, url).searchParams].map((pair) => pair.join("="))).toEqual([
      "service=orders",
      "direction=inbound",
      "path=/v1",
      "status=5xx",
      "status=none",
      "minLatencyMs=1500",
      "ratio=0.5",
      "limit=9",
      "maxPerSecond=50",
      "headers=true",
      "query=true",
      "header.x-a=b c",
    ]);
  });

  it("refuse a filter that cannot be, before they ask", async () => {
    const args = [
      "tap",
      "--status",
      "6xx",
      "--outcome",
      "sucess",
      "--path",
      "v1",
      "--ratio",
      "2",
      "--max-rps",
      "5000",
      "-H",
      "x",
    ];
    const { code, err } = await run([...args, "--admin", "http://127.0.0.1:1"]);
    expect(code).toBe(EXIT.usage);
    expect(err.split("\n\n")[0]!.split("\n")).toEqual([
      '--outcome "sucess" is not known; did you mean "success"?',
      '--status must be a number, a class such as 5xx, or none (got "6xx")',
      '--path must begin with / (got "v1")',
      "--ratio must be above 0 and at most 1 (got 2)",
      "--max-rps must be at most 1000 (got 5000)",
      expect.stringContaining("-H must be the name of a field"),
    ]);
  });

  it("give programs each event on a line, harmless for a terminal", async () => {
    const { url } = await admin({ tap: TAPPED });
    const { out, err } = await run(["tap", "--json", "--admin", url]);
    expect(err).toBe("");
    const lines = out.trim().split("\n");
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(
      JSON.parse(JSON.stringify(TAPPED)),
    );
    expect(out).not.toContain("\u202e");
    expect(out.toLowerCase()).toContain(String.raw`\u202e`);
  });

  it("fail when the stream is not what it should be", async () => {
    const { url } = await admin((_request, response) => {
      response
        .writeHead(200, { "content-type": "text/event-stream" })
        .end("event: call\ndata: {\n\n");
    });
    const { code, err } = await run(["tap", "--admin", url]);
    expect(code).toBe(EXIT.unreachable);
    expect(err).toContain("something that is not JSON");
  });

  it.each([
    ["lines of data", "data: x\n"],
    ["one line", "x"],
  ])("fail when an event has no end, in %s", async (_, piece) => {
    const { url } = await admin((_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write("data: x\n");
      const write = (): void => {
        while (!response.destroyed && response.write(piece.repeat(8_192)));
      };
      response.on("drain", write);
      write();
    });
    const { code, err } = await run(["tap", "--admin", url]);
    expect(code).toBe(EXIT.unreachable);
    expect(err).toContain("an event of its stream has no end");
  });

  it.each([
    ["null", "null"],
    ["an event without its fields", '{"event":"call"}'],
    ["a time that is none", JSON.stringify({ ...TAPPED[0], at: 1e300 })],
  ])("fail when an event is %s", async (_, data) => {
    const { url } = await admin((_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" }).end(`data: ${data}\n\n`);
    });
    const { code, err } = await run(["tap", "--admin", url]);
    expect(code).toBe(EXIT.unreachable);
    expect(err).toContain("answers otherwise than this program expects");
  });

  it("fail when the stream is cut, and end when they are interrupted", async () => {
    const cut = await admin((_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" }).write(": here\n\n");
      setTimeout(() => response.destroy(), 20);
    });
    expect((await run(["tap", "--admin", cut.url])).code).toBe(EXIT.unreachable);
    let begun = false;
    const quiet = await admin((_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" }).write(": here\n\n");
      begun = true;
    });
    const interruption = new AbortController();
    const ran = run(["tap", "--admin", quiet.url], { signal: interruption.signal });
    await expect.poll(() => begun).toBe(true);
    setTimeout(() => interruption.abort(), 50);
    expect((await ran).code).toBe(EXIT.interrupted);
  });

  it("read events whatever pieces they come in", async () => {
    const text = TAPPED.map(
      (event) => `event: ${event.event}\r\ndata: ${JSON.stringify(event)}\r\n\r\n`,
    ).join("");
    const bytes = Buffer.from(text);
    const { url } = await admin((_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      void (async () => {
        for (let i = 0; i < bytes.length; i += 611) {
          response.write(bytes.subarray(i, i + 611));
          await new Promise((resolve) => setImmediate(resolve));
        }
        response.end();
      })();
    });
    const { out } = await run(["tap", "--json", "--admin", url]);
    expect(out.trim().split("\n")).toHaveLength(TAPPED.length);
  });

  it("add up, and keep one row for all that comes when there are too many", async () => {
    const call = TAPPED[0]!;
    const many = Array.from({ length: 1200 }, (_, i) => ({ ...call, path: `/orders/${i}` }));
    const { url } = await admin({
      tap: [...many, { ...call, path: "/orders/7", outcome: "failure" }],
    });
    const { code, out } = await run(["top", "--json", "--admin", url, "--sort", "count"]);
    expect(code).toBe(0);
    const { items } = JSON.parse(out) as { items: Record<string, unknown>[] };
    expect(items).toHaveLength(1001);
    expect(items[0]).toMatchObject({ source: "other", path: "other", count: 200 });
    expect(items[1]).toMatchObject({ path: "/orders/7", count: 2, successRatio: 0.5 });
    const routes = await run(["top", "--json", "--routes", "--admin", url]);
    expect(JSON.parse(routes.out)).toMatchObject({ items: [{ path: "read", count: 1201 }] });
  });
});

it("a server that is no HTTP server is not taken for a process", async () => {
  const server = createTcpServer((socket) => void socket.end("SSH-2.0-OpenSSH\r\n"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  open.push(server);
  const { port } = server.address() as AddressInfo;
  const { code, err } = await run(["stat", "--admin", `http://127.0.0.1:${port}`]);
  expect(code).toBe(EXIT.unreachable);
  expect(err).toContain("cannot be reached");
});

it("no command waits for a server that keeps the connection open", async () => {
  const server = createServer((_request, response) => response.end(JSON.stringify(SERVICES)));
  server.keepAliveTimeout = 60_000;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  open.push(server);
  const { port } = server.address() as AddressInfo;
  expect((await run(["stat", "--admin", `http://127.0.0.1:${port}`])).code).toBe(0);
  await expect
    .poll(() => new Promise((resolve) => server.getConnections((_, count) => resolve(count))))
    .toBe(0);
});
