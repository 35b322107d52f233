/**
 * A DNS server for tests, on 127.0.0.1 over UDP and TCP, with programmable answers: also the wrong
 * ones that real servers, networks and attackers give.
 */
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { type Answer, decode, encode, RECURSION_AVAILABLE } from "dns-packet";

export interface SeenQuery {
  readonly name: string;
  readonly type: string;
  readonly transport: "udp" | "tcp";
  readonly id: number;
  /** The port the client asked from. */
  readonly clientPort: number;
  /** The UDP payload size of EDNS0; `undefined` without it. */
  readonly udpPayloadBytes: number | undefined;
}

export interface DnsReply {
  /** Default 0, NOERROR. */
  readonly rcode?: number;
  readonly answers?: readonly Answer[];
  readonly authorities?: readonly Answer[];
  readonly additionals?: readonly Answer[];
  /** Over UDP: an empty reply with TC set. Replies above 1232 bytes get that anyway. */
  readonly truncated?: boolean;
  /** No reply at all. */
  readonly silent?: boolean;
  /** What is really sent, in order, instead of the reply that would be right. */
  readonly raw?: (right: Buffer, query: SeenQuery) => readonly Buffer[];
}

const NXDOMAIN = 3;
const TRUNCATED = 0x0200;
const MAX_UDP_BYTES = 1232;

export class DnsServer {
  /** Every query so far, in order of arrival. */
  readonly queries: SeenQuery[] = [];
  readonly #replies = new Map<string, DnsReply | ((query: SeenQuery) => DnsReply)>();
  readonly #udp: UdpSocket;
  readonly #tcp: Server;
  readonly #connections = new Set<Socket>();

  /** Use `DnsServer.start()`. */
  constructor(udp: UdpSocket, tcp: Server) {
    this.#udp = udp;
    this.#tcp = tcp;
    udp.on("message", (bytes, from) => {
      for (const reply of this.#reply(bytes, "udp", from.port)) {
        // The client may be gone by now; its loss.
        udp.send(reply, from.port, from.address, () => {});
      }
    });
    tcp.on("connection", (socket) => this.#serve(socket));
  }

  static async start(): Promise<DnsServer> {
    for (let attempt = 0; ; attempt++) {
      const tcp = createServer();
      tcp.listen(0, "127.0.0.1");
      await once(tcp, "listening");
      const udp = createSocket("udp4");
      try {
        udp.bind((tcp.address() as AddressInfo).port, "127.0.0.1");
        await once(udp, "listening");
        return new DnsServer(udp, tcp);
      } catch (error) {
        // The port is free for TCP only: try another one.
        tcp.close();
        if (attempt === 10) throw error;
      }
    }
  }

  get port(): number {
    return (this.#tcp.address() as AddressInfo).port;
  }

  /** Sets the reply for a name (no trailing dot) and type. Names without one get NXDOMAIN. */
  set(name: string, type: string, reply: DnsReply | ((query: SeenQuery) => DnsReply)): void {
    this.#replies.set(`${type} ${name.toLowerCase()}`, reply);
  }

  async close(): Promise<void> {
    for (const socket of this.#connections) socket.destroy();
    await Promise.all([
      new Promise<void>((resolve) => this.#udp.close(resolve)),
      new Promise<void>((resolve) => this.#tcp.close(() => resolve())),
    ]);
  }

  #serve(socket: Socket): void {
    this.#connections.add(socket);
    let bytes: Buffer = Buffer.alloc(0);
    socket.on("error", () => {});
    socket.on("close", () => this.#connections.delete(socket));
    socket.on("data", (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      while (bytes.length >= 2 && bytes.length >= 2 + bytes.readUInt16BE(0)) {
        const end = 2 + bytes.readUInt16BE(0);
        const query = bytes.subarray(2, end);
        bytes = bytes.subarray(end);
        for (const reply of this.#reply(query, "tcp", socket.remotePort ?? 0)) {
          const length = Buffer.alloc(2);
          length.writeUInt16BE(reply.length);
          // In two writes: the client must put the pieces together.
          socket.write(length);
          socket.write(reply);
        }
      }
    });
  }

  #reply(bytes: Buffer, transport: "udp" | "tcp", clientPort: number): readonly Buffer[] {
    const packet = decode(bytes);
    const question = packet.questions?.[0];
    if (question === undefined) return [];
    const opt = packet.additionals?.find((record) => record.type === "OPT");
    const query: SeenQuery = {
      name: question.name,
      type: question.type,
      transport,
      id: packet.id ?? 0,
      clientPort,
      udpPayloadBytes: opt?.type === "OPT" ? opt.udpPayloadSize : undefined,
    };
    this.queries.push(query);
    const set = this.#replies.get(`${query.type} ${query.name.toLowerCase()}`);
    const reply = (typeof set === "function" ? set(query) : set) ?? { rcode: NXDOMAIN };
    if (reply.silent === true) return [];
    const whole = encode({
      type: "response",
      id: query.id,
      flags: RECURSION_AVAILABLE | (reply.rcode ?? 0),
      questions: [question],
      answers: [...(reply.answers ?? [])],
      authorities: [...(reply.authorities ?? [])],
      additionals: [...(reply.additionals ?? [])],
    });
    const cut = transport === "udp" && (reply.truncated === true || whole.length > MAX_UDP_BYTES);
    const right = cut
      ? encode({
          type: "response",
          id: query.id,
          flags: RECURSION_AVAILABLE | TRUNCATED,
          questions: [question],
        })
      : whole;
    return reply.raw?.(right, query) ?? [right];
  }
}
