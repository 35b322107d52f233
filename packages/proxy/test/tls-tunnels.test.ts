/** TLS that the proxy passes on unread: handshakes that break off, and what is none, as both ends see them. */
import { once } from "node:events";
import { connect } from "node:net";
import { connect as connectTls, createServer } from "node:tls";
import { describe, expect, it, onTestFinished } from "vitest";
import { TestCa } from "../../http/test/support/ca.ts";
import { listenTls } from "../../http/test/support/tls.ts";
import { proxyOf } from "./support/ports.ts";
import { Client, listening } from "./support/net.ts";

const ca = new TestCa();

/** The first thing that a client of TLS says. */
async function helloFor(servername: string): Promise<Buffer> {
  const peer = await listening(() => {});
  const socket = connectTls({ port: peer.port, host: "127.0.0.1", servername });
  socket.on("error", () => {});
  await expect.poll(() => peer.sockets.size).toBe(1);
  const [heard] = peer.sockets;
  const [hello] = (await once(heard!, "data")) as [Buffer];
  socket.destroy();
  return hello;
}

/** A proxy before `bank.example`, which is found by its name, or is all that there is. */
async function before(address: string, listener: object = {}) {
  const { mesh, portOf } = await proxyOf(
    { bank: { discovery: { static: [address] }, authority: "bank.example:443" } },
    { all: { listen: "127.0.0.1:0", detectTimeout: "200ms", ...listener } },
  );
  return { mesh, to: `127.0.0.1:${portOf("all")}`, port: portOf("all") };
}

async function bank(): Promise<string> {
  const server = createServer(ca.issue({ names: ["bank.example"] }), (socket) => {
    socket.on("error", () => {});
    socket.end("over TLS");
  });
  return (await listenTls(server)).address;
}

/** What a client reads that does it right. */
async function secret(port: number): Promise<string> {
  const socket = connectTls({ port, host: "127.0.0.1", servername: "bank.example", ca: ca.cert });
  onTestFinished(() => void socket.destroy());
  let text = "";
  for await (const chunk of socket.setEncoding("utf8")) text += chunk as string;
  return text;
}

/** A ClientHello that says it has so many bytes, in records of 16 KiB. */
function helloOf(bytes: number): Buffer {
  const hello = Buffer.alloc(4 + bytes);
  hello.writeUInt32BE((1 << 24) | bytes);
  const records: Buffer[] = [];
  for (let at = 0; at < hello.length; at += 16_384) {
    const piece = hello.subarray(at, at + 16_384);
    records.push(Buffer.from([22, 3, 1, piece.length >> 8, piece.length & 255]), piece);
  }
  return Buffer.concat(records);
}

