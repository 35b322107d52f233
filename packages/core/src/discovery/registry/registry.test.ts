/** Announcing and finding over real sockets and files; processes that are killed are in packages/http/test. */
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { execFileSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import type { EndpointInfo } from "../../endpoint-info.ts";
import { NodeRuntime } from "../../runtime/node-runtime.ts";
import { expectNoLeak } from "../../testing/leak-check.ts";
import { SimRuntime } from "../../testing/sim-runtime.ts";
import type { DiscoveryClient } from "../kind.ts";
import { Announcer } from "./announce.ts";
import { MAX_ENTRY_BYTES, parseEntry, parseFileName, type RegistryEntry } from "./entry.ts";
import { registryDiscovery } from "./registry.ts";

const HTTP: DiscoveryClient = { protocol: "http", scheme: "http", http2: false };
const runtime = new NodeRuntime();
const isRoot = process.getuid?.() === 0;

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "inmesh-registry-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function entry(port: number, more: Partial<RegistryEntry> = {}): RegistryEntry {
  return {
    version: 1,
    name: "orders",
    protocol: "http",
    speaks: ["http/1.1"],
    tls: false,
    addresses: [`127.0.0.1:${port}`],
    state: "serving",
    pid: process.pid,
    startedAtUnixMs: 1_700_000_000_000,
    ...more,
  };
}

/** A process that announces one server, as far as others can see. */
function announce(dir: string, said: RegistryEntry) {
  const failures: string[] = [];
  const announcer = new Announcer(dir, runtime);
  const announced = announcer.add((why) => failures.push(why));
  announced.say(said);
  onTestFinished(() => announced.say(undefined));
  return { announcer, announced, failures };
}

interface Watched {
  /** Addresses of the last report, `failed: …` or `none: …`. */
  last(): string | undefined;
  readonly reports: string[];
  readonly set: () => readonly EndpointInfo[];
  stop(): void;
  refresh(): void;
}

function watch(
  dir: string,
  client: DiscoveryClient = HTTP,
  time = runtime as NodeRuntime,
): Watched {
  const reports: string[] = [];
  let set: readonly EndpointInfo[] = [];
  const watched = registryDiscovery({ dir, name: "orders" }, client, time).watch({
    replace(endpoints, why) {
      set = endpoints;
      const shown = endpoints.map(
        ({ host, port, draining }) => `${host}:${port}${draining === true ? " draining" : ""}`,
      );
      reports.push(shown.length === 0 ? `none: ${why}` : shown.toSorted().join(" "));
    },
    change: () => reports.push("change"),
    failed: (error) => reports.push(`failed: ${error.message}`),
  });
  onTestFinished(() => watched.stop());
  return {
    reports,
    set: () => set,
    last: () => reports.at(-1),
    stop: () => watched.stop(),
    refresh: () => watched.refresh(),
  };
}

const said = (watched: Watched, wanted: string | RegExp): Promise<void> =>
  vi.waitFor(() => expect(watched.last()).toMatch(wanted), { timeout: 10_000, interval: 5 });

function entriesIn(dir: string): string[] {
  return readdirSync(dir).filter((file) => file.endsWith(".json"));
}

