/**
 * The reader of request heads against llhttp, Node's own: what is accepted here is accepted there, and says the same;
 * what is accepted there and not here is so for one of the reasons in a table.
 */
import { createServer, type IncomingMessage } from "node:http";
import { Duplex } from "node:stream";
import { DEFAULT_HTTP_LIMITS, type Trust } from "@inmesh/core/spi";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RequestHead, UNKNOWN_LENGTH } from "../message.ts";
import { INCOMPLETE, MALFORMED } from "./lexer.ts";
import { RequestReader } from "./request-reader.ts";

const TRUST: Trust = {
  deadlineIsOurs: true,
  attempt: true,
  showsAttempt: true,
  critical: true,
  baggage: true,
  givesReasons: true,
};
const reader = new RequestReader({
  limits: DEFAULT_HTTP_LIMITS,
  secure: false,
  refusesUnderscores: false,
  kept: undefined,
});

interface Read {
  readonly at: number;
  readonly reason: string | undefined;
  readonly head: RequestHead;
}

function read(text: string): Read {
  const bytes = Buffer.from(text, "latin1");
  const head = new RequestHead();
  const at = reader.read(bytes, 0, bytes.length, head, TRUST);
  return { at, reason: reader.refusal?.reason, head };
}

interface Judged {
  readonly method: string;
  readonly url: string;
  readonly raw: readonly string[];
  readonly version: string;
}

/** What Node's server makes of it; undefined: nothing. */
async function judge(text: string): Promise<Judged | undefined> {
  const server = createServer();
  const socket = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
  const judged = new Promise<Judged | undefined>((resolve) => {
    const take = ({ method, url, rawHeaders, httpVersion }: IncomingMessage): void =>
      resolve({ method: method!, url: url!, raw: rawHeaders, version: httpVersion });
    server.on("request", take);
    server.on("checkContinue", take);
    server.on("checkExpectation", take);
    server.on("upgrade", take);
    server.on("connect", take);
    server.on("clientError", () => resolve(undefined));
    server.emit("connection", socket);
    socket.push(Buffer.from(text, "latin1"));
    setImmediate(() => setImmediate(() => setImmediate(() => resolve(undefined))));
  });
  const result = await judged;
  socket.destroy();
  return result;
}

/** Fields of a head that are passed on, as they are passed on. */
function passed({ fields }: RequestHead): string[] {
  return Array.from(
    { length: fields.count },
    (_, n) => `${fields.nameOf(n)}: ${fields.valueOf(n)}`,
  );
}

const PASSED = new Set(["x", "x-y", "accept", "cookie", "x_y"]);

function passedByNode(raw: readonly string[]): string[] {
  const all: string[] = [];
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]!.toLowerCase();
    if (PASSED.has(name)) all.push(`${name}: ${raw[i + 1]}`);
  }
  return all;
}

/** Why what llhttp accepts is malformed here: each is a rule of RFC 9112 that it is lenient about. */
const STRICTER: readonly (readonly [string, RegExp])[] = [
  ["more than one space in the request line", /^(?:\r\n)*[^\r\n]*(?: {2,}|\t)/],
  ["more than four empty lines in front", /^(?:\r\n){5}/],
  ["an empty line of CR or LF alone in front", /^(?:\r\n)*(?:\r(?!\n)|\n)/],
  ["no list of tokens in Connection", /\r\nconnection:/i],
  ["two lengths, or a length and a coding", /\r\n(?:content-length|transfer-encoding):/i],
];

const interesting = fc.constantFrom(
  ..." \t\r\n:,;/?#%.\\\"'@[]*_-+0123456789xX\x00\x0b\x7f\xff",
  "\r\n",
  "\r\n ",
  "chunked",
  "close",
  "content-length: 3\r\n",
  "transfer-encoding: chunked\r\n",
  "host: b\r\n",
  "x: y\r\n",
  "HTTP/1.1",
  "http://",
  "/..",
  "%2e",
);
const line = fc.constantFrom(
  "x: a",
  "X-Y:b c",
  "accept:\t*/*  ",
  "cookie: a=b; c=d",
  "x_y:",
  "content-length: 0",
  "content-length: 12",
  "transfer-encoding: chunked",
  "connection: close",
  "connection: keep-alive, x",
  "expect: 100-continue",
  "upgrade: websocket",
  "te: trailers",
  "x-mesh-hops: 3",
);
const request = fc
  .tuple(
    fc.constantFrom("GET", "POST", "PUT", "OPTIONS", "DELETE", "PATCH", "HEAD"),
    fc.constantFrom("/", "/a/b?c=d", "/a%20b", "*", "http://a/b", "/.well-known/x", "/a..b/..c"),
    fc.constantFrom("HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/0.9"),
    fc.array(line, { maxLength: 5 }),
    fc.constantFrom("host: a\r\n", "Host: a:80\r\n", "host: [::1]:80\r\n", ""),
  )
  .map(
    ([method, target, version, lines, host]) =>
      `${method} ${target} ${version}\r\n${host}${lines.map((one) => `${one}\r\n`).join("")}\r\n`,
  );
