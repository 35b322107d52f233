/** Each file of examples/own-parts runs as it stands, is short, and uses published entry points only. */
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";

const root: string = join(import.meta.dirname, "..");
const folder: string = join(root, "examples/own-parts");
const PUBLISHED =
  /^(?:node:|inmesh$|inmesh\/testing$|@inmesh\/(?:core|grpc|http)(?:\/spi|\/testing)?$)/;

const run = async (file: string): Promise<string> => {
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    ["--no-warnings", "--conditions=inmesh-source", join(folder, file)],
    { cwd: root, timeout: 50_000 },
  );
  expect(stderr).toBe("");
  return stdout;
};

describe.each(readdirSync(folder))("%s", (file) => {
  it("has at most 80 lines, no cast, and no import that is not published", () => {
    const text = readFileSync(join(folder, file), "utf8");
    expect(text.trimEnd().split("\n").length).toBeLessThanOrEqual(80);
    for (const [, name = ""] of text.matchAll(/ from "([^"]+)"/g)) expect(name).toMatch(PUBLISHED);
    // Comments and texts may say "as"; types stand behind it with a capital, or are built in.
    expect(text).not.toMatch(/\bas (?:[A-Z{]|unknown|never|any|string|number|object)\b/);
  });
});

it("observer.ts writes a line for each call and attempt, and each attempt has its own traceparent", async () => {
  const stdout = await run("observer.ts");
  const trace = stdout.slice(0, 32);
  expect(trace).toMatch(/^[0-9a-f]{32}$/);
  expect(stdout).toMatch(
    new RegExp(
      `^${trace} call 1: GET .*/v1/orders/42\n` +
        `${trace}   attempt 1 \\(first\\) .* failure 503, 55 bytes, .*\n` +
        `${trace}   attempt 2 \\(retry, after status\\) .* success 200, 55 bytes, .*\n` +
        `${trace} call 1 on route default: success after 2 attempts, .*\n` +
        `the server got 00-${trace}-[0-9a-f]{16}-01\n$`,
    ),
  );
});

it("discovery.ts names endpoints from a registry, and a draining one gets no new calls", async () => {
  expect(await run("discovery.ts")).toBe("answered by a and b\nwhile a is draining, by b\n");
});

it("source.ts takes its configuration from a control plane, and answers what became of it", async () => {
  expect(await run("source.ts")).toBe(
    "answered\nv1 applied\nv2 refused: must be at most 5\nin force: by control-plane, from v1\n",
  );
});

it("server-layer.ts answers 429 with Retry-After to what comes too fast", async () => {
  expect(await run("server-layer.ts")).toBe(
    '200 served\n200 served\n429 too_fast, retry-after: 1\nrefused: {"too_fast":1}\n',
  );
});

it("client-layer.ts gives each attempt a header field of its own", async () => {
  expect(await run("client-layer.ts")).toMatch(
    /^attempt 1 went to (.*)\nattempt 2 went to \1\nthe server got 2; kind=retry; call=orders\n$/,
  );
});

it("identity.ts shows a certificate without files, and accepts peers by their URI", async () => {
  expect(await run("identity.ts")).toBe(
    "served spiffe://shop/cart\nspiffe://elsewhere/thief: identity_mismatch\n",
  );
});
