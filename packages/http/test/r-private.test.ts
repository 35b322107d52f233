/**
 * R4: each private member of Node, hidden from our code in a process of its own. Requests are answered,
 * cut and refused as with it, no forged identity header reaches a handler, nothing is left behind, and
 * what is lost is visible.
 */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";

interface Report {
  readonly seen: unknown;
  /** Of a made and a given server for HTTP/1, and of both for HTTP/2. */
  readonly degraded: readonly (readonly string[])[];
  readonly ofMesh: readonly string[];
  readonly log: readonly string[];
}

async function hidden(member: string, env: NodeJS.ProcessEnv = {}): Promise<Report> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [
      "--conditions=inmesh-source",
      "--disable-warning=ExperimentalWarning",
      join(import.meta.dirname, "children/hidden.ts"),
      member,
    ],
    { env: { ...process.env, INMESH_PUBLIC_ONLY: "", ...env } },
  );
  return JSON.parse(stdout) as Report;
}

const FACTS = { forged: [], ok: ["1", "1"], host: "a", body: "", trailer: "" };
const HTTP1 = {
  facts: FACTS,
  hint: "1",
  length: { ...FACTS, body: "abc" },
  chunked: { ...FACTS, ok: ["1, 1", "1,1"], body: "abc", trailer: "9" },
  pipelined: ["ok", "slow", "ok"],
  cut: [true, true, true],
  heads: 1,
  malformed: true,
  inFlight: 0,
  idle: true,
  taken: true,
};
const HTTP2 = {
  facts: { ...FACTS, host: false },
  body: { ...FACTS, host: false, body: "abc", trailer: "9" },
  head: ["", ""],
  together: ["ok", "slow", "ok"],
  inFlight: 0,
};
const EXPECTED = {
  made: HTTP1,
  given: { ...HTTP1, hint: "5" },
  made2: HTTP2,
  given2: HTTP2,
  agent: ["ok", "upgraded", "late", "ok", "0"],
  says: true,
};

const LENGTH = "OutgoingMessage._send, _contentLength, _hasBody or chunkedEncoding";
/** As node:http and node:http2 have them, and the name under which they are missed by all four servers. */
const SERVER: readonly (readonly [member: string, name: string])[] = [
  ["_addHeaderLines", "node:http IncomingMessage._addHeaderLines"],
  ["_dump", "node:http IncomingMessage._dump or _readableState"],
  ["_readableState", "node:http IncomingMessage._dump or _readableState"],
  ["_keepAliveTimeout", "node:http ServerResponse._keepAliveTimeout"],
  ["_send", `node:http ${LENGTH}`],
  ["_contentLength", `node:http ${LENGTH}`],
  ["_hasBody", `node:http ${LENGTH}`],
  ["chunkedEncoding", `node:http ${LENGTH}`],
];

/** What nothing reads any more. */
const UNREAD = [
  "none",
  "shouldKeepAlive",
  "_headerSent",
  "_httpMessage",
  "headRequest",
  "res",
  "upgrade",
  "parser",
  "getAsyncId",
];

function lineOf(name: string): string {
  const escaped = name.replaceAll(".", "\\.");
  return expect.stringMatching(new RegExp(`^${escaped} is missing: without it `)) as string;
}

describe.concurrent("R4: a private member of Node that is missing", () => {
  it.for(UNREAD)("R4 LC, R4 LS: %s: nothing is degraded", async (member) => {
    expect(await hidden(member)).toEqual({
      seen: EXPECTED,
      degraded: [[], [], [], []],
      ofMesh: [],
      log: [],
    });
  });

  it.for(SERVER)("R4 LS: %s: the public way is taken, and it is said", async ([member, name]) => {
    const { seen, degraded, ofMesh, log } = await hidden(member);
    expect(seen).toEqual(EXPECTED);
    const line = [lineOf(name)];
    expect(degraded).toEqual([line, line, line, line]);
    expect(ofMesh).toEqual(line);
    expect(log).toEqual([`runtime.degraded ${ofMesh[0]}`]);
  });

  it("R4 LS: timeout: of a stream of HTTP/2, is missed once it was to be looked up", async () => {
    const { seen, degraded } = await hidden("timeout");
    expect(seen).toEqual(EXPECTED);
    const line = [lineOf("node:http2 Http2Stream.timeout")];
    expect(degraded).toEqual([[], [], line, line]);
  });

  it("R4 LC: options: of an agent of node:http: mesh.agent() reaches services without a proxy", async () => {
    const { seen, degraded, ofMesh } = await hidden("options");
    expect(seen).toEqual(EXPECTED);
    expect(degraded).toEqual([[], [], [], []]);
    expect(ofMesh).toEqual([lineOf("node:http Agent.options")]);
  });

  it("R4 LC, R4 LS: INMESH_PUBLIC_ONLY=1 hides all of them", async () => {
    const { seen, degraded } = await hidden("none", { INMESH_PUBLIC_ONLY: "1" });
    expect(seen).toEqual(EXPECTED);
    expect(degraded.map((lines) => lines.length)).toEqual([4, 4, 5, 5]);
  });
});
