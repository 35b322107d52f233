/**
 * Calls that end while their handlers are at work, because of the server or of their client: a call
 * that was cut never looks whole, and nothing that the handler does late ends the process.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { it } from "vitest";
import { data, reset, settings } from "../../http/test/support/h2-peer.ts";
import { callHead, message, RawGrpcClient } from "./support/raw-grpc-client.ts";
import { sleep } from "./support/wire.ts";

interface Report {
  readonly notes: Readonly<Record<string, readonly string[]>>;
  readonly snapshot: { readonly callsInFlight: number; readonly refused: object };
}
type Send = (message: string) => void;

const CHILD = fileURLToPath(new URL("children/cut-handlers.ts", import.meta.url));
const FLAGS = ["--conditions=inmesh-source", "--disable-warning=ExperimentalWarning"];
const INITIAL_WINDOW_SIZE = 4;
/** `count = 7`, and the beginning of another. */
const BEGUN = Buffer.concat([message(Buffer.from([0x10, 7])), message(Buffer.alloc(3), 0, 100)]);

const CUTS: readonly [string, (client: RawGrpcClient, id: number, send: Send) => void, object][] = [
  ["the client cancels", (client, id) => client.send(reset(id, 8)), {}],
  ["the client resets without an error", (client, id) => client.send(reset(id, 0)), {}],
  ["the connection goes", (client) => client.raw.socket.destroy(), {}],
  ["the drain ends", (_client, _id, send) => send("close"), {}],
  ["the deadline passes", () => {}, { "grpc-timeout": "400m" }],
  [
    "a message is too large",
    (client, id) =>
      client.send(data(id, Buffer.alloc(97)), data(id, message(Buffer.alloc(9), 0, 1e9))),
    {},
  ],
  ["nothing is read", () => {}, { "x-floods": "1" }],
];

// Each sleeps most of its time.
it.concurrent.for(CUTS)("R1 GS: %s", async ([, cut, more], { expect, onTestFinished }) => {
  const child = fork(CHILD, [JSON.stringify({ writeStallTimeoutMs: 400 })], { execArgv: FLAGS });
  onTestFinished(() => void child.kill("SIGKILL"));
  const exited = once(child, "exit") as Promise<[number | null]>;
  const [{ port }] = (await once(child, "message")) as [{ port: number }];
  using client = await RawGrpcClient.open(port, settings(INITIAL_WINDOW_SIZE, 100));
  const calls = [
    [1, "add", "/shop.Orders/Add"],
    [3, "chat", "/shop.Orders/Chat"],
  ] as const;
  // A flood waits for its client on one of them; that other one has nothing to write.
  const names = "x-floods" in more ? calls.slice(1) : calls;
  for (const [id, name, path] of names) {
    client.send(callHead(id, { "x-name": name, ...more }, path), data(id, BEGUN));
  }
  await sleep(200);
  for (const [id] of names) cut(client, id, (text) => void child.send(text));
  await sleep(1_200);
  child.send("report");
  const [{ notes, snapshot }] = (await Promise.race([once(child, "message"), exited])) as [Report];
  for (const [, name] of names) {
    expect(notes[name], name).toContain("cancelled");
    expect(notes[name], name).not.toContain("end");
    expect(notes[name], name).not.toContain("whole");
    expect(notes[name], name).toContain("answered late");
  }
  expect(notes["chat"]).toEqual(expect.arrayContaining(["message", "rejected", "finally"]));
  expect(snapshot.callsInFlight).toBe(0);
  child.send("close");
  await sleep(200);
  child.send("exit");
  expect((await exited)[0]).toBe(0);
});
