/**
 * Row R41: an HTTP/2 client that begins trailers, does not end them and does not read. What ends its
 * stream or session while the reply waits must not leave Node with a session that it cannot collect.
 */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const FLAGS = ["--expose-gc", "--no-warnings", "--conditions=inmesh-source"];
const SERVER = fileURLToPath(new URL("fixtures/collected-sessions.ts", import.meta.url));
const run = promisify(execFile);

// Each sleeps most of its time.
test.concurrent.each([
  ["R41 LS: the handler destroys its reply", "http", "destroy"],
  ["R41 LS: the handler's reply fails", "http", "fail"],
  ["R41 LS: the client does not read, and is cut off for it", "http", "stall"],
  ["R41 GS: the connection is too old, and grpc-js destroys it", "grpc", "age"],
])(
  "%s: the process lives on",
  async (_, ...how) => {
    const { stdout } = await run(process.execPath, [...FLAGS, SERVER, ...how]);
    expect(stdout).toBe("alive\n");
  },
  60_000,
);