describe("an announcement", () => {
  it("is found whether it is there first or comes later, and goes when it is taken back", async () => {
    const dir = folder();
    announce(dir, entry(1));
    const watched = watch(dir);
    await said(watched, /^127\.0\.0\.1:1$/);
    const later = announce(dir, entry(2));
    await said(watched, /^127\.0\.0\.1:1 127\.0\.0\.1:2$/);
    later.announced.say(undefined);
    await said(watched, /^127\.0\.0\.1:1$/);
    expect(watched.reports).toHaveLength(3);
  });

  it("is one file that is renamed into its place, readable for this user alone", async () => {
    const dir = join(folder(), "not", "yet");
    const { failures } = announce(dir, entry(1));
    await vi.waitFor(() => expect(entriesIn(dir)).toHaveLength(1));
    const [file = ""] = entriesIn(dir);
    const about = parseFileName(file)!;
    expect(about).toMatchObject({ name: "orders", protocol: "http" });
    expect(parseEntry(readFileSync(join(dir, file), "utf8"), about)).toEqual(entry(1));
    if (process.platform !== "win32") {
      expect(statSync(dir).mode & 0o777).toBe(0o700);
      expect(statSync(join(dir, file)).mode & 0o777).toBe(0o600);
    }
    expect(failures).toEqual([]);
  });

  it("D9 CO: that drains is still named, as draining, before the function that says so returns", async () => {
    const dir = folder();
    const { announced } = announce(dir, entry(1));
    const watched = watch(dir);
    await said(watched, /^127\.0\.0\.1:1$/);
    announced.say(entry(1, { state: "draining" }));
    expect(readFileSync(join(dir, entriesIn(dir)[0]!), "utf8")).toContain('"draining"');
    await said(watched, /^127\.0\.0\.1:1 draining$/);
    announced.say(undefined);
    expect(entriesIn(dir)).toEqual([]);
    await said(watched, /^none/);
  });

  it("that changes its address is one change, without a moment in which there is none", async () => {
    const dir = folder();
    const { announced } = announce(dir, entry(1));
    const watched = watch(dir);
    await said(watched, /^127\.0\.0\.1:1$/);
    announced.say(entry(2));
    await said(watched, /^127\.0\.0\.1:2$/);
    expect(watched.reports).toEqual(["127.0.0.1:1", "127.0.0.1:2"]);
  });

  it("of several workers at one address is one endpoint, which drains with the last of them", async () => {
    const dir = folder();
    const first = announce(dir, entry(1));
    announce(dir, entry(1));
    const watched = watch(dir);
    await said(watched, /^127\.0\.0\.1:1$/);
    first.announced.say(entry(1, { state: "draining" }));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(watched.last()).toBe("127.0.0.1:1");
  });

  it("is written once more after a program that tidies up has taken it away", async () => {
    const dir = folder();
    const time = new SimRuntime(1);
    const announcer = new Announcer(dir, time);
    const announced = announcer.add(() => {});
    announced.say(entry(1));
    onTestFinished(() => announced.say(undefined));
    await vi.waitFor(() => expect(entriesIn(dir)).toHaveLength(1));
    rmSync(join(dir, entriesIn(dir)[0]!));
    await time.advance(10_000);
    expect(entriesIn(dir)).toHaveLength(1);
    // The socket as well: then it is another one, and another entry.
    const [before] = entriesIn(dir);
    rmSync(dir, { recursive: true });
    await time.advance(10_000);
    await vi.waitFor(() => expect(entriesIn(dir)).toHaveLength(1));
    expect(entriesIn(dir)).not.toEqual([before]);
    // And what lies there for long looks new once an hour.
    const old = join(dir, entriesIn(dir)[0]!);
    utimesSync(old, 1, 1);
    await time.advance(3_600_000);
    expect(statSync(old).mtimeMs).toBeGreaterThan(1_000_000);
    await said(watch(dir), /^127\.0\.0\.1:1$/);
  });
});

