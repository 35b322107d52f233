import { mkdtempSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { createMesh } from "../../mesh.ts";
import { ConfigError } from "../../config/mistakes.ts";
import { dirOfUser, registryPlace } from "./place.ts";

function ownFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "inmesh-place-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

const amongTemporary = join(tmpdir(), `inmesh-${process.getuid?.()}`);

describe.skipIf(process.platform === "win32")("the directory of the user", () => {
  it("is that of XDG_RUNTIME_DIR, where it belongs to the user", () => {
    const XDG_RUNTIME_DIR = ownFolder();
    expect(dirOfUser({ XDG_RUNTIME_DIR })).toBe(join(XDG_RUNTIME_DIR, "inmesh"));
  });

  it.each([
    ["is not set", undefined],
    ["is no absolute path", "run"],
    ["does not exist", "/nowhere/at/all"],
    // As `su` leaves it: nothing of another user may decide where calls go.
    ["belongs to another user", process.getuid?.() === 0 ? "/var/empty" : "/root"],
  ])("stands among the temporary files if XDG_RUNTIME_DIR %s", (_why, XDG_RUNTIME_DIR) => {
    expect(dirOfUser({ XDG_RUNTIME_DIR })).toBe(amongTemporary);
  });
});

describe("whether there is a registry", () => {
  const laptop = {};
  const off = (host: Record<string, string>, env: Record<string, string> = {}) =>
    registryPlace(undefined, env, host).off;

  it("on a machine for development there is one", () => {
    expect(registryPlace(undefined, {}, laptop)).toEqual({ dir: dirOfUser(laptop) });
    expect(off({ NODE_ENV: "development" })).toBeUndefined();
    expect(off({ CI: "false" })).toBeUndefined();
  });

  it("in production, tests, CI and clusters there is none, and the reason is known", () => {
    expect(off({ NODE_ENV: "production" })).toBe("NODE_ENV=production");
    expect(off({ NODE_ENV: "test" })).toBe("NODE_ENV=test");
    expect(off({ NODE_TEST_CONTEXT: "child-v8" })).toMatch(/^NODE_TEST_CONTEXT/);
    expect(off({ CI: "true" })).toBe("CI");
    expect(off({ KUBERNETES_SERVICE_HOST: "10.0.0.1" })).toBe("KUBERNETES_SERVICE_HOST");
  });

  it("the variable decides before that, and the option of the mesh before the variable", () => {
    const production = { NODE_ENV: "production" };
    const dir = dirOfUser(production);
    expect(off(laptop, { INMESH_REGISTRY: "off" })).toBe("INMESH_REGISTRY=off");
    expect(registryPlace(undefined, { INMESH_REGISTRY: "on" }, production)).toEqual({ dir });
    expect(registryPlace(undefined, { INMESH_REGISTRY: "./run" }, production)).toEqual({
      dir: resolve("run"),
    });
    expect(registryPlace(false, { INMESH_REGISTRY: "on" }, laptop).off).toMatch(/registry: false/);
    expect(registryPlace(true, { INMESH_REGISTRY: "off" }, production)).toEqual({ dir });
    expect(registryPlace("/srv/run", {}, production)).toEqual({ dir: "/srv/run" });
  });

  it("what is neither on, off nor a path is a mistake of the mesh", () => {
    expect(() => createMesh({ env: { INMESH_REGISTRY: "yes" } })).toThrow(ConfigError);
    expect(() => createMesh({ env: { INMESH_REGISTRY: "yes" } })).toThrow(
      /INMESH_REGISTRY: .*must be on, off, or the path of a directory.*"yes"/,
    );
    for (const registry of [7, "", {}]) {
      const given = { env: {}, registry: registry as string };
      expect(() => createMesh(given)).toThrow(/registry: must be true, false or a directory/);
    }
  });

  it("a name that nothing configures is refused where it is off, with the reason", () => {
    const mesh = createMesh({ env: { INMESH_REGISTRY: "off" } });
    const protocol = { name: "stub" } as never;
    expect(() => mesh.service("orders", protocol)).toThrow(
      /is not configured; .*; the registry of this machine is off here, by INMESH_REGISTRY=off/,
    );
  });
});

it("Windows keeps it in the profile of the user", () => {
  const platform = Object.getOwnPropertyDescriptor(process, "platform")!;
  onTestFinished(() => void Object.defineProperty(process, "platform", platform));
  Object.defineProperty(process, "platform", { ...platform, value: "win32" });
  expect(dirOfUser({ LOCALAPPDATA: "/c/Users/ada/AppData/Local" })).toBe(
    join("/c/Users/ada/AppData/Local", "inmesh", "run"),
  );
  expect(dirOfUser({})).toBe(join(homedir(), "AppData", "Local", "inmesh", "run"));
});
