/** Attacks what reads DNS answers, configuration files and PEM. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Input } from "./corpus.ts";
import { answerOf, readQuery, type Answer } from "./dns-answers.ts";
import { unescaped } from "./notation.ts";
import type { Player } from "./play.ts";
import type { Tally } from "./tally.ts";
import { Target } from "./target.ts";

const READER = new URL("../child/hostile-reader.ts", import.meta.url);
/** In answers that must not be believed. */
const NEVER = "127.0.0.66";
const AGAIN_AFTER_MS = 500;
const TRIES = 4;

export class ReaderPlayer implements Player {
  readonly lanes: number;
  readonly #surface: "dns" | "config" | "pem";
  readonly #tally: Tally;
  readonly #names = new DnsAnswers();
  #mesh: Target | undefined = undefined;
  #bare: Target | undefined = undefined;
  #played = 0;

  constructor(surface: "dns" | "config" | "pem", tally: Tally) {
    this.#surface = surface;
    this.#tally = tally;
    this.lanes = surface === "dns" ? 24 : 1;
  }

  async start(): Promise<void> {
    const port = this.#surface === "dns" ? await this.#names.start() : 0;
    this.#mesh = new Target(READER, ["mesh", String(port)], (kind, text) =>
      this.#tally.find(kind, this.#surface, text),
    );
    this.#bare = new Target(READER, ["bare", String(port)], () => this.#tally.count("bare_faults"));
    await Promise.all([this.#mesh.start(), this.#bare.start()]);
  }

  async play(input: Input): Promise<void> {
    await this.#mesh!.start().catch(() => {});
    const about = this.#about(input);
    const [mesh] = await Promise.all([
      this.#mesh!.ask<readonly string[] | boolean>(this.#surface, about),
      this.#bare!.ask(this.#surface, about),
    ]);
    if (mesh === undefined) return;
    const accepted = typeof mesh === "boolean" ? Number(mesh) : mesh.length;
    this.#tally.count(accepted > 0 ? "replied" : "refused");
    if (input.accepted === undefined) return;
    if (typeof mesh !== "boolean" && mesh.includes(NEVER)) {
      this.#tally.find("desync", this.#surface, `believed ${NEVER}`, input);
    } else if (accepted !== input.accepted && !(await this.#isRightLater(input))) {
      this.#tally.find("verdict", this.#surface, `accepted ${accepted}`, input);
    }
  }

  /** Only lookups have limits of time, which can come first on a busy machine. */
  async #isRightLater(input: Input): Promise<boolean> {
    if (this.#surface !== "dns") return false;
    for (let tries = 0; tries < TRIES; tries++) {
      await sleep(AGAIN_AFTER_MS);
      await Promise.all([this.#mesh!.calm(), this.#bare!.calm()]);
      const again = await this.#mesh!.ask<readonly string[]>("dns", this.#about(input));
      if (again?.length === input.accepted) return true;
    }
    return false;
  }

  #about(input: Input): string {
    if (this.#surface !== "dns") return unescaped(input.text);
    const name = `n${this.#played++}.test`;
    this.#names.set(name, input.text);
    return name;
  }

  async measure(): Promise<void> {
    const [mesh, bare] = await Promise.all([this.#mesh!.grown(), this.#bare!.grown()]);
    this.#tally.measured(this.#surface, mesh, bare);
  }

  async end(): Promise<void> {
    await Promise.all([this.#mesh!.end(), this.#bare!.end()]);
  }

  kill(): void {
    this.#mesh?.kill();
    this.#bare?.kill();
    this.#names.close();
  }
}

/** A DNS server that answers by name, as the corpus says. */
class DnsAnswers {
  readonly #texts = new Map<string, string>();
  readonly #udp = createSocket("udp4");
  readonly #sockets = new Set<Socket>();
  readonly #tcp = createServer((socket) => this.#serve(socket));

  async start(): Promise<number> {
    this.#tcp.listen(0, "127.0.0.1");
    await once(this.#tcp, "listening");
    const { port } = this.#tcp.address() as AddressInfo;
    this.#udp.bind(port, "127.0.0.1");
    await once(this.#udp, "listening");
    this.#udp.on("message", (bytes, from) => {
      const answer = this.#answer(bytes, false);
      if (answer === undefined) return;
      void sleep(answer.waitMs).then(() => {
        for (const packet of answer.packets) {
          this.#udp.send(packet, from.port, from.address, () => {});
        }
      });
    });
    return port;
  }

  set(name: string, text: string): void {
    this.#texts.set(name, text);
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#tcp.close();
    try {
      this.#udp.close();
    } catch {
      // It was never opened.
    }
  }

  #answer(bytes: Buffer, tcp: boolean): Answer | undefined {
    const query = readQuery(bytes);
    if (query === undefined) return undefined;
    const name = query.name.toLowerCase().replace(/^(?:_\w+\.)+/, "");
    return answerOf(this.#texts.get(name) ?? "rcode 3", query, tcp);
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    socket.on("error", () => {});
    socket.once("data", (bytes: Buffer) => {
      const answer = this.#answer(bytes.subarray(2), true);
      if (answer !== undefined) void this.#send(socket, answer);
    });
  }

  async #send(socket: Socket, { packets, waitMs, words }: Answer): Promise<void> {
    await sleep(waitMs);
    if (words.has("end-tcp")) socket.end();
    for (const packet of packets) {
      const more = words.has("long-tcp") ? 50 : 0;
      const length = Buffer.alloc(2);
      length.writeUInt16BE(words.has("zero-tcp") ? 0 : Math.min(65_535, packet.length + more));
      const bytes = Buffer.concat([length, packet]);
      for (let at = 0; at < bytes.length && socket.writable;) {
        const step = words.has("drip-tcp") ? 3 : bytes.length;
        socket.write(bytes.subarray(at, at + step));
        at += step;
        if (step < bytes.length) await sleep(5);
      }
    }
  }
}
