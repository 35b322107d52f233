import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NodeRuntime } from "../runtime/node-runtime.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { expectNoLeak } from "../testing/leak-check.ts";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { type FileNews, FileWatch, POLL_MS } from "./file-watch.ts";

let folder: string;
const open: FileWatch[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "inmesh-watch-"));
});
afterEach(() => {
  for (const watch of open.splice(0)) watch.close();
  rmSync(folder, { recursive: true, force: true });
});

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Real time, or virtual time that goes on while the disk works. */
async function until(
  condition: () => boolean,
  runtime?: SimRuntime,
  limitMs = 10_000,
): Promise<void> {
  const end = performance.now() + limitMs;
  while (!condition()) {
    if (performance.now() > end) throw new Error("it did not happen");
    await runtime?.advance(10);
    await sleep(1);
  }
}

function follow(path: string, runtime: Runtime = new NodeRuntime(), limitBytes = 1000) {
  const received: string[] = [];
  const watch = new FileWatch(path, limitBytes, runtime, (news: FileNews) => {
    received.push(news.ok ? Buffer.from(news.content).toString() : `! ${news.why}`);
  });
  open.push(watch);
  return { received, watch, last: () => received.at(-1) };
}

describe("a file that changes", () => {
  it("is reported at first, and again when it was written, replaced, deleted and made anew", async () => {
    const path = join(folder, "mesh.yaml");
    writeFileSync(path, "one");
    const { received, last } = follow(path);
    await until(() => last() === "one");
    writeFileSync(path, "two");
    await until(() => last() === "two");
    writeFileSync(`${path}.tmp`, "three");
    renameSync(`${path}.tmp`, path);
    await until(() => last() === "three");
    rmSync(path);
    await until(() => last() === "! ENOENT");
    writeFileSync(path, "four");
    await until(() => last() === "four");
    truncateSync(path, 0);
    await until(() => last() === "");
    expect(received).toEqual(["one", "two", "three", "! ENOENT", "four", ""]);
  });

  it("K8 CO: the folders of a Kubernetes mount are swapped by a symlink, and each swap is seen", async () => {
    const mount = join(folder, "mount");
    const version = (name: string, text: string): void => {
      mkdirSync(join(mount, name), { recursive: true });
      writeFileSync(join(mount, name, "mesh.yaml"), text);
      symlinkSync(name, join(mount, "..data_tmp"));
      renameSync(join(mount, "..data_tmp"), join(mount, "..data"));
    };
    version("..2026_01", "one");
    symlinkSync(join("..data", "mesh.yaml"), join(mount, "mesh.yaml"));
    const { received, last } = follow(join(mount, "mesh.yaml"));
    await until(() => last() === "one");
    for (const text of ["two", "three"]) {
      version(`..2026_${text}`, text);
      await until(() => last() === text);
    }
    expect(received).toEqual(["one", "two", "three"]);
  });

  it("K8 CO: half a file is not taken for a whole one while it is being written", async () => {
    const path = join(folder, "mesh.yaml");
    const pieces = ["services:\n", "  a: 1\n", "  b: 2\n", "  c: 3\n", "  d: 4\n"];
    const whole = pieces.join("");
    writeFileSync(path, "old");
    const runtime = new SimRuntime(1);
    const { received, last } = follow(path, runtime);
    await until(() => last() === "old", runtime);
    // A piece every 15 ms of virtual time; the disk has real time to answer between them.
    truncateSync(path, 0);
    for (const piece of pieces) {
      appendFileSync(path, piece);
      await runtime.advance(15);
      await sleep(30);
    }
    await until(() => last() === whole, runtime);
    expect(received).toEqual(["old", whole]);
  });

  it("that never stands still is read all the same", async () => {
    const path = join(folder, "mesh.yaml");
    writeFileSync(path, "0");
    const { received } = follow(path);
    let n = 0;
    const writing = setInterval(() => {
      writeFileSync(`${path}.tmp`, String(++n));
      renameSync(`${path}.tmp`, path);
    }, 2);
    await until(() => received.length >= 3);
    clearInterval(writing);
    await until(() => received.at(-1) === String(n));
    expect(received.every((text) => /^\d+$/.test(text))).toBe(true);
  });

  it("is reported once: touching it without a change of content is for the listener to compare", async () => {
    const path = join(folder, "mesh.yaml");
    writeFileSync(path, "same");
    const { received, watch, last } = follow(path);
    await until(() => last() === "same");
    watch.look();
    watch.look();
    writeFileSync(join(folder, "other"), "another file");
    await sleep(150);
    expect(received).toEqual(["same"]);
  });
});

