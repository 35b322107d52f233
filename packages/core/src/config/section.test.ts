/** Sections of the configuration that packages outside read. */
import { describe, expect, it, onTestFinished } from "vitest";
import { SimRuntime } from "../testing/sim-runtime.ts";
import type { MeshOptions } from "../mesh-options.ts";
import { createMesh, type Mesh } from "../mesh.ts";
import { configJsonSchema } from "./schema.ts";
import { loadConfig } from "./load.ts";
import { ConfigError } from "./mistakes.ts";
import { printConfig } from "./print.ts";
import type { ConfigSection } from "./section.ts";
import { BUILT_IN_KINDS } from "../discovery-kinds.ts";

interface Gates {
  readonly names: readonly string[];
  readonly waitMs: number;
}

const gates: ConfigSection<Gates> = {
  name: "gates",
  fields: [
    { path: "list", type: "object", meaning: "By name." },
    { path: "list.*.to", type: "text", required: true, meaning: "A service." },
    { path: "list.*.wait", type: "duration", none: true, meaning: "How long." },
    { path: "wait", type: "duration", max: 1_000, meaning: "How long." },
  ],
  read: (written, { services, mistake }) => {
    const list = (written["list"] ?? {}) as Record<string, { readonly to?: string }>;
    for (const [name, { to }] of Object.entries(list)) {
      if (to !== undefined && !services.has(to))
        mistake(["list", name, "to"], "must be a service", to);
    }
    return { names: Object.keys(list), waitMs: Number(written["waitMs"] ?? Infinity) };
  },
};

const services = { orders: { url: "http://orders:8080" } };

function meshOf(config: object, sections: MeshOptions["sections"] = [gates]): Mesh {
  const mesh = createMesh({ config, sections: sections!, env: {}, runtime: new SimRuntime() });
  onTestFinished(() => mesh.close(0));
  return mesh;
}

function mistakesOf(run: () => unknown): string[] {
  try {
    run();
  } catch (error) {
    if (error instanceof ConfigError)
      return error.mistakes.map(({ path, rule }) => `${path} ${rule}`);
    throw error;
  }
  return [];
}

describe("a section of the configuration", () => {
  it("is read, and is in force with everything else", () => {
    const mesh = meshOf({ services, gates: { list: { a: { to: "orders" } }, wait: "500ms" } });
    expect(mesh.config.current.sections).toEqual({ gates: { names: ["a"], waitMs: 500 } });
    expect(mesh.config.current.services["orders"]).toBeDefined();
  });

  it("that is not written is not there", () => {
    expect(meshOf({ services }).config.current.sections).toBeUndefined();
  });

  it("has its mistakes reported with all others at once, each with its place", () => {
    const config = {
      services: { orders: { url: "http://orders:8080", retry: { attempts: 0 } } },
      gates: { list: { a: { to: "pay" }, b: { too: "x", wait: "soon" } }, wait: "2s", waitMs: 1 },
    };
    expect(mistakesOf(() => meshOf(config)).toSorted()).toEqual([
      expect.stringContaining("gates.list.a.to must be a service"),
      expect.stringContaining("gates.list.b.to must be written"),
      expect.stringContaining('gates.list.b.too is not known; did you mean "to"?'),
      expect.stringContaining("gates.list.b.wait must be a duration"),
      expect.stringContaining("gates.wait must be at most 1s"),
      expect.stringContaining("gates.waitMs must not be written together with wait"),
      expect.stringContaining("services.orders.retry.attempts must be at least 1"),
    ]);
  });

  it("is refused as a whole where it is changed to something wrong, and keeps its object where it is equal", () => {
    const mesh = meshOf({ services, gates: { wait: "500ms" } });
    const before = mesh.config.current;
    expect(() => mesh.update({ services, gates: { wait: "2s" } } as object)).toThrow("at most 1s");
    expect(mesh.config.current).toBe(before);
    mesh.update({ services, gates: { waitMs: 500 } } as object);
    mesh.update({
      services: { ...services, pay: { url: "http://pay:1" } },
      gates: { wait: "500ms" },
    } as object);
    expect(mesh.config.current.sections).toBe(before.sections);
    mesh.update({ services, gates: { wait: "600ms" } } as object);
    expect(mesh.config.current.sections).toEqual({ gates: { names: [], waitMs: 600 } });
    expect(mesh.config.current.services["orders"]).toBe(before.services["orders"]);
  });

  it("that throws is a mistake", () => {
    const broken = {
      ...gates,
      read: () => {
        throw new Error("broken");
      },
    };
    expect(mistakesOf(() => meshOf({ gates: {} }, [broken]))).toEqual([
      "gates could not be read: broken",
    ]);
  });

  it("of a program that does not have it is refused, unless it is one that core knows", () => {
    expect(mistakesOf(() => meshOf({ gates: {} }, []))).toEqual([
      expect.stringContaining("gates is not known"),
    ]);
    const { sections } = meshOf({ services, proxy: { anything: [1] } }, []).config.current;
    expect(sections).toBeUndefined();
  });

  it("that is none, or has a name that is taken, is a mistake of createMesh", () => {
    const wrong = [{ ...gates, name: "services" }, { ...gates, read: 1 }, gates, gates];
    expect(mistakesOf(() => createMesh({ sections: wrong as never, env: {} }))).toEqual([
      "sections[0].name must be one that no other section has",
      "sections[1].read must be a function",
      "sections[2].name must be one that no other section has",
      "sections[3].name must be one that no other section has",
    ]);
  });

  it("is in the schema for editors, is printed, and is read by tools", () => {
    const schema = JSON.stringify(configJsonSchema(BUILT_IN_KINDS, [gates]));
    expect(schema).toContain('"gates"');
    const { config } = loadConfig({
      code: { gates: {} },
      env: false,
      file: false,
      sections: [gates],
    });
    expect(printConfig(config)).toMatchObject({ gates: { names: [], waitMs: "none" } });
  });
});