describe("T6 PT: what is no handshake, or a slow one", () => {
  it.each<[string, () => Promise<readonly Buffer[]>]>([
    ["a ClientHello of 64 KiB", async () => [helloOf(65_536)]],
    [
      "the hello of SSL 2",
      async () => [Buffer.from("802e0100020015000000100100800200800300", "hex")],
    ],
    [
      "the hello of SSL 3, which has no name",
      async () => {
        const hello = Buffer.alloc(47);
        hello.set([22, 3, 0, 0, 42, 1, 0, 0, 38, 3, 0]);
        return [hello];
      },
    ],
    [
      "a hello of which the rest comes too late",
      async () => {
        const hello = await helloFor("bank.example");
        return [hello.subarray(0, 20), hello.subarray(20, 21)];
      },
    ],
    ["an alert", async () => [Buffer.from([21, 3, 3, 0, 2, 2, 40])]],
  ])(
    "T6 PT: %s: nothing says where it goes to, so it is refused, and others are served",
    async (_, pieces) => {
      const { port, to, mesh } = await before(await bank());
      const client = new Client(to);
      for (const piece of await pieces()) {
        client.send(piece);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      await client.until(() => client.closed, "the end");
      expect(client.error?.code).toBe("ECONNRESET");
      expect(client.received).toHaveLength(0);
      expect(await secret(port)).toBe("over TLS");
      expect(refusals(mesh)).toEqual({ no_service: 1 });
    },
  );

  it("T6 PT: a hello byte by byte, in time: it is passed on whole", async () => {
    const peer = await listening((socket) => {
      let heard = Buffer.alloc(0);
      socket.on("data", (chunk: Buffer) => {
        heard = Buffer.concat([heard, chunk]);
        if (heard.length === hello.length) socket.end(heard);
      });
    });
    const hello = await helloFor("bank.example");
    const { to } = await before(peer.address, { detectTimeout: "30s" });
    const client = new Client(to);
    for (const byte of hello) {
      client.send(Buffer.from([byte]));
      if (byte % 16 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await client.until(() => client.ended, "its echo");
    expect(client.received).toEqual(hello);
  });

  it("T6 PT: plain text to a service of TLS, and TLS to one of plain text: each hears the other, and it ends", async () => {
    const tls = await before(await bank(), { service: "bank", protocol: "tls" });
    const plain = new Client(tls.to).send("GET / HTTP/1.1\r\nHost: bank\r\n\r\n");
    await plain.until(() => plain.closed || plain.ended, "the end");
    expect(plain.text).not.toContain("over TLS");
    plain.end();
    const peer = await listening((socket) =>
      socket.once("data", () => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")),
    );
    const other = await before(peer.address);
    const socket = connectTls({ port: other.port, host: "127.0.0.1", servername: "bank.example" });
    const [error] = (await once(socket, "error")) as [NodeJS.ErrnoException];
    expect(error.code).toBe("ERR_SSL_WRONG_VERSION_NUMBER");
    for (const { mesh } of [tls, other]) await expect.poll(() => inFlight(mesh)).toBe(0);
  });
});

describe("C17 PT: a connection that ends in the handshake", () => {
  it.each(["fin", "rst"] as const)(
    "C17 PT: by its server, %s behind the ClientHello: the client sees the same, once",
    async (end) => {
      let met = 0;
      const peer = await listening((socket) =>
        socket.once("data", () => {
          met++;
          if (end === "fin") socket.end();
          else socket.resetAndDestroy();
        }),
      );
      const { to, mesh } = await before(peer.address);
      const client = new Client(to).send(await helloFor("bank.example"));
      await client.until(() => client.ended || client.closed, "the end");
      if (end === "rst") await client.until(() => client.closed);
      expect(client.error?.code).toBe(end === "rst" ? "ECONNRESET" : undefined);
      client.end();
      await expect.poll(() => inFlight(mesh)).toBe(0);
      // What was sent cannot be sent elsewhere: the proxy does not know what it means.
      expect(met).toBe(1);
      expect(outcomes(mesh)).toEqual(end === "rst" ? { failure: 1 } : { success: 1 });
    },
  );

  it("C17 PT: by its server in the middle of its own flight: the client's handshake fails, and nothing hangs", async () => {
    const real = await bank();
    const peer = await listening((socket) => {
      const behind = connect({ port: Number(real.split(":")[1]), host: "127.0.0.1" });
      socket.on("data", (chunk: Buffer) => behind.write(chunk));
      socket.on("close", () => behind.destroy());
      behind.on("error", () => {});
      behind.once("data", (flight: Buffer) => {
        socket.write(flight.subarray(0, flight.length / 2), () => socket.resetAndDestroy());
      });
    });
    const { port, mesh } = await before(peer.address);
    const socket = connectTls({ port, host: "127.0.0.1", servername: "bank.example", ca: ca.cert });
    const [error] = (await once(socket, "error")) as [NodeJS.ErrnoException];
    expect(error.code).toBe("ECONNRESET");
    await expect.poll(() => inFlight(mesh)).toBe(0);
  });

  it("C17 PT: by its client, behind the ClientHello: the server sees the same, and is not charged", async () => {
    const ends: string[] = [];
    const peer = await listening((socket) => {
      socket.on("error", (error: NodeJS.ErrnoException) => ends.push(String(error.code)));
      socket.resume();
    });
    const { to, mesh } = await before(peer.address);
    const client = new Client(to).send(await helloFor("bank.example"));
    await expect.poll(() => peer.sockets.size).toBe(1);
    const [heard] = peer.sockets;
    await expect.poll(() => heard!.bytesRead).toBeGreaterThan(0);
    client.socket.resetAndDestroy();
    await expect.poll(() => ends).toEqual(["ECONNRESET"]);
    await expect.poll(() => inFlight(mesh)).toBe(0);
    expect(outcomes(mesh)).toEqual({ abandoned: 1 });
  });
});

interface Measured {
  metrics(): readonly {
    readonly name: string;
    readonly labels: Readonly<Record<string, string>>;
  }[];
  snapshot(): {
    readonly services: readonly {
      readonly protocol: string;
      readonly endpoints: readonly { readonly inFlight: number }[];
    }[];
  };
}

const inFlight = (mesh: Measured): number | undefined =>
  mesh.snapshot().services.find(({ protocol }) => protocol === "tcp")?.endpoints[0]?.inFlight;

/** A counter by one of its labels. */
function counted(mesh: Measured, name: string, label: string): Record<string, number> {
  const found: Record<string, number> = {};
  for (const one of mesh.metrics()) {
    const value = (one as { readonly value?: number }).value;
    if (one.name === name && value !== undefined) found[one.labels[label]!] = value;
  }
  return found;
}

const outcomes = (mesh: Measured) => counted(mesh, "inmesh.attempts", "outcome");

/** Connections of clients that were refused, by reason. */
function refusals(mesh: Measured): Record<string, number> {
  const { none: _none, ...others } = counted(mesh, "inmesh.connection.opened", "reason");
  return others;
}