describe("a process that has ended", () => {
  /** What a crash leaves: the entry, and the file of a socket on which nothing listens. */
  function leftBehind(dir: string, pid: number, port: number): string {
    const id = `${pid}-0badc0de`;
    const script = `require("node:net").createServer().listen(${JSON.stringify(join(dir, `${id}.sock`))}, () => process.kill(process.pid, "SIGKILL"))`;
    try {
      execFileSync(process.execPath, ["-e", script], { stdio: "ignore" });
    } catch {
      // It was killed.
    }
    const file = `orders~http~${id}.0.json`;
    writeFileSync(join(dir, file), JSON.stringify(entry(port, { pid })));
    return file;
  }

  it("is not named, although its entry and its socket are still there, and both are cleared away", async () => {
    const dir = folder();
    announce(dir, entry(1));
    leftBehind(dir, 2 ** 22 + 1, 9);
    const watched = watch(dir);
    await said(watched, /^127\.0\.0\.1:1$/);
    await vi.waitFor(() => expect(readdirSync(dir)).toHaveLength(2));
    expect(watched.reports.join()).not.toContain(":9");
  });

  it("is not named although its pid is that of another process now", async () => {
    const dir = folder();
    leftBehind(dir, process.pid, 9);
    const watched = watch(dir);
    await said(watched, /^none/);
    await vi.waitFor(() => expect(readdirSync(dir)).toEqual([]));
  });

  it("is cleared away by the next that announces a server of any name, where its pid is free", async () => {
    const dir = folder();
    leftBehind(dir, 2 ** 22 + 1, 9);
    const living = leftBehind(dir, process.pid, 8);
    announce(dir, entry(1, { name: "cart" }));
    await vi.waitFor(() => expect(entriesIn(dir)).toHaveLength(2));
    // Of a pid that is taken only those who look for that name find out: it costs a connection.
    expect(entriesIn(dir)).toContain(living);
  });

  it("a connection that ends says nothing by itself: only a refusal does", async () => {
    const dir = folder();
    const id = `${process.pid}-00000001`;
    let accepted = 0;
    const busy = createServer((socket) => {
      accepted++;
      socket.destroy();
    });
    busy.listen({ path: join(dir, `${id}.sock`) });
    onTestFinished(() => void busy.close());
    writeFileSync(join(dir, `orders~http~${id}.0.json`), JSON.stringify(entry(1)));
    const watched = watch(dir);
    await said(watched, /^127\.0\.0\.1:1$/);
    await vi.waitFor(() => expect(accepted).toBeGreaterThan(2), { timeout: 5_000 });
    expect(watched.reports).toEqual(["127.0.0.1:1"]);
    busy.close();
    await said(watched, /^none/);
  });
});

describe("which servers suit a client", () => {
  it("those of its protocol: the server of gRPC is not called over HTTP, nor the other way", async () => {
    const dir = folder();
    announce(dir, entry(1));
    announce(dir, entry(2, { protocol: "grpc", speaks: ["h2c"] }));
    await said(watch(dir), /^127\.0\.0\.1:1$/);
    await said(watch(dir, { ...HTTP, protocol: "grpc" }), /^127\.0\.0\.1:2$/);
  });

  it("those of its name: the error lists the others", async () => {
    const dir = folder();
    announce(dir, entry(1, { name: "orders-v2" }));
    announce(dir, entry(2, { name: "cart", protocol: "grpc", speaks: ["h2c"] }));
    const watched = watch(dir);
    await said(watched, /^none: .* where there is cart \(grpc\), orders-v2 \(http\): start its/);
    expect(watched.last()).toContain("INMESH_SERVICE_ORDERS=http://host:port");
  });

  it("those that speak as it does; the error says what to write", async () => {
    const dir = folder();
    const { announced } = announce(dir, entry(1, { speaks: ["h2c"] }));
    await said(watch(dir), /^none: .*speaks HTTP\/2 alone: write http2: true/);
    await said(watch(dir, { ...HTTP, http2: true }), /^127\.0\.0\.1:1$/);
    announced.say(entry(1, { speaks: ["h2", "http/1.1"], tls: true }));
    await said(watch(dir), /^none: .*takes TLS alone: write scheme: https/);
    await said(watch(dir, { ...HTTP, scheme: "https" }), /^127\.0\.0\.1:1$/);
    announced.say(entry(1));
    await said(watch(dir, { ...HTTP, http2: true }), /^none: .*speaks no HTTP\/2/);
    await said(watch(dir, { ...HTTP, scheme: "https" }), /^none: .*takes no TLS/);
  });
});

