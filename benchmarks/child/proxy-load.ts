/**
 * The client of the benchmark of proxies: connections that are kept, each with one request in flight. For each
 * message it makes `requests` requests on `connections` connections to `port`, and answers with how long each took
 * (in microseconds: p50 and p99). With `requests` 0 it only opens the connections, and keeps them.
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";

interface Work {
  readonly port: number;
  readonly connections: number;
  readonly requests: number;
}

const HEAD = Buffer.from(
  "GET /v1/orders/1?fields=all HTTP/1.1\r\nHost: orders\r\nUser-Agent: bench/1.0\r\nAccept: application/json\r\nAccept-Encoding: gzip, deflate\r\nX-Request-Id: 5b3c1f7e-7a57-4e4b-9f0f-000000000000\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n",
);
let open: { port: number; sockets: Socket[] } = { port: 0, sockets: [] };

async function opened(port: number, connections: number): Promise<Socket[]> {
  if (open.port !== port || open.sockets.length !== connections) {
    for (const socket of open.sockets) socket.destroy();
    const sockets: Socket[] = [];
    for (let i = 0; i < connections; i++) {
      const socket = connect({ port, host: "127.0.0.1", noDelay: true });
      await once(socket, "connect");
      sockets.push(socket);
    }
    open = { port, sockets };
  }
  return open.sockets;
}

function work(socket: Socket, left: () => boolean, took: number[]): Promise<void> {
  return new Promise((resolve, reject) => {
    let missing = -1;
    let begun = 0;
    const next = (): void => {
      if (!left()) {
        socket.removeAllListeners();
        resolve();
        return;
      }
      missing = -1;
      begun = performance.now();
      socket.write(HEAD);
    };
    socket.on("error", reject);
    socket.on("close", () => reject(new Error("the proxy has closed a connection")));
    socket.on("data", (chunk: Buffer) => {
      let length = chunk.length;
      if (missing < 0) {
        const end = chunk.indexOf("\r\n\r\n");
        const head = chunk.toString("latin1", 0, end);
        if (!head.startsWith("HTTP/1.1 200")) return reject(new Error(head));
        missing = Number(/content-length: (\d+)/i.exec(head)![1]);
        length -= end + 4;
      }
      missing -= length;
      if (missing > 0) return;
      took.push(performance.now() - begun);
      next();
    });
    next();
  });
}

process.on("message", async ({ port, connections, requests }: Work) => {
  const sockets = await opened(port, connections);
  let left = requests;
  const took: number[] = [];
  if (requests > 0) {
    await Promise.all(sockets.map((socket) => work(socket, () => left-- > 0, took)));
  }
  took.sort((a, b) => a - b);
  const at = (q: number): number => (took[Math.floor(q * took.length)] ?? 0) * 1_000;
  process.send!({ p50Us: at(0.5), p99Us: at(0.99) });
});
process.on("disconnect", () => process.exit());
