/** Programs of others as clients over HTTP/2: nghttp, h2load, curl and h2spec, each where it is installed. */
import { execFile, spawnSync } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { h2specFolder } from "../../../scripts/peers-folder.ts";
import { origin1, origin2 } from "./support/http2.ts";
import { proxied } from "./support/proxied.ts";

const run = promisify(execFile);

function has(program: string): boolean {
  return spawnSync(program, ["--version"], { stdio: "ignore" }).error === undefined;
}

function unlessThere(program: string): typeof it.skip {
  if (has(program)) return it;
  process.stdout.write(`skipped: ${program} is not installed\n`);
  return it.skip;
}

/** `delayMs`: how long a stream stays open that is only looked at. */
async function before(delayMs = 0) {
  const origin = await origin2((stream, headers) => {
    const size = Number(/^\/(\d+)$/.exec(String(headers[":path"]))?.[1] ?? 1_024);
    const answer = (): void => {
      if (stream.destroyed) return;
      stream.respond({ ":status": 200, "content-type": "text/plain" });
      if (headers[":method"] === "POST") return void stream.pipe(stream);
      stream.resume();
      stream.end(Buffer.alloc(size, "x"));
    };
    if (delayMs === 0) answer();
    else setTimeout(answer, delayMs);
  });
  const { port, proxy } = await proxied(
    { orders: { http2: true, discovery: { static: [origin.address] } } },
    { spoken: "http2", listener: { service: "orders" } },
  );
  return { port, proxy, url: `http://127.0.0.1:${port}/` };
}

describe("programs of others over HTTP/2", () => {
  unlessThere("nghttp")("nghttp: a download of 4 MiB and an upload, with padding", async () => {
    const { url } = await before();
    const { stdout } = await run("nghttp", ["-b", "64", `${url}4194304`], { maxBuffer: 1e8 });
    expect(stdout).toHaveLength(4_194_304);
    const echoed = await run("nghttp", ["-d", "package.json", "-H", ":method: POST", url], {
      cwd: new URL("../../..", import.meta.url),
    });
    expect(JSON.parse(echoed.stdout)).toMatchObject({ private: true });
  });

  unlessThere("h2load")("h2load: 2,000 requests on 20 connections, none fails", async () => {
    const { url, proxy } = await before();
    const { stdout } = await run("h2load", ["-n", "2000", "-c", "20", "-m", "10", url]);
    expect(stdout).toContain("2000 succeeded, 0 failed, 0 errored, 0 timeout");
    await expect.poll(() => proxy.listeners[0]!.connections).toBe(0);
  });

  unlessThere("h2load")("h2load: the same to a server that speaks HTTP/1.1", async () => {
    const address = await origin1((request, response) => {
      request.resume();
      response.end("x".repeat(1_024));
    });
    const { port } = await proxied(
      { orders: [address] },
      { spoken: "http2", listener: { service: "orders" } },
    );
    const { stdout } = await run("h2load", [
      "-n",
      "1000",
      "-c",
      "10",
      "-m",
      "10",
      `http://127.0.0.1:${port}/`,
    ]);
    expect(stdout).toContain("1000 succeeded, 0 failed, 0 errored, 0 timeout");
  });

  unlessThere("curl")("curl: an upload of 1 MB comes back whole", async () => {
    const { url } = await before();
    const { stdout } = await run("sh", [
      "-c",
      `head -c 1000000 /dev/zero | curl -sS --http2-prior-knowledge --data-binary @- ${url} | wc -c`,
    ]);
    expect(stdout.trim()).toBe("1000000");
  });

  const built = join(h2specFolder, "h2spec"); // by `npm run peers:h2spec`
  const h2spec = process.env["H2SPEC"] ?? (has(built) ? built : "h2spec");
  unlessThere(h2spec)("h2spec: all of its 145 cases pass", { timeout: 120_000 }, async () => {
    // Its cases break a rule of a stream that is open: an answer must not overtake them.
    const { port } = await before(30);
    const { stdout } = await run(h2spec, ["-h", "127.0.0.1", "-p", String(port), "-o", "3"]).catch(
      (error: { stdout: string }) => error,
    );
    const [, cases, passed] = /(\d+) tests, (\d+) passed/.exec(stdout) ?? [];
    const failures = stdout.slice(Math.max(0, stdout.indexOf("Failures:")));
    expect(`${passed} of ${cases}`, failures).toBe("145 of 145");
  });
});