describe.skipIf(process.platform === "win32")("what is not believed", () => {
  const foreign = (dir: string, file: string, content: string | Uint8Array): string => {
    writeFileSync(join(dir, file), content);
    return join(dir, file);
  };
  const NAME = "orders~http~1-00000000.0.json";

  it.each([
    ["half written", '{"version":1,"name":"ord', /is no JSON/],
    ["of a later version", JSON.stringify({ ...entry(1), version: 2 }), /has version 2, and 1/],
    ["about another name", JSON.stringify(entry(1, { name: "cart" })), /is about "cart"/],
    ["without addresses", JSON.stringify(entry(1, { addresses: [] })), /must have 1 to 64 addr/],
    ["with an address that is none", JSON.stringify(entry(1, { addresses: ["a:b"] })), /must be/],
    ["of bytes that are no text", Buffer.from([0xff, 0x00, 0xfe]), /is no JSON/],
  ])("D19 CO: an entry %s is an error, and the others are used", async (_what, content, why) => {
    const dir = folder();
    const { announcer } = announce(dir, entry(1));
    const watched = watch(dir);
    await said(watched, /^127\.0\.0\.1:1$/);
    // Of a process that lives: otherwise it is cleared away.
    foreign(dir, `orders~http~${announcer.id}.9.json`, content);
    await said(watched, /^failed: /);
    expect(watched.last()).toMatch(why);
    expect(watched.last()).toContain("remove what is no announcement of inmesh");
    expect(watched.set().map(({ port }) => port)).toEqual([1]);
    // Said once.
    const count = watched.reports.length;
    watched.refresh();
    await new Promise((resolve) => setTimeout(resolve, 80));
    expect(watched.reports).toHaveLength(count);
  });

  it("D1 CO: an entry that was good and is overwritten keeps its last good state", async () => {
    const dir = folder();
    const { announced } = announce(dir, entry(1));
    const watched = watch(dir);
    await said(watched, /^127\.0\.0\.1:1$/);
    foreign(dir, entriesIn(dir)[0]!, "{");
    await said(watched, /^failed: .*is no JSON/);
    expect(watched.set()).toHaveLength(1);
    announced.say(entry(1, { state: "draining" }));
    await said(watched, /draining$/);
  });

  it("a file of a gigabyte is not read", async () => {
    const dir = folder();
    const { announcer } = announce(dir, entry(1));
    const watched = watch(dir);
    await said(watched, /^127\.0\.0\.1:1$/);
    const path = foreign(dir, `orders~http~${announcer.id}.9.json`, "{");
    const before = process.memoryUsage.rss();
    truncateSync(path, 2 ** 30);
    await said(watched, new RegExp(`^failed: .*is larger than ${MAX_ENTRY_BYTES} bytes`));
    expect(process.memoryUsage.rss() - before).toBeLessThan(200 << 20);
  });

  it("neither a link, a pipe nor a directory is read, and none of them holds anything up", async () => {
    const dir = folder();
    const elsewhere = join(folder(), "entry.json");
    writeFileSync(elsewhere, JSON.stringify(entry(7)));
    const { announcer } = announce(dir, entry(1));
    const watched = watch(dir);
    await said(watched, /^127\.0\.0\.1:1$/);
    symlinkSync(elsewhere, join(dir, `orders~http~${announcer.id}.7.json`));
    await said(watched, /^failed: .*is a link, which is not followed/);
    execFileSync("mkfifo", [join(dir, `orders~http~${announcer.id}.8.json`)]);
    await said(watched, /is no regular file/);
    mkdirSync(join(dir, `orders~http~${announcer.id}.9.json`));
    await vi.waitFor(() => expect(watched.last()!.match(/no regular file/g)).toHaveLength(2));
    expect(watched.set().map(({ port }) => port)).toEqual([1]);
  });

  it.skipIf(!isRoot)("an entry of another user is not used", async () => {
    const dir = folder();
    const { announcer } = announce(dir, entry(1));
    const watched = watch(dir);
    await said(watched, /^127\.0\.0\.1:1$/);
    const path = foreign(dir, `orders~http~${announcer.id}.9.json`, JSON.stringify(entry(7)));
    chownSync(path, 12_345, 12_345);
    await said(watched, /^failed: .*belongs to user 12345/);
    expect(watched.set().map(({ port }) => port)).toEqual([1]);
  });

  it.skipIf(!isRoot)("a directory of another user is neither read nor written", async () => {
    const dir = folder();
    foreign(dir, NAME, JSON.stringify(entry(7)));
    chownSync(dir, 12_345, 12_345);
    await said(watch(dir), /^failed: .* belongs to user 12345, and not to 0: name another one/);
    const { failures } = announce(dir, entry(1));
    await vi.waitFor(() => expect(failures.join()).toMatch(/belongs to user 12345/));
    expect(entriesIn(dir)).toEqual([NAME]);
  });

  it("D1 CO: a directory that others may write is an error; what was known of it stays", async () => {
    const dir = folder();
    announce(dir, entry(1));
    const watched = watch(dir);
    await said(watched, /^127\.0\.0\.1:1$/);
    chmodSync(dir, 0o777);
    watched.refresh();
    await said(watched, /^failed: .*can be written by other users.* chmod 700/);
    expect(watched.set()).toHaveLength(1);
    chmodSync(dir, 0o700);
    watched.refresh();
    await said(watched, /^127\.0\.0\.1:1$/);
  });

  it("where a file or a link stands, there is no directory", async () => {
    const inner = join(folder(), "registry");
    writeFileSync(inner, "");
    await said(watch(inner), /^failed: .*is no directory, or a link to one/);
    const { failures } = announce(inner, entry(1));
    await vi.waitFor(() => expect(failures.join()).toMatch(/is no directory/));
    rmSync(inner);
    symlinkSync(folder(), inner);
    await said(watch(inner), /^failed: .*is no directory, or a link to one/);
  });

  it("a path too long for sockets, or one that cannot be made, is said, and what can be done", async () => {
    const long = join(folder(), "x".repeat(100));
    const { failures } = announce(long, entry(1));
    await vi.waitFor(() =>
      expect(failures.join()).toMatch(
        /is too long for the path of a socket, by \d+ bytes: name another/,
      ),
    );
    const none = announce("/proc/inmesh", entry(1));
    await vi.waitFor(() =>
      expect(none.failures.join()).toMatch(/\/proc\/inmesh cannot be made \(E\w+\): name another/),
    );
    // Nothing is found there, and that is no error: nothing can have been announced.
    await said(watch("/proc/inmesh"), /^none/);
  });
});

