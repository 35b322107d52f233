/** Importing inmesh changes nothing in the host (P6, P7): checked in a fresh process. */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));

function run(script: string): unknown {
  const args = ["--conditions=inmesh-source", "--input-type=module", "--eval", script];
  return JSON.parse(execFileSync(process.execPath, args, { cwd: root, encoding: "utf8" }));
}

it("P6: importing leaves globals, prototypes, listeners and undici's dispatcher symbols alone", () => {
  const seen = run(`
    const look = () => ({
      symbols: Object.getOwnPropertySymbols(globalThis).map(String).sort(),
      names: Object.getOwnPropertyNames(globalThis).sort(),
      prototype: Reflect.ownKeys(Object.prototype).map(String).sort(),
      listeners: process.eventNames().map(String).sort(),
    });
    const before = look();
    const { meshClient } = await import("inmesh");
    const after = look();
    // The loader itself may listen for warnings: only what we could have added counts.
    console.log(JSON.stringify({ before, after, made: typeof meshClient }));
  `) as { before: object; after: object; made: string };
  expect(seen.made).toBe("function");
  expect(seen.after).toEqual(seen.before);
});

it("P6: the built-in fetch still posts with an explicit content-length (nodejs/undici#5500)", () => {
  const seen = run(`
    import http from "node:http";
    await import("inmesh");
    const server = http.createServer((request, response) => request.pipe(response));
    await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
    const reply = await fetch("http://127.0.0.1:" + server.address().port, {
      method: "POST", body: "four", headers: { "content-length": "4" },
    });
    const text = await reply.text();
    server.closeAllConnections();
    server.close();
    console.log(JSON.stringify({ status: reply.status, text }));
  `);
  expect(seen).toEqual({ status: 200, text: "four" });
});
