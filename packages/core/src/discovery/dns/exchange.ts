/**
 * One question to one server, over UDP or TCP. Every query has a random id and a socket of its own
 * (so a random port), connected, so the kernel drops what comes from elsewhere. A reply that does
 * not fit the question is ignored until the time is up: it may be forged or late (faults.md D20).
 */
import { randomInt } from "node:crypto";
import { createSocket } from "node:dgram";
import { connect, isIP } from "node:net";
import { type Answer, type DecodedPacket, decode, encode, RECURSION_DESIRED } from "dns-packet";
import type { Runtime } from "../../runtime/runtime.ts";
import { DnsError } from "./dns-error.ts";
import { FORMERR } from "./rcode.ts";
import { lengthsFit } from "./record-lengths.ts";
import type { NameServer } from "./system-files.ts";

export type QueryType = "A" | "AAAA" | "SRV";

export interface DnsQuery {
  readonly server: NameServer;
  /** Absolute, without the trailing dot. */
  readonly name: string;
  readonly type: QueryType;
  /** For UDP and TCP each. */
  readonly timeoutMs: number;
  /** false: without EDNS0, for servers that refuse it. */
  readonly edns: boolean;
  readonly signal: AbortSignal;
}

/** Fits every path's MTU; what is larger comes truncated and is asked again over TCP. */
const UDP_PAYLOAD_BYTES = 1232;
const TRUNCATED = 0x0200;
const RESPONSE = 0x8000;

/** Asks over UDP, and over TCP when the reply is truncated. Rejects with a DnsError only. */
export async function exchange(runtime: Runtime, ask: DnsQuery): Promise<DecodedPacket> {
  const reply = await exchangeUdp(runtime, ask);
  return reply ?? exchangeTcp(runtime, ask);
}

/** The full response code: four bits in the header, the upper ones in EDNS0. */
export function responseCode(packet: DecodedPacket): number {
  const opt = packet.additionals?.find((record) => record.type === "OPT");
  const upper = opt?.type === "OPT" ? opt.extendedRcode : 0;
  return (upper << 4) | ((packet.flags ?? 0) & 15);
}

/** Names compare without case and without the trailing dot. */
export function plainName(name: string): string {
  return name.replace(/\.$/, "").toLowerCase();
}

/** The reply, or `undefined` for bytes that are no reply to this question. Never throws. */
export function readReply(bytes: Buffer, id: number, ask: DnsQuery): DecodedPacket | undefined {
  let packet: DecodedPacket;
  try {
    packet = decode(bytes);
  } catch {
    return undefined;
  }
  if (packet.id !== id || packet.type !== "response") return undefined;
  const questions = packet.questions ?? [];
  // A server that could not parse the question does not always repeat it.
  if (questions.length === 0 && responseCode(packet) === FORMERR) return packet;
  const question = questions[0];
  if (questions.length !== 1 || question === undefined) return undefined;
  if (question.type !== ask.type || question.class !== "IN") return undefined;
  if (plainName(question.name) !== plainName(ask.name)) return undefined;
  return lengthsFit(bytes) ? packet : undefined;
}

function encodeQuery(id: number, ask: DnsQuery): Buffer {
  const opt: Answer = {
    type: "OPT",
    name: ".",
    udpPayloadSize: UDP_PAYLOAD_BYTES,
    extendedRcode: 0,
    ednsVersion: 0,
    flags: 0,
    flag_do: false,
    options: [],
  };
  return encode({
    type: "query",
    id,
    flags: RECURSION_DESIRED,
    questions: [{ type: ask.type, name: ask.name, class: "IN" }],
    additionals: ask.edns ? [opt] : [],
  });
}

/** Runs `start` until it settles, the time is up or the signal fires; `close` runs in any case. */
function bounded<T>(
  runtime: Runtime,
  ask: DnsQuery,
  start: (done: (value: T) => void, fail: (error: DnsError) => void) => () => void,
  late: () => DnsError,
): Promise<T> {
  return new Promise((resolve, reject) => {
    let close = (): void => {};
    const end = (): void => {
      timer.cancel();
      ask.signal.removeEventListener("abort", abort);
      close();
    };
    const fail = (error: DnsError): void => {
      end();
      reject(error);
    };
    const abort = (): void => fail(new DnsError("cancelled", `${where(ask)}: cancelled`));
    if (ask.signal.aborted) {
      reject(new DnsError("cancelled", `${where(ask)}: cancelled`));
      return;
    }
    const timer = runtime.after(ask.timeoutMs, () => fail(late()), undefined);
    ask.signal.addEventListener("abort", abort);
    try {
      close = start((value) => {
        end();
        resolve(value);
      }, fail);
    } catch (error) {
      // No socket to be had, or a name that does not encode.
      fail(new DnsError("unreachable", `${where(ask)}: ${String(error)}`, error));
    }
  });
}