describe("the watch", () => {
  it("D2 CO: a directory that is not there yet has no servers, and is made so that the first is seen", async () => {
    const dir = join(folder(), "later");
    const watched = watch(dir);
    await said(watched, /^none: no process of this machine announces it .*where there is nothing/);
    expect(existsSync(dir)).toBe(true);
    announce(dir, entry(1));
    await said(watched, /^127\.0\.0\.1:1$/);
  });

  it("D4 CO: goes on when the directory was removed and is made once more", async () => {
    const dir = join(folder(), "inner");
    const { announced } = announce(dir, entry(1));
    const time = new SimRuntime(1);
    const watched = watch(dir, HTTP, time as unknown as NodeRuntime);
    const until = (wanted: RegExp): Promise<void> =>
      vi.waitFor(
        async () => {
          await time.advance(10);
          expect(watched.last()).toMatch(wanted);
        },
        { timeout: 10_000, interval: 1 },
      );
    await until(/^127\.0\.0\.1:1$/);
    renameSync(dir, `${dir}.old`);
    await until(/^none/);
    announced.say(undefined);
    announce(dir, entry(2));
    await until(/^127\.0\.0\.1:2$/);
  });

  it("D10 CO: a process that begins at an old address is another endpoint", async () => {
    const dir = folder();
    const first = announce(dir, entry(1));
    const watched = watch(dir);
    await said(watched, /^127\.0\.0\.1:1$/);
    const [before] = watched.set();
    first.announced.say(undefined);
    await said(watched, /^none/);
    announce(dir, entry(1));
    await said(watched, /^127\.0\.0\.1:1$/);
    expect(watched.set()[0]!.uid).not.toBe(before!.uid);
  });

  it("D11 CO: 499 other servers that come and go are no reason to look", async () => {
    const dir = folder();
    announce(dir, entry(1));
    const watched = watch(dir);
    await said(watched, /^127\.0\.0\.1:1$/);
    for (let i = 0; i < 499; i++) {
      const path = join(dir, `other-${i}~http~1-00000000.0.json`);
      writeFileSync(`${path}.tmp`, "{}");
      renameSync(`${path}.tmp`, path);
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(watched.reports).toEqual(["127.0.0.1:1"]);
  });

  it("gives back every handle at its end, and so does the last announcement", async () => {
    const dir = folder();
    await expectNoLeak(async () => {
      const { announced } = announce(dir, entry(1));
      const watched = watch(dir);
      await said(watched, /^127\.0\.0\.1:1$/);
      watched.stop();
      announced.say(undefined);
      expect(readdirSync(dir)).toEqual([]);
    });
  });
});
