// mesh-proxy as it is installed: a request through it, and the end that SIGTERM asks for.
const { spawn } = require("node:child_process");
const { createServer, get } = require("node:http");
const { join } = require("node:path");

const program = join(__dirname, "node_modules/mesh-proxy/dist/cli/run.js");
const server = createServer((request, response) => response.end(request.url));

server.listen(0, "127.0.0.1", () => {
  const to = `orders=127.0.0.1:${server.address().port}`;
  const args = [program, "--listen", "127.0.0.1:0", "--to", to, "--drain-grace", "2s"];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "inherit", "pipe"] });
  let said = "";
  let served = false;
  child.stderr.on("data", (chunk) => {
    const before = /outbound +127/.test(said);
    said += chunk;
    const port = /outbound +127\.0\.0\.1:(\d+)/.exec(said)?.[1];
    if (before || port === undefined) return;
    get({ host: "127.0.0.1", port, path: "/v1", headers: { host: "orders" } }, (reply) => {
      reply.on("data", (body) => (served = String(body) === "/v1"));
      reply.on("end", () => child.kill("SIGTERM"));
    });
  });
  child.on("close", (code) => {
    console.log(JSON.stringify([served, code === 0]));
    server.close();
  });
});
