/**
 * Row R41: sessions that Node cannot collect. An HTTP/2 client that begins trailers, does not end them and does not read. What ends its
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

const CLIENT = fileURLToPath(new URL("fixtures/collected-client.ts", import.meta.url));

/** An upstream that ends a stream with an interim reply, and sends another head behind it. */
test.each([
  ["R41 LC: of a call over HTTP/2", "http"],
  ["R41 GC: of a call of gRPC", "grpc"],
])(
  "%s: the session of a stream that ends within a head is collected after it",
  async (_, protocol) => {
    const { stdout } = await run(process.execPath, [...FLAGS, CLIENT, protocol]);
    expect(stdout).toBe("alive\n");
  },
  90_000,
);