describe("where events do not reach", () => {
  it("a change behind a symlink to another folder is found by the poll", async () => {
    mkdirSync(join(folder, "a"));
    mkdirSync(join(folder, "b"));
    writeFileSync(join(folder, "b", "real.yaml"), "one");
    symlinkSync(join(folder, "b", "real.yaml"), join(folder, "a", "mesh.yaml"));
    const runtime = new SimRuntime(1);
    const { received, last } = follow(join(folder, "a", "mesh.yaml"), runtime);
    await until(() => last() === "one", runtime);
    writeFileSync(join(folder, "b", "real.yaml"), "two");
    const startedAt = runtime.now();
    await until(() => last() === "two", runtime);
    expect(runtime.now() - startedAt).toBeLessThan(POLL_MS + 1000);
    expect(received).toEqual(["one", "two"]);
  });

  it("a folder that is missing at first, or replaced as a whole, is watched once it is there", async () => {
    const inner = join(folder, "later");
    const path = join(inner, "mesh.yaml");
    const runtime = new SimRuntime(1);
    const { received, last } = follow(path, runtime);
    await until(() => last() === "! ENOENT", runtime);
    mkdirSync(inner);
    writeFileSync(path, "one");
    await until(() => last() === "one", runtime);
    renameSync(inner, `${inner}.old`);
    mkdirSync(inner);
    writeFileSync(path, "two");
    await until(() => last() === "two", runtime);
    expect(received.filter((text) => !text.startsWith("!"))).toEqual(["one", "two"]);
  });
});

describe("what is no such file", () => {
  it("a folder, a pipe and a file beyond the limit are reported without being read", async () => {
    const path = join(folder, "mesh.yaml");
    mkdirSync(path);
    const { received, last } = follow(path);
    await until(() => last() === "! not a file");
    rmSync(path, { recursive: true });
    writeFileSync(path, "x".repeat(1000));
    await until(() => last() === "x".repeat(1000));
    writeFileSync(path, "x".repeat(1001));
    await until(() => last() === "! larger than 1000 bytes");
    rmSync(path);
    execFileSync("mkfifo", [path]);
    await until(() => last() === "! not a file");
    writeFileSync(`${path}.tmp`, "x");
    renameSync(`${path}.tmp`, path);
    await until(() => last() === "x");
    expect(received.filter((text) => text === "! not a file")).toHaveLength(2);
  });
});

describe("the end", () => {
  it("close gives back every handle, and nothing is reported after it", async () => {
    const path = join(folder, "mesh.yaml");
    writeFileSync(path, "one");
    await expectNoLeak(async () => {
      const { received, watch, last } = follow(path);
      await until(() => last() === "one");
      writeFileSync(path, "two");
      watch.close();
      watch.close();
      watch.look();
      await sleep(100);
      expect(received).toEqual(["one"]);
    });
  });

  it("a listener that throws gets the next news", async () => {
    const path = join(folder, "mesh.yaml");
    writeFileSync(path, "one");
    const received: string[] = [];
    const watch = new FileWatch(path, 1000, new NodeRuntime(), (news) => {
      if (news.ok) received.push(Buffer.from(news.content).toString());
      throw new Error("the listener's fault");
    });
    open.push(watch);
    await until(() => received.length === 1);
    writeFileSync(path, "two");
    await until(() => received.length === 2);
    expect(received).toEqual(["one", "two"]);
  });
});