/** `undefined`: truncated. */
function exchangeUdp(runtime: Runtime, ask: DnsQuery): Promise<DecodedPacket | undefined> {
  const id = randomInt(0x10000);
  let garbage = 0;
  return bounded(
    runtime,
    ask,
    (done, fail) => {
      const socket = createSocket({
        type: isIP(ask.server.host) === 6 ? "udp6" : "udp4",
        // The default asks getaddrinfo's door even for literals; an application may have patched it.
        lookup: (host, _options, callback) => {
          process.nextTick(callback, null, host, isIP(host));
        },
      });
      let open = true;
      socket.on("error", (error) => {
        if (open) fail(new DnsError("unreachable", `${where(ask)}: ${error.message}`, error));
      });
      socket.on("message", (bytes) => {
        if (!open) return;
        const reply = readReply(bytes, id, ask);
        if (reply?.flag_tc === true || (reply === undefined && isTruncated(bytes, id))) {
          done(undefined);
        } else if (reply === undefined) garbage++;
        else done(reply);
      });
      socket.connect(ask.server.port, ask.server.host, () => {
        if (!open) return;
        socket.send(encodeQuery(id, ask), (error) => {
          if (open && error) {
            fail(new DnsError("unreachable", `${where(ask)}: ${error.message}`, error));
          }
        });
      });
      return () => {
        open = false;
        socket.close();
      };
    },
    () =>
      garbage > 0
        ? new DnsError("malformed", `${where(ask)}: no usable reply, ${garbage} ignored`)
        : new DnsError("timeout", `${where(ask)}: no reply within ${Math.round(ask.timeoutMs)} ms`),
  );
}

/** Some servers cut a reply in the middle of a record, so it cannot be decoded. */
function isTruncated(bytes: Buffer, id: number): boolean {
  if (bytes.length < 12 || bytes.readUInt16BE(0) !== id) return false;
  return (bytes.readUInt16BE(2) & (TRUNCATED | RESPONSE)) === (TRUNCATED | RESPONSE);
}

function exchangeTcp(runtime: Runtime, ask: DnsQuery): Promise<DecodedPacket> {
  const id = randomInt(0x10000);
  return bounded(
    runtime,
    ask,
    (done, fail) => {
      const socket = connect({ host: ask.server.host, port: ask.server.port });
      let open = true;
      let bytes: Buffer = Buffer.alloc(0);
      const failed = (error?: Error): void => {
        if (!open) return;
        fail(new DnsError("unreachable", `${where(ask)}: ${error?.message ?? "closed"}`, error));
      };
      socket.on("error", failed);
      socket.on("close", () => failed());
      socket.on("connect", () => {
        const query = encodeQuery(id, ask);
        const length = Buffer.alloc(2);
        length.writeUInt16BE(query.length);
        socket.write(Buffer.concat([length, query]));
      });
      socket.on("data", (chunk: Buffer) => {
        if (!open) return;
        bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
        // Bounded by the 16 bit length in front: one message is all that is waited for.
        if (bytes.length < 2 || bytes.length < 2 + bytes.readUInt16BE(0)) return;
        const reply = readReply(bytes.subarray(2, 2 + bytes.readUInt16BE(0)), id, ask);
        if (reply !== undefined) done(reply);
        else fail(new DnsError("malformed", `${where(ask)}: unusable reply over TCP`));
      });
      return () => {
        open = false;
        socket.destroy();
      };
    },
    () => new DnsError("timeout", `${where(ask)}: no reply over TCP`),
  );
}

function where(ask: DnsQuery): string {
  return `dns ${ask.type} ${ask.name} → ${ask.server.host}#${ask.server.port}`;
}
