/** C6: a host vanishes with its calls in our server; prints how long each handler was kept. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { meshGrpcServer } from "@inmesh/grpc";
import { OtherHost } from "../../../http/test/children/other-host.ts";
import { Orders, type OrdersHandlers } from "../support/orders.ts";

const PORT = 8_081;
const CLIENT = `
  const session = require("node:http2").connect("http://10.99.0.1:${PORT}");
  session.on("error", () => {});
  for (const [path, ends] of [["Get", true], ["Chat", false]]) {
    const stream = session.request({ ":method": "POST", ":path": "/shop.Orders/" + path, "content-type": "application/grpc" });
    stream.on("error", () => {}).resume();
    stream.write(Buffer.alloc(5));
    if (ends) stream.end();
  }
`;

const host = await OtherHost.start();
const endedMs: Record<string, number> = {};
let vanishedAt = 0;
const begun = new Set<string>();
const wait = (name: string) => (call: { on(event: "cancelled", done: () => void): void }) => {
  begun.add(name);
  call.on("cancelled", () => (endedMs[name] = Math.round(performance.now() - vanishedAt)));
};
const server = meshGrpcServer({ limits: { pingIntervalMs: 1_000, pingTimeoutMs: 1_000 } });
const handlers: Partial<OrdersHandlers> = { get: wait("unary"), chat: wait("stream") };
server.server.addService(Orders.service, handlers as OrdersHandlers);
await server.listen(`10.99.0.1:${PORT}`);
const client = spawn("nsenter", ["-t", host.pid, "-n", process.execPath, "-e", CLIENT], {
  stdio: ["ignore", "ignore", "inherit"],
});
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
while (begun.size < 2) await pause(5);
// Pings that are answered end nothing.
await pause(2_500);
const endedBefore = Object.keys(endedMs).length;
host.vanish();
vanishedAt = performance.now();
const isOver = (): boolean => Object.keys(endedMs).length === 2 && server.snapshot().sessions === 0; // which goes last
while (!isOver() && performance.now() - vanishedAt < 40_000) await pause(20);
const { callsInFlight, sessions } = server.snapshot();
const gone = once(client, "exit");
client.kill("SIGKILL");
await gone;
await server.close(0);
await host.stop();
process.stdout.write(JSON.stringify({ endedBefore, endedMs, callsInFlight, sessions }));
