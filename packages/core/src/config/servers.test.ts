/** Options of servers in a configuration: how they are written, merged and refused. */
import { describe, expect, it } from "vitest";
import { loadConfig } from "./load.ts";
import { ConfigError } from "./mistakes.ts";
import { mergeConfig } from "./merge.ts";
import { parseConfig, parseLocated } from "./parse.ts";
import { printConfig } from "./print.ts";
import { parseConfigText } from "./sources/file.ts";
import { SERVER_FIELDS } from "./fields.ts";
import { nameOf } from "./field.ts";

const ofServer = (server: unknown): unknown => ({ servers: { orders: server } });

function serversOf(input: unknown): unknown {
  const result = parseConfig(input, "test");
  if (!result.ok) throw new ConfigError(result.mistakes);
  return result.config.servers;
}

describe("servers.<name>", () => {
  it("holds what is written, with units in the names, and nothing else", () => {
    const limits = { maxInFlight: 500, maxLoopDelay: "250ms", maxConnectionAgeMs: 60_000 };
    const written = { posture: "mesh", discoveryWait: "1s", keepHeaders: ["x-user"], limits };
    expect(serversOf(ofServer(written))).toEqual({
      orders: {
        posture: "mesh",
        discoveryWaitMs: 1_000,
        keepHeaders: ["x-user"],
        limits: { maxInFlight: 500, maxLoopDelayMs: 250, maxConnectionAgeMs: 60_000 },
      },
    });
    expect(serversOf(ofServer({}))).toEqual({ orders: { limits: {} } });
    expect(serversOf({})).toBeUndefined();
  });

  it("takes `none` where there may be no limit", () => {
    expect(serversOf(ofServer({ limits: { maxConnectionAge: "none" } }))).toEqual({
      orders: { limits: { maxConnectionAgeMs: Infinity } },
    });
    expect(() => serversOf(ofServer({ limits: { linger: "none" } }))).toThrow(/0s to 1h/);
  });

  it("R41 CO: reports every mistake at once, with path, rule, value and line", () => {
    const text = `servers:
  orders:
    posture: internet
    authorities: [ok.example, "no host"]
    discoveryWait: 5
    limits:
      maxInflight: 10
      maxInFlight: -1
      maxLoopDelay: 3 s
      maxHeapRatio: 2
  "or ders": {}
`;
    const read = parseConfigText(text, "mesh.yaml");
    if (!read.ok) throw new ConfigError(read.mistakes);
    const merged = mergeConfig([read.layer]);
    const result = parseLocated(merged.input, (path) => merged.locate(path));
    const mistakes = result.ok ? [] : result.mistakes;
    expect(
      mistakes.map(({ path, rule, value, line }) => [path, rule, value, line]).toSorted(),
    ).toEqual(
      [
        ["servers.orders.posture", "must be one of edge, local, mesh", '"internet"', 3],
        [
          "servers.orders.authorities[1]",
          expect.stringMatching(/the port may be left out/),
          '"no host"',
          4,
        ],
        ["servers.orders.discoveryWait", expect.stringMatching(/under discoveryWaitMs/), "5", 5],
        ["servers.orders.limits.maxInflight", 'is not known; did you mean "maxInFlight"?', "10", 7],
        ["servers.orders.limits.maxInFlight", "must be at least 0", "-1", 8],
        ["servers.orders.limits.maxLoopDelay", expect.stringMatching(/its unit/), '"3 s"', 9],
        ["servers.orders.limits.maxHeapRatio", "must be at most 1", "2", 10],
        ['servers["or ders"]', expect.stringMatching(/^must have a name/), "", 11],
      ].toSorted(),
    );
  });

  it("is merged field by field: code over the environment, also across the names with Ms", () => {
    const env = {
      INMESH_SERVER_ORDERS_V2:
        '{"limits":{"maxInFlight":500,"maxLoopDelay":"1s"},"posture":"mesh"}',
    };
    const code = { servers: { "orders-v2": { limits: { maxLoopDelayMs: 200 } } } };
    expect(loadConfig({ env, code }).config.servers).toEqual({
      "orders-v2": { posture: "mesh", limits: { maxInFlight: 500, maxLoopDelayMs: 200 } },
    });
  });

  it("names the variable in which it is wrong", () => {
    const env = { INMESH_SERVER_A: "maxInFlight=1", INMESH_SERVER_B: '{"limits":{"maxHops":-1}}' };
    let mistakes: unknown;
    try {
      loadConfig({ env });
    } catch (error) {
      mistakes = error instanceof ConfigError && error.mistakes;
    }
    expect(mistakes).toEqual([
      {
        path: "INMESH_SERVER_A",
        rule: 'must be a JSON object, such as {"limits":{"maxInFlight":500}}',
        value: '"maxInFlight=1"',
        origin: "env:INMESH_SERVER_A",
      },
      {
        path: "servers.b.limits.maxHops",
        rule: "must be at least 0",
        value: "-1",
        origin: "env:INMESH_SERVER_B",
      },
    ]);
  });

  it("is printed as it would be written, and parses to the same", () => {
    const input = ofServer({ idleWait: "2s", limits: { maxConnectionAge: "none", maxHops: 3 } });
    const result = parseConfig(input, "test");
    if (!result.ok) throw new ConfigError(result.mistakes);
    const printed = JSON.parse(JSON.stringify(printConfig(result.config))) as unknown;
    expect(printed).toMatchObject(input as object);
    expect(serversOf(printed)).toEqual(result.config.servers);
  });

  it("has no option twice, in the sections of both protocols", () => {
    const names = SERVER_FIELDS.map(nameOf);
    expect(new Set(names).size).toBe(names.length);
  });
});
