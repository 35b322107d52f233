/** Heads of replies: those that can be understood in two ways are none. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ReplyHead, UNKNOWN_LENGTH } from "../message.ts";
import { INCOMPLETE, MALFORMED, TOO_LARGE } from "./lexer.ts";
import { ReplyReader } from "./reply-reader.ts";

const reader = new ReplyReader({ maxReplyHeaderBytes: 32_768 });

function read(text: string, isHead = false, upgrade?: string): { at: number; head: ReplyHead } {
  const bytes = Buffer.from(text, "latin1");
  const head = new ReplyHead();
  return { at: reader.read(bytes, 0, bytes.length, head, isHead, upgrade), head };
}
const reply = (fields: string, line = "HTTP/1.1 200 OK"): string => `${line}\r\n${fields}\r\n`;

describe("what is no reply", () => {
  it.each([
    ["a length and a coding", reply("content-length: 3\r\ntransfer-encoding: chunked\r\n")],
    ["two lengths, equal", reply("content-length: 3\r\ncontent-length: 3\r\n")],
    ["two lengths, different", reply("content-length: 3\r\ncontent-length: 4\r\n")],
    ["a list of lengths", reply("content-length: 3, 3\r\n")],
    ["a length with a sign", reply("content-length: +3\r\n")],
    ["a length above 2^53", reply("content-length: 9007199254740993\r\n")],
    ["two codings", reply("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n")],
    ["another coding", reply("transfer-encoding: gzip\r\n")],
    ["a coding in front of chunked", reply("transfer-encoding: gzip, chunked\r\n")],
    ["a coding behind chunked", reply("transfer-encoding: chunked, gzip\r\n")],
    ["a coding over HTTP/1.0", reply("transfer-encoding: chunked\r\n", "HTTP/1.0 200 OK")],
    ["a bare LF", "HTTP/1.1 200 OK\ncontent-length: 3\n\n"],
    ["a bare LF behind a field", reply("x: y\ncontent-length: 3\r\n")],
    ["a folded line", reply("x: y\r\n z\r\n")],
    ["a space before the colon", reply("content-length : 3\r\n")],
    ["NUL in a value", reply("x: \x00\r\n")],
    ["an empty name", reply(": y\r\n")],
    ["HTTP/2.0", reply("", "HTTP/2.0 200 OK")],
    ["HTTP/0.9", "hello there, this is a body and no head"],
    ["a status of two digits", reply("", "HTTP/1.1 99 OK")],
    ["a status of four digits", reply("", "HTTP/1.1 2000 OK")],
    ["a status above 599", reply("", "HTTP/1.1 600 OK")],
    ["two spaces before the status", reply("", "HTTP/1.1  200 OK")],
    ["CR in the phrase", "HTTP/1.1 200 O\rK\r\n\r\n"],
    [
      "a 101 that was not asked for",
      reply("connection: upgrade\r\nupgrade: websocket\r\n", "HTTP/1.1 101 x"),
    ],
    ["an upgrade that is no list", reply("connection: up grade\r\n")],
  ])("%s", (_, text) => {
    expect(read(text).at).toBe(MALFORMED);
  });

  it.each([
    ["a head of 33 KB", reply(`x: ${"y".repeat(33_000)}\r\n`)],
    ["201 fields", reply("x: y\r\n".repeat(201))],
    ["a head of 33 KB that goes on", `HTTP/1.1 200 OK\r\nx: ${"y".repeat(33_000)}`],
  ])("%s is too large", (_, text) => {
    expect(read(text).at).toBe(TOO_LARGE);
  });

  it("101 with another protocol than was asked for, or without saying so", () => {
    const head = (fields: string): string => reply(fields, "HTTP/1.1 101 Switching Protocols");
    const good = "connection: Upgrade\r\nupgrade: WebSocket\r\n";
    expect(read(head(good), false, "websocket").at).toBeGreaterThan(0);
    for (const fields of [
      "upgrade: websocket\r\n",
      "connection: upgrade\r\n",
      good.replace("WebSocket", "h2c"),
      `${good}content-length: 1\r\n`,
    ]) {
      expect(read(head(fields), false, "websocket").at, fields).toBe(MALFORMED);
    }
  });
});

describe("what a reply says", () => {
  it.each([
    ["a length", reply("content-length: 3\r\n"), { bodyLength: 3, saidLength: -1 }, true],
    ["a length with zeros in front", reply("content-length: 003\r\n"), { bodyLength: 3 }, true],
    ["chunks", reply("transfer-encoding: Chunked\r\n"), { bodyLength: UNKNOWN_LENGTH }, true],
    ["neither", reply(""), { bodyLength: UNKNOWN_LENGTH }, false],
    ["close", reply("content-length: 3\r\nconnection: close\r\n"), { bodyLength: 3 }, false],
    ["HTTP/1.0", reply("content-length: 3\r\n", "HTTP/1.0 200 OK"), { bodyLength: 3 }, false],
    [
      "HTTP/1.0 and keep-alive",
      reply("content-length: 3\r\nconnection: keep-alive\r\n", "HTTP/1.0 200 OK"),
      { bodyLength: 3 },
      true,
    ],
    [
      "304 with a length",
      reply("content-length: 3\r\n", "HTTP/1.1 304 x"),
      { bodyLength: 0, saidLength: 3 },
      true,
    ],
    [
      "204 with a length",
      reply("content-length: 3\r\n", "HTTP/1.1 204 x"),
      { bodyLength: 0, saidLength: -1 },
      true,
    ],
    [
      "no phrase",
      reply("content-length: 0\r\n", "HTTP/1.1 200"),
      { status: 200, bodyLength: 0 },
      true,
    ],
    ["an 8-bit phrase", reply("content-length: 0\r\n", "HTTP/1.1 200 \xe9"), { status: 200 }, true],
    [
      "what a server of the mesh says",
      reply("x-mesh-nack: 1\r\nx-mesh-final: 1\r\nx-mesh-error: busy\r\ncontent-length: 0\r\n"),
      { nacked: true, final: true, reason: "busy" },
      true,
    ],
  ])("%s", (_, text, said, keepAlive) => {
    const { at, head } = read(text);
    expect(at).toBe(text.length);
    expect(head).toMatchObject(said);
    expect(reader.keepAlive).toBe(keepAlive);
  });

  it("is incomplete at each of its places", () => {
    const text = reply("content-length: 3\r\nx: y\r\nconnection: close\r\n");
    for (let end = 0; end < text.length; end++)
      expect(read(text.slice(0, end)).at).toBe(INCOMPLETE);
  });

  it("no bytes make it throw, or read behind their end", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, isReply) => {
        const buffer = Buffer.concat([Buffer.from(isReply ? "HTTP/1.1 200 OK\r\n" : ""), bytes]);
        expect(
          reader.read(buffer, 0, buffer.length, new ReplyHead(), false, undefined),
        ).toBeLessThanOrEqual(buffer.length);
      }),
      { numRuns: 2_000 },
    );
  });
});
