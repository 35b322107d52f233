/** C6: a host vanishes with its requests in our server; prints how long each handler was kept. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { meshServer } from "../../src/index.ts";
import { OtherHost } from "./other-host.ts";

const PORT = 8_081;
const CLIENT = `
  const { connect } = require("node:net");
  for (const head of [
    "GET /wait HTTP/1.1\\r\\nhost: svc\\r\\n\\r\\n",
    "GET /large HTTP/1.1\\r\\nhost: svc\\r\\n\\r\\n",
    "POST /upload HTTP/1.1\\r\\nhost: svc\\r\\ncontent-length: 100\\r\\n\\r\\nbegin",
  ]) connect(${PORT}, "10.99.0.1", function () {
    this.write(head);
    if (head.includes("/large")) this.pause();
  }).on("error", () => {});
`;

const host = await OtherHost.start();
const begun = new Map<string, () => void>();
const endedMs: Record<string, number> = {};
let vanishedAt = 0;
const server = meshServer(
  (request, response) => {
    const name = request.url!.slice(1);
    request.on("error", () => {});
    response.on("close", () => (endedMs[name] = Math.round(performance.now() - vanishedAt)));
    if (name === "large") response.end(Buffer.alloc(32 << 20));
    if (name === "upload") request.resume();
    begun.get(name)?.();
  },
  { limits: { bodyIdleTimeoutMs: 1_000, writeStallTimeoutMs: 2_000 } },
);
const all = Promise.all(
  ["wait", "large", "upload"].map(
    (name) => new Promise<void>((resolve) => begun.set(name, resolve)),
  ),
);
await server.listen(PORT, "10.99.0.1");
const client = spawn("nsenter", ["-t", host.pid, "-n", process.execPath, "-e", CLIENT], {
  stdio: ["ignore", "ignore", "inherit"],
});
await all;
host.vanish();
vanishedAt = performance.now();
while (Object.keys(endedMs).length < 3 && performance.now() - vanishedAt < 40_000) {
  await new Promise((resolve) => setTimeout(resolve, 20));
}
const { refused, requestsInFlight, connections } = server.snapshot();
const gone = once(client, "exit");
client.kill("SIGKILL");
await gone;
await server.close(0);
await host.stop();
process.stdout.write(JSON.stringify({ endedMs, refused, requestsInFlight, connections }));