/** A request with some of its bytes replaced, removed, or followed by others. */
const mutated = fc
  .tuple(
    request,
    fc.array(fc.tuple(fc.nat(), fc.constantFrom("insert", "replace", "remove"), interesting), {
      maxLength: 3,
    }),
  )
  .map(([text, changes]) =>
    changes.reduce((before, [place, how, piece]) => {
      const at = place % before.length;
      if (how === "remove") return before.slice(0, at) + before.slice(at + 1);
      return before.slice(0, at) + piece + before.slice(how === "replace" ? at + 1 : at);
    }, text),
  );

describe("request heads", () => {
  it("what is accepted here is accepted by llhttp, and understood alike; what is not, for a reason in the table", async () => {
    const seen = { both: 0, neither: 0, stricter: 0 };
    await fc.assert(
      fc.asyncProperty(mutated, async (text) => {
        const { at, reason, head } = read(text);
        const node = await judge(text);
        const isAccepted = at >= 0 && reason === undefined;
        if (!isAccepted) {
          if (node === undefined) seen.neither++;
          else {
            seen.stricter++;
            const why = STRICTER.find(([, pattern]) => pattern.test(text));
            if (reason === undefined && at !== INCOMPLETE)
              expect(why, JSON.stringify(text)).toBeDefined();
            // What is not all here for one is not for the other.
            if (reason === undefined) expect(at, JSON.stringify(text)).toBe(MALFORMED);
          }
          return;
        }
        seen.both++;
        // llhttp knows the methods of a list.
        if (node === undefined) {
          expect(
            ["GET", "POST", "PUT", "OPTIONS", "DELETE", "PATCH", "HEAD"],
            JSON.stringify(text),
          ).not.toContain(head.method);
          return;
        }
        expect(node.method, text).toBe(head.method);
        const isAbsolute = /^http:\/\//i.test(node.url);
        if (!isAbsolute) expect(node.url, text).toBe(head.target);
        expect(
          passedByNode(node.raw).filter((one) => !isNamed(text, one)),
          text,
        ).toEqual(passed(head).filter((one) => PASSED.has(one.slice(0, one.indexOf(":")))));
        const lengths = valuesOf(node.raw, "content-length");
        const codings = valuesOf(node.raw, "transfer-encoding");
        expect(codings.length > 0, text).toBe(head.bodyLength === UNKNOWN_LENGTH);
        if (codings.length === 0) expect(Number(lengths[0] ?? 0), text).toBe(head.bodyLength);
      }),
      { numRuns: 4_000 },
    );
    expect(seen.both).toBeGreaterThan(200);
    expect(seen.stricter).toBeGreaterThan(100);
  }, 60_000);

  it("a head is understood the same whatever stands behind it, and is incomplete at each of its places", () => {
    fc.assert(
      fc.property(mutated, fc.string({ unit: "binary-ascii", maxLength: 20 }), (text, behind) => {
        const { at, reason } = read(text);
        if (at < 0 || reason !== undefined) return;
        const longer = read(text.slice(0, at) + behind);
        expect(longer.at).toBe(at);
        for (let end = 0; end < at; end++) {
          const part = read(text.slice(0, end));
          expect(part.at, JSON.stringify(text.slice(0, end))).toBe(INCOMPLETE);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("no bytes make it throw, or read behind their end", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const buffer = Buffer.from(bytes);
        const at = reader.read(buffer, 0, buffer.length, new RequestHead(), TRUST);
        expect(at).toBeLessThanOrEqual(buffer.length);
      }),
      { numRuns: 2_000 },
    );
  });
});

/** The field is named by `Connection`, and so not passed on. */
function isNamed(text: string, field: string): boolean {
  const name = field.slice(0, field.indexOf(":"));
  return [...text.matchAll(/\r\nconnection:([^\r]*)/gi)].some(([, list]) =>
    list!
      .toLowerCase()
      .split(",")
      .some((one) => one.trim() === name),
  );
}

function valuesOf(raw: readonly string[], name: string): string[] {
  return raw.filter((_, i) => i % 2 === 1 && raw[i - 1]!.toLowerCase() === name);
}
