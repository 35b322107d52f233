/** examples/03-grpc runs as it stands. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";

it("examples/03-grpc: a server leaves while calls run, and no call fails", async () => {
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    ["--no-warnings", "--conditions=inmesh-source", "examples/03-grpc/main.ts"],
    { cwd: join(import.meta.dirname, "../../.."), timeout: 20_000 },
  );
  expect(stderr).toBe("");
  expect(stdout).toMatch(
    /^300 calls, none failed; answered by .+\norder 7: paid, packed, delivered \(/,
  );
});
