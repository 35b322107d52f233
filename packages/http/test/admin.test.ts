/** The listener of `mesh.admin`: where it listens, whom it answers, and what it does with those it must not. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { connect, type AddressInfo } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { ConfigError, type LogLine } from "@inmesh/core";
import { expectNoLeak } from "@inmesh/core/testing";
import { AdminError, createMesh, meshServer } from "@inmesh/http";
import { describe, expect, it, onTestFinished } from "vitest";
import { adminOf, ask } from "./support/admin.ts";
import { folder, leaveSocket } from "./support/folders.ts";
import { RawClient } from "./support/raw-client.ts";
import { rejectionOf, until } from "./wire.ts";

const TOKEN = "a token of 24 letters!!!".replaceAll(" ", "-");

async function rawTo(port: number): Promise<RawClient> {
  const client = await RawClient.to(port);
  onTestFinished(() => void client.socket.destroy());
  return client;
}

describe("where it listens", () => {
  it("on a free port of 127.0.0.1, with a random token that it gives back", async () => {
    const one = await adminOf();
    const other = await one.mesh.admin.listen();
    expect(one.admin.address).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect(one.admin.token).toMatch(/^[\w-]{43}$/);
    expect(other.token).not.toBe(one.admin.token);
    expect((await one.ask("/api/v1/about")).status).toBe(200);
  });

  it("on IPv6 loopback", async () => {
    const { admin, ask: asked } = await adminOf({}, { host: "::1" });
    expect(admin.address).toMatch(/^http:\/\/\[::1\]:\d+$/);
    expect(
      (await asked("/api/v1/about", { headers: { host: `[::1]:${admin.port}` } })).status,
    ).toBe(200);
    expect((await asked("/api/v1/about", { headers: { host: "[::2]" } })).code).toBe(
      "host_refused",
    );
  });

  it("on a Unix socket that only its user may open, and that goes with it", async () => {
    const path = join(folder(), "admin.sock");
    const { admin, ask: asked } = await adminOf({}, { socketPath: path });
    expect(admin.address).toBe(`unix:${path}`);
    expect(admin.port).toBe(0);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect((await asked("/api/v1/about")).status).toBe(200);
    // There is no name to be mistaken in.
    expect((await asked("/api/v1/about", { headers: { host: "whatever" } })).status).toBe(200);
    expect((await ask(admin, "/api/v1/about")).code).toBe("token_missing");
    await admin.close();
    expect(existsSync(path)).toBe(false);
  });

  it("in the place of a socket that a killed process left, and not of one that answers", async () => {
    const path = join(folder(), "admin.sock");
    await leaveSocket(path);
    const { mesh, admin } = await adminOf({}, { socketPath: path });
    const error = await rejectionOf(mesh.admin.listen({ socketPath: path }));
    expect(error).toBeInstanceOf(AdminError);
    expect(error).toMatchObject({ code: "EADDRINUSE", address: `unix:${path}` });
    expect((await ask(admin, "/livez")).status).toBe(200);
  });

  it("says of a taken port which, and what to do", async () => {
    const taken = createServer();
    taken.listen(0, "127.0.0.1");
    await once(taken, "listening");
    onTestFinished(() => void taken.close());
    const { port } = taken.address() as AddressInfo;
    const { mesh } = await adminOf();
    const error = (await rejectionOf(mesh.admin.listen({ port }))) as AdminError;
    expect(error).toMatchObject({ code: "EADDRINUSE", address: `127.0.0.1:${port}` });
    expect(error.hint).toContain("port 0");
    expect(error.message).toBe(
      `mesh.admin.listen: 127.0.0.1:${port} is taken already: ${error.hint}`,
    );
    const elsewhere = (await rejectionOf(mesh.admin.listen({ host: "203.0.113.7" }))) as AdminError;
    expect(elsewhere).toMatchObject({ code: "EADDRNOTAVAIL", address: "203.0.113.7:0" });
  });

  it("names every mistake in its options at once", async () => {
    const { mesh } = await adminOf();
    const mistakes = async (options: object): Promise<string[]> => {
      const error = (await rejectionOf(mesh.admin.listen(options))) as ConfigError;
      expect(error).toBeInstanceOf(ConfigError);
      return error.mistakes.map(({ path, rule }) => `${path} ${rule}`);
    };
    expect(await mistakes({ path: "/x", port: "80" })).toEqual([
      'path is not known; did you mean "socketPath"?',
      "port must be a whole number from 0 up",
    ]);
    expect(
      await mistakes({
        port: 70_000,
        host: "",
        socketPath: "",
        token: "short",
        metrics: "closed",
        hosts: ["Mesh.example", 7],
      }),
    ).toHaveLength(8);
    expect(await mistakes({ token: { file: "" } })).toHaveLength(1);
    expect(await mistakes({ token: "with a space in the middle" })).toHaveLength(1);
  });

  it("does not keep the process alive, also while a reader is connected", async () => {
    const source = `
      const { createMesh } = await import("@inmesh/http");
      const { connect } = await import("node:net");
      const mesh = createMesh({ env: {} });
      const { port } = await mesh.admin.listen();
      const client = connect(port, "127.0.0.1", () => { client.unref(); console.log("connected"); });`;
    const args = ["--conditions=inmesh-source", "--input-type=module", "-e", source];
    const child = spawn(process.execPath, args, {
      cwd: import.meta.dirname,
      stdio: ["ignore", "pipe", "inherit"],
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    let said = "";
    child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
    const [code] = (await once(child, "close")) as [number | null];
    expect({ code, said }).toEqual({ code: 0, said: "connected\n" });
  });
});

describe("who is answered", () => {
  it("health without a token; all else with the right one alone", async () => {
    const { admin, ask: asked } = await adminOf({}, { token: TOKEN });
    expect(admin.token).toBeUndefined();
    expect(await ask(admin, "/livez")).toMatchObject({ status: 200, text: "ok\n" });
    expect(await ask(admin, "/readyz")).toMatchObject({ status: 200, text: "ok\n" });
    for (const path of ["/metrics", "/api/v1/about", "/api/v1/tap", "/nothing"]) {
      const missing = await ask(admin, path);
      expect(missing).toMatchObject({ status: 401, code: "token_missing" });
      expect(missing.headers["www-authenticate"]).toBe('Bearer realm="inmesh"');
      const wrong = { authorization: `Bearer ${TOKEN}x` };
      expect(await ask(admin, path, { headers: wrong })).toMatchObject({
        status: 401,
        code: "token_wrong",
      });
    }
    for (const authorization of ["Bearer", `Basic ${TOKEN}`, `Bearer  ${TOKEN} x`, TOKEN]) {
      const answered = await asked("/api/v1/about", { headers: { authorization } });
      expect(answered.status, authorization).toBe(401);
    }
    expect(
      (await asked("/api/v1/about", { headers: { authorization: `bearer ${TOKEN}` } })).status,
    ).toBe(200);
    expect((await asked("/metrics")).status).toBe(200);
  });

  it("logs that a token was refused, without the token", async () => {
    const lines: LogLine[] = [];
    const { admin } = await adminOf({}, {}, { log: (line) => void lines.push(line) });
    await ask(admin, "/metrics", { headers: { authorization: "Bearer secret-secret-secret" } });
    const refused = lines.filter(({ event }) => event === "admin.refused");
    expect(refused).toHaveLength(1);
    expect(refused[0]!.message).toMatch(
      /^admin: a request without the right token .* from 127\.0\.0\.1:\d+$/,
    );
  });

  it("a token from a file, which is written if it is not there, and may change", async () => {
    const file = join(folder(), "token");
    const { admin } = await adminOf({}, { token: { file } });
    expect(readFileSync(file, "utf8")).toBe(`${admin.token}\n`);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const with_ = (token: string) =>
      ask(admin, "/metrics", { headers: { authorization: `Bearer ${token}` } });
    expect((await with_(admin.token!)).status).toBe(200);
    writeFileSync(file, `${TOKEN}\n`);
    await expect.poll(async () => (await with_(TOKEN)).status).toBe(200);
    expect((await with_(admin.token!)).status).toBe(401);
    // A file that is gone, or holds no token, changes nothing.
    writeFileSync(file, "short\n");
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    expect((await with_("another-token-another-token")).status).toBe(401);
    expect((await with_(TOKEN)).status).toBe(200);
    const second = await adminOf({}, { token: { file: join(folder(), "none", "token") } }).catch(
      (error: unknown) => error as ConfigError,
    );
    expect(second).toBeInstanceOf(ConfigError);
  });

  it("/metrics without a token where that is wanted, and nothing of the API where that is not", async () => {
    const { admin, ask: asked } = await adminOf({}, { metrics: "open", api: false });
    const page = await ask(admin, "/metrics", {
      headers: { accept: "application/openmetrics-text" },
    });
    expect(page.status).toBe(200);
    expect(page.headers["content-type"]).toContain("openmetrics");
    expect(page.text).toMatch(/# EOF\n$/);
    expect((await asked("/api/v1/about")).code).toBe("not_found");
  });

  it("says to browsers that nothing is to be kept, guessed, framed or shared", async () => {
    const { ask: asked } = await adminOf();
    for (const path of ["/api/v1/about", "/livez", "/nothing"]) {
      const { headers } = await asked(path);
      expect(headers).toMatchObject({
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "cross-origin-resource-policy": "same-origin",
      });
      expect(headers["content-security-policy"]).toContain("default-src 'none'");
      expect(Object.keys(headers).filter((name) => name.startsWith("access-control"))).toEqual([]);
    }
  });
});

describe("who is refused", () => {
  it.each([
    ["a foreign name", "evil.example", "host_refused"],
    ["a name that begins like ours", "localhost.evil.example", "host_refused"],
    ["an address of elsewhere", "10.9.8.7:80", "host_refused"],
    ["what is no name", "a b", "host_refused"],
    ["two names", "localhost,evil.example", "host_refused"],
    ["user information", "localhost@evil.example", "host_refused"],
  ])("%s in Host, which DNS rebinding would send", async (_what, host, code) => {
    const { ask: asked } = await adminOf();
    expect(await asked("/api/v1/about", { headers: { host } })).toMatchObject({
      status: 403,
      code,
    });
  });

  it.each(["localhost", "LocalHost:1", "127.0.0.1", "127.9.9.9:80", "[::1]:9"])(
    "not %s: it leads to this machine",
    async (host) => {
      const { ask: asked } = await adminOf();
      expect((await asked("/api/v1/about", { headers: { host } })).status).toBe(200);
    },
  );

  it("a name that is configured is one of its own; so is the address that it was reached by", async () => {
    const address = Object.values(networkInterfaces())
      .flat()
      .find((one) => one?.family === "IPv4" && !one.internal)?.address;
    const { admin, ask: asked } = await adminOf({}, { host: "0.0.0.0", hosts: ["mesh.example"] });
    const hosted = (host: string) => asked("/api/v1/about", { headers: { host } });
    expect((await hosted("mesh.example:1")).status).toBe(200);
    expect((await hosted("other.example")).code).toBe("host_refused");
    if (address === undefined) return;
    const reached = await ask(
      { address: `http://${address}:${admin.port}`, port: admin.port },
      "/api/v1/about",
    );
    expect(reached.code).toBe("token_missing");
  });

  it("what a web page of another origin makes a browser send", async () => {
    const { admin, ask: asked } = await adminOf();
    const about = (headers: Record<string, string>) => asked("/api/v1/about", { headers });
    const own = `127.0.0.1:${admin.port}`;
    expect((await about({ origin: "http://evil.example" })).code).toBe("origin_refused");
    expect((await about({ origin: "null" })).code).toBe("origin_refused");
    expect((await about({ origin: `https://${own}` })).code).toBe("origin_refused");
    expect((await about({ origin: `http://${own}` })).status).toBe(200);
    expect((await about({ "sec-fetch-site": "cross-site" })).code).toBe("origin_refused");
    expect((await about({ "sec-fetch-site": "same-site" })).code).toBe("origin_refused");
    expect((await about({ "sec-fetch-site": "same-origin" })).status).toBe(200);
    expect((await about({ "sec-fetch-site": "none" })).status).toBe(200);
    const write = { method: "PUT", body: { level: "warn", forMs: 1_000 } };
    const written = (headers: Record<string, string>) =>
      asked("/api/v1/log-level", { ...write, headers });
    expect((await written({ "sec-fetch-site": "none" })).code).toBe("origin_refused");
    expect((await written({ "sec-fetch-site": "same-origin" })).status).toBe(200);
    // What a form of a page can send is no JSON.
    expect((await written({ "content-type": "text/plain" })).code).toBe("not_json");
    expect(
      (
        await asked("/api/v1/about", {
          method: "OPTIONS",
          headers: { origin: "http://evil.example" },
        })
      ).status,
    ).toBe(403);
  });

  it("methods that a path does not have", async () => {
    const { ask: asked } = await adminOf();
    const answered = async (method: string, path: string) => {
      const { status, code, headers } = await asked(path, { method });
      expect({ status, code }, `${method} ${path}`).toEqual({
        status: 405,
        code: "method_not_allowed",
      });
      return headers["allow"];
    };
    expect(await answered("POST", "/api/v1/about")).toBe("HEAD, GET");
    expect(await answered("DELETE", "/api/v1/config")).toBe("HEAD, GET");
    expect(await answered("GET", "/api/v1/explain")).toBe("POST");
    expect(await answered("POST", "/metrics")).toBe("HEAD, GET");
    expect(await answered("PUT", "/livez")).toBe("HEAD, GET");
    expect(await answered("TRACE", "/api/v1/about")).toBe("HEAD, GET");
    // There is no way to end a process.
    expect((await asked("/api/v1/shutdown", { method: "POST" })).code).toBe("not_found");
    expect((await asked("/shutdown", { method: "POST" })).code).toBe("not_found");
  });

  it("HEAD gets the head of GET", async () => {
    const { ask: asked } = await adminOf();
    const head = await asked("/api/v1/about", { method: "HEAD" });
    expect(head).toMatchObject({ status: 200, text: "" });
    expect(Number(head.headers["content-length"])).toBeGreaterThan(100);
  });

  it("parameters that are not known, with what was probably meant", async () => {
    const { ask: asked } = await adminOf();
    expect((await asked("/api/v1/services?servce=x")).json["message"]).toContain(
      'did you mean "service"?',
    );
    expect((await asked("/api/v1/about?x=1")).code).toBe("bad_request");
    expect((await asked("/api/v1/services?service=a&service=b")).code).toBe("bad_request");
    expect((await asked("/api/v1/config?all=perhaps")).code).toBe("bad_request");
    expect((await asked("/api/v1/servics")).json["message"]).toContain('did you mean "services"?');
    expect((await asked("/api/v1/constructor")).code).toBe("not_found");
    expect((await asked("/api/v1/__proto__")).code).toBe("not_found");
  });
});

describe("bodies", () => {
  const explain = (body: unknown, headers = {}) => ({ method: "POST", body, headers });

  it("names every mistake of a body at once", async () => {
    const { ask: asked } = await adminOf();
    const wrong = { servce: "x", method: 7, headers: { a: 1 } };
    const { status, code, json } = await asked("/api/v1/explain", explain(wrong));
    expect({ status, code }).toEqual({ status: 400, code: "bad_request" });
    expect(json["message"]).toBe(
      '"servce" is not known; did you mean "service"?; service must be the name or the URL of a service; ' +
        "method must be a method such as GET; headers must be an object of names and texts",
    );
  });

  it.each([
    ["no JSON", "{", "not_json", 415],
    ["a list", [], "bad_request", 400],
    ["null", null, "bad_request", 400],
    ["names of a prototype", '{"__proto__":{"service":"x"}}', "bad_request", 400],
  ])("refuses %s", async (_what, body, code, status) => {
    const { ask: asked } = await adminOf();
    const type = { "content-type": "application/json" };
    const sent = body === null ? "null" : body;
    expect(await asked("/api/v1/explain", explain(sent, type))).toMatchObject({ code, status });
  });

  it("refuses more than 64 KiB, said at once or only seen as it comes", async () => {
    const { admin, token, ask: asked } = await adminOf();
    const long = { service: "x", path: `/${"a".repeat(65_536)}` };
    expect(await asked("/api/v1/explain", explain(long))).toMatchObject({
      status: 413,
      code: "body_too_large",
    });
    const client = await rawTo(admin.port);
    client.send(
      `POST /api/v1/explain HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${token}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n`,
    );
    for (let i = 0; i < 9; i++) client.send(`2000\r\n${"a".repeat(0x2000)}\r\n`);
    expect((await client.reply()).status).toBe(413);
    await client.end();
    expect((await asked("/livez")).status).toBe(200);
  });
});

describe("hostile bytes", () => {
  const about = "GET /api/v1/about HTTP/1.1\r\n";

  it.each([
    ["two Host lines", "host: localhost\r\nhost: evil.example\r\n", 400],
    ["no Host line", "", 400],
    [
      "two tokens",
      "host: localhost\r\nauthorization: Bearer a\r\nauthorization: Bearer b\r\n",
      400,
    ],
    ["two framings", "host: localhost\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n", 400],
    ["a head without end", `host: localhost\r\nx: ${"a".repeat(20_000)}\r\n`, 431],
  ])("%s", async (_what, lines, status) => {
    const { admin } = await adminOf();
    const client = await rawTo(admin.port);
    client.send(`${about}${lines}\r\n`);
    expect((await client.reply()).status).toBe(status);
  });

  it.each(["http://evil.example/api/v1/about", "//evil.example/api/v1/about", "*"])(
    "the target %s is no path",
    async (target) => {
      const { admin, token } = await adminOf();
      const client = await rawTo(admin.port);
      client.send(
        `GET ${target} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${token}\r\n\r\n`,
      );
      const { status, body } = await client.reply();
      expect(status).toBe(400);
      expect(body).toContain("must be a path");
    },
  );

  it("neither a tunnel nor another protocol is opened", async () => {
    const { admin, token } = await adminOf();
    const tunnel = await rawTo(admin.port);
    tunnel.send("CONNECT 127.0.0.1:1 HTTP/1.1\r\nhost: localhost\r\n\r\n");
    await tunnel.end();
    expect(tunnel.text).not.toContain(" 200 ");
    const upgraded = await rawTo(admin.port);
    upgraded.send(
      `${about}host: localhost\r\nauthorization: Bearer ${token}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n`,
    );
    expect((await upgraded.reply()).status).toBe(200);
  });

  it("a connection that says nothing is closed, and so are those beyond the limit", async () => {
    const { admin } = await adminOf();
    const many = await Promise.all(Array.from({ length: 80 }, () => rawTo(admin.port)));
    await until(() => many.filter(({ closed }) => closed).length >= 16);
    await Promise.all(many.map((client) => client.end(12_000)));
    expect((await ask(admin, "/livez")).status).toBe(200);
  });

  it("connections that ask nothing neither keep others from an answer, nor take the place of one that is answered", async () => {
    const { admin, token } = await adminOf();
    const reader = await rawTo(admin.port);
    reader.send(
      `GET /api/v1/tap HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${token}\r\n\r\n`,
    );
    await until(() => reader.text.includes("200 OK"));
    const crowd = await Promise.all(Array.from({ length: 200 }, () => rawTo(admin.port)));
    for (const [i, client] of crowd.entries()) if (i % 2 === 0) client.send("GET /livez HT");
    for (let i = 0; i < 3; i++) expect((await ask(admin, "/livez")).text).toBe("ok\n");
    await until(() => crowd.filter(({ closed }) => closed).length >= 200 - 64);
    expect(reader.closed).toBe(false);
  });
});

describe("the end", () => {
  it("close is idempotent, and ends what is connected within its time", async () => {
    await expectNoLeak(async () => {
      const mesh = createMesh({ env: {} });
      const admin = await mesh.admin.listen();
      const idle = connect(admin.port, "127.0.0.1");
      idle.on("error", () => {});
      await once(idle, "connect");
      idle.write("GET /livez HTTP/1.1\r\n");
      const startedAt = performance.now();
      const closing = admin.close(100);
      expect(admin.close()).toBe(closing);
      await closing;
      expect(performance.now() - startedAt).toBeLessThan(5_000);
      await mesh.close(0);
    });
  });

  it("mesh.close closes it last, so that the process can be looked at while it leaves", async () => {
    let release = (): void => {};
    const { mesh, admin, ask: asked } = await adminOf();
    const server = meshServer((_request, response) => void (release = () => response.end()), {
      mesh,
      name: "front",
    });
    const { port } = await server.listen(0, "127.0.0.1");
    expect(await ask(admin, "/readyz")).toMatchObject({ status: 200 });
    const request = fetch(`http://127.0.0.1:${port}/`);
    await until(() => server.snapshot().requestsInFlight === 1);
    const draining = server.drain(10_000);
    expect(await ask(admin, "/readyz")).toMatchObject({ status: 503, text: "draining\n" });
    expect((await asked("/api/v1/about")).json["ready"]).toEqual({
      ready: false,
      reasons: [{ server: "front", reason: "draining" }],
    });
    release();
    await request;
    await draining;
    expect(await ask(admin, "/readyz")).toMatchObject({ status: 503, text: "closed\n" });
    await mesh.close(1_000);
    await expect(ask(admin, "/livez")).rejects.toThrow(/ECONNREFUSED/);
    expect(await rejectionOf(mesh.admin.listen())).toMatchObject({ code: "closed" });
  });

  it("a server that does not listen, or whose application is not ready, is not ready", async () => {
    let isReady = false;
    const { mesh, admin } = await adminOf();
    const server = meshServer((_request, response) => void response.end(), {
      mesh,
      health: { isReady: () => isReady },
    });
    onTestFinished(() => server.close(0));
    expect((await ask(admin, "/readyz")).text).toBe("not listening\n");
    await server.listen(0, "127.0.0.1");
    expect((await ask(admin, "/readyz")).text).toBe("not ready\n");
    isReady = true;
    expect(await ask(admin, "/readyz")).toMatchObject({ status: 200, text: "ok\n" });
    await server.close(0);
    expect((await ask(admin, "/readyz")).text).toBe("closed\n");
    await server.listen(0, "127.0.0.1");
    expect((await ask(admin, "/readyz")).text).toBe("ok\n");
  });
});
