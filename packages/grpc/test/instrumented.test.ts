/**
 * The instrumentations of OpenTelemetry for undici, node:http and grpc-js beside the spans of a mesh, registered
 * before inmesh is imported, after it, and when the servers exist: one CLIENT span and one SERVER span for each
 * attempt, ours or theirs, and one `traceparent` on the wire, which names that CLIENT span.
 */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";

const PROGRAM = join(import.meta.dirname, "fixtures/instrumented.ts");

interface Seen {
  readonly spans: readonly string[];
  readonly wire: readonly (readonly string[])[];
}

type Played = Record<"undici" | "agent" | "grpc", Seen>;

const played = new Map<string, Promise<Played>>();

/** Once for all tests of this file. */
function play(when: string): Promise<Played> {
  const known = played.get(when) ?? run(when);
  played.set(when, known);
  return known;
}

async function run(when: string): Promise<Played> {
  const args = ["--conditions=inmesh-source", "--unhandled-rejections=strict", PROGRAM, when];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 60_000 });
  return JSON.parse(stdout.trim().split("\n").at(-1)!) as Played;
}

const APPLICATION = "application INTERNAL < none";
const CALL_BELOW_APPLICATION = "inmesh INTERNAL < application INTERNAL";

describe("HTTP over undici, and over node:http by the mesh's agent", () => {
  it.each([
    // The spans of the server are made where the server's listeners are called.
    ["before", "http SERVER"],
    ["after", "http SERVER"],
    // That server calls its listeners as it did when it was made.
    ["late", "inmesh SERVER"],
  ])("%s: the CLIENT spans are theirs, and the SERVER span %s", async (when, server) => {
    const { undici, agent } = await play(when);
    expect(undici).toEqual({
      spans: [
        APPLICATION,
        CALL_BELOW_APPLICATION,
        "undici CLIENT < inmesh INTERNAL",
        `${server} < undici CLIENT`,
      ].toSorted(),
      wire: [["undici CLIENT"]],
    });
    expect(agent).toEqual({
      spans: [
        APPLICATION,
        "http CLIENT < application INTERNAL",
        "inmesh INTERNAL < http CLIENT",
        `${server} < http CLIENT`,
      ].toSorted(),
      wire: [["http CLIENT"]],
    });
  });
});

describe("gRPC", () => {
  it("before: the CLIENT and SERVER spans are theirs, and the call's is below their CLIENT span", async () => {
    const { grpc } = await play("before");
    expect(grpc).toEqual({
      spans: [
        APPLICATION,
        "grpc CLIENT < application INTERNAL",
        "grpc SERVER < grpc CLIENT",
        "inmesh INTERNAL < grpc CLIENT",
      ],
      wire: [["grpc CLIENT"]],
    });
  });

  it.each([
    // Clients are classes that grpc-js made when it was loaded, so the instrumentation does not see them.
    ["after", "grpc SERVER"],
    ["late", "inmesh SERVER"],
  ])("%s: the CLIENT span of the attempt is ours", async (when, server) => {
    const { grpc } = await play(when);
    expect(grpc).toEqual({
      spans: [
        APPLICATION,
        `${server} < inmesh CLIENT`,
        "inmesh CLIENT < inmesh INTERNAL",
        CALL_BELOW_APPLICATION,
      ].toSorted(),
      wire: [["inmesh CLIENT"]],
    });
  });
});
