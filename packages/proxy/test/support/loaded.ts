/** A proxy with one static endpoint that serves one request, and then says what its process has loaded. */
import { once } from "node:events";
import { createRequire } from "node:module";
import { connect, createServer, type AddressInfo, type Server } from "node:net";
import { createMesh } from "@inmesh/core";
import { startProxy } from "mesh-proxy";

export interface Loaded {
  /** The first line of the reply. */
  readonly reply: string;
  /** Names of packages from node_modules. */
  readonly packages: readonly string[];
  /** Of those modules of Node that are large. */
  readonly builtins: readonly string[];
}

const LARGE = /^NativeModule (crypto|http2|https|tls|zlib)$/;

async function portOf(server: Server): Promise<number> {
  await once(server.listen(0, "127.0.0.1"), "listening");
  return (server.address() as AddressInfo).port;
}

const backend = createServer((socket) =>
  socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")),
);
const endpoint = `127.0.0.1:${await portOf(backend)}`;
const mesh = createMesh({
  env: {},
  config: { services: { orders: { discovery: { static: [endpoint] } } } },
});
const proxy = startProxy({ mesh, listeners: [{ name: "out", mode: "outbound" }] });
const front = createServer({ allowHalfOpen: true }, (socket) =>
  proxy.listeners[0]!.handle(socket, undefined, "http1"),
);
const client = connect(await portOf(front), "127.0.0.1");
client.write("GET / HTTP/1.1\r\nhost: orders\r\n\r\n");
const [reply] = (await once(client, "data")) as [Buffer];

const packages = Object.keys(createRequire(import.meta.url).cache).flatMap((path) => {
  const name = /.*node_modules[\\/]((?:@[^\\/]+[\\/])?[^\\/]+)/.exec(path)?.[1];
  return name === undefined ? [] : [name];
});
const { moduleLoadList } = process as unknown as { readonly moduleLoadList: readonly string[] };
const builtins = moduleLoadList.flatMap((line) => LARGE.exec(line)?.[1] ?? []);
const loaded: Loaded = {
  reply: reply.toString("latin1").split("\r\n")[0]!,
  packages: [...new Set(packages)].sort(),
  builtins: builtins.sort(),
};
console.log(JSON.stringify(loaded));
process.exit();
