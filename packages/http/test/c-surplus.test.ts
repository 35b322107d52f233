/**
 * C13: bytes that a server sends behind a whole reply, while no request has been sent. They wait in
 * the kernel when the next request takes the connection, and must not become its reply.
 */
import { once } from "node:events";
import { stat } from "node:fs/promises";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { request } from "node:http";
import { text } from "node:stream/consumers";
import { meshClient, type HttpMesh } from "@inmesh/http";
import { describe, expect, it, onTestFinished } from "vitest";
import { doorsOf } from "./support/doors.ts";
import { sleep } from "./wire.ts";

type Door = (mesh: HttpMesh, path: string) => Promise<string>;

async function agent(mesh: HttpMesh, path: string): Promise<string> {
  const asked = request(`http://orders${path}`, { agent: mesh.agent() }).end();
  const [reply] = (await once(asked, "response")) as [NodeJS.ReadableStream];
  return text(reply);
}

const DOORS: Readonly<Record<string, Door>> = {
  meshClient: async (mesh, path) => (await meshClient("orders", { mesh }).fetch(path)).text(),
  "mesh.fetch": async (mesh, path) => (await mesh.fetch(`http://orders${path}`)).text(),
  "mesh.dispatcher": async (mesh, path) => {
    const asked = { origin: "http://orders", path, method: "GET" as const };
    return (await mesh.dispatcher.request(asked)).body.text();
  },
  "mesh.agent()": agent,
};

const reply = (body: string): string =>
  `HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`;

/** Answers each request with its path. What it writes is in the client's kernel when `write` returns. */
async function echoing(): Promise<{ address: string; sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    socket.on("data", (bytes: Buffer) => {
      socket.write(reply(/^\w+ (\S+)/.exec(bytes.toString())?.[1] ?? "?"));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, sockets };
}

describe.each(Object.entries(DOORS))("%s", (_door, ask) => {
  it("C13 LC: a reply that waits in the kernel of an idle connection is not the next one's", async () => {
    const { address, sockets } = await echoing();
    const mesh = doorsOf([address]);
    expect(await ask(mesh, "/first")).toBe("/first");
    await sleep(20);
    // In one turn of the loop, so that nothing has read it when the request is sent.
    sockets[0]!.write(reply("poison"));
    expect(await ask(mesh, "/second")).toBe("/second");
    expect(sockets).toHaveLength(2);
  });

  it("C5 LC: the end of an idle connection that waits in the kernel costs no request", async () => {
    const { address, sockets } = await echoing();
    const mesh = doorsOf([address]);
    expect(await ask(mesh, "/first")).toBe("/first");
    await sleep(20);
    sockets[0]!.end();
    expect(await ask(mesh, "/second")).toBe("/second");
    expect(sockets).toHaveLength(2);
  });
});

// At the other doors undici waits one turn less. What comes during that turn is the reply, as what comes a
// moment later is at every door: it cannot be distinguished from the reply of a server that is fast.
describe("mesh.agent()", () => {
  it("C13 LC: a reply that came during the callback of I/O that sends the request is not its own", async () => {
    const { address, sockets } = await echoing();
    const mesh = doorsOf([address]);
    expect(await agent(mesh, "/first")).toBe("/first");
    await sleep(20);
    await stat(import.meta.filename);
    sockets[0]!.write(reply("poison"));
    expect(await agent(mesh, "/second")).toBe("/second");
    expect(sockets).toHaveLength(2);
  });
});
