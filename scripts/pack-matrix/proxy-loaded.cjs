/**
 * What a proxy with static endpoints loads, as it is installed: no package that is not ours, and nothing of the clients.
 * And whether each file is in Latin-1, because V8 keeps the text of any other with two bytes for each character.
 */
const { readFileSync } = require("node:fs");
const { createMesh } = require("@inmesh/core");
const { startProxy } = require("mesh-proxy");

const mesh = createMesh({
  env: {},
  config: { services: { orders: { discovery: { static: ["127.0.0.1:1"] } } } },
});
startProxy({ mesh, listeners: [{ name: "out", mode: "outbound" }] });
const files = Object.keys(require.cache).filter((path) => path !== __filename);
const foreign = files.filter((path) => {
  const normal = path.replaceAll("\\", "/");
  return (
    /.*\/node_modules\/(?!@inmesh\/|mesh-proxy\/)/.test(normal) ||
    normal.endsWith("/http/dist/http.js")
  );
});
const wide = files.filter((path) => /[^\0-\xff]/.test(readFileSync(path, "utf8")));
if (foreign.length > 0) throw new Error(`loaded for nothing: ${foreign.join(", ")}`);
if (wide.length > 0) throw new Error(`not in Latin-1: ${wide.join(", ")}`);
console.log(files.length);
void mesh.close(0);
