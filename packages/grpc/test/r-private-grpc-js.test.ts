/**
 * R4: each private member of grpc-js, hidden from our code in a process of its own. Calls are answered,
 * cancelled and refused as with it, no forged metadata passes, nothing is left behind, and what is lost
 * is visible.
 */
import { beforeAll, describe, expect, it } from "vitest";
import manifest from "../package.json" with { type: "json" };
import { runChild } from "./support/children.ts";
import { HAS_AUTH_CONTEXT } from "./support/served.ts";

interface Report {
  readonly version: string;
  readonly seen: Record<string, unknown>;
  readonly given: string;
  readonly degraded: readonly string[];
  readonly ofMesh: readonly string[];
  readonly log: readonly string[];
}

const hidden = (member: string, mode = "plain"): Promise<Report> =>
  runChild<Report>("hidden.ts", [member, mode], [], [], { INMESH_PUBLIC_ONLY: "" });

const EXPECTED = {
  unary: [1, 2, 3, 4, 5],
  together: 50,
  streams: [20, 10, 10],
  bare: 0,
  forged: [],
  cancelled: 1,
  deadline: 4,
  deafEnds: true,
  inFlight: 0,
  meshInFlight: 0,
  sessions: true,
  health: [0, 5],
  closedInTime: true,
};

const CLIENT: readonly (readonly [member: string, name: string])[] = [
  ["internalChannel", "grpc-js Channel.internalChannel"],
  ["doPick", "grpc-js Channel.internalChannel"],
  ["onCallStart", "grpc-js Channel.internalChannel"],
  ["onCallEnd", "grpc-js Channel.internalChannel"],
  ["filterStackFactory", "grpc-js Channel.internalChannel"],
  ["createCall", "grpc-js Subchannel.createCall"],
  ["subchannelState", "grpc-js Subchannel.createCall"],
  ["getRealSubchannel", "grpc-js Subchannel.createCall"],
  ["cancelWithStatus", "grpc-js SubchannelCall"],
  ["sendMessageWithContext", "grpc-js SubchannelCall"],
  ["startRead", "grpc-js SubchannelCall"],
  ["halfClose", "grpc-js SubchannelCall"],
  ["getPeer", "grpc-js SubchannelCall"],
];

const AUTH_CONTEXT = expect.stringMatching(
  /^grpc-js SubchannelCall.getAuthContext is missing: without it /,
) as string;
/** What grpc-js 1.13 has not. */
const ALWAYS = HAS_AUTH_CONTEXT ? [] : [AUTH_CONTEXT];

/** With what the calls above cannot do any more. */
const SERVER: readonly (readonly [member: string, name: string, but: object])[] = [
  ["http2Servers", "grpc-js Server.http2Servers", {}],
  ["handlers", "grpc-js Server.handlers", { health: [0, 0] }],
];

describe("R4: a private member of grpc-js that is missing", () => {
  let plain: Report;
  beforeAll(async () => {
    plain = await hidden("none");
  }, 60_000);

  it("R4 GC, R4 GS: nothing is hidden: nothing is degraded", () => {
    // `npm run grpc:versions` runs with another grpc-js than the one that is installed.
    const expected =
      process.env["INMESH_GRPC_JS_VERSION"] ?? manifest.devDependencies["@grpc/grpc-js"];
    expect(plain.version).toBe(expected);
    expect(plain.seen).toEqual(EXPECTED);
    expect(plain.given).toBe("wrapped");
    expect(plain.degraded).toEqual([]);
    expect(plain.ofMesh).toEqual(ALWAYS);
    expect(plain.log).toHaveLength(ALWAYS.length);
  });

  it.for(CLIENT)(
    "R4 GC: %s: calls go through the channel, and it is said",
    async ([member, name]) => {
      const { seen, ofMesh, log, degraded } = await hidden(member);
      expect(seen).toEqual(EXPECTED);
      const line = expect.stringMatching(new RegExp(`^${name} is missing: without it `)) as string;
      // There is no call on a stream then, so that nothing else can be missed.
      expect(ofMesh).toEqual([line]);
      expect(log).toEqual([`runtime.degraded ${ofMesh[0]}`]);
      expect(degraded).toEqual([]);
    },
  );

  it("R4 GC: getAuthContext: calls are as with it, and the loss is visible", async () => {
    const { seen, ofMesh } = await hidden("getAuthContext");
    expect(seen).toEqual(EXPECTED);
    expect(ofMesh).toEqual([AUTH_CONTEXT]);
  });

  it.for(["none", "_createSecureConnector", "_isSecure", "_equals"])(
    "R4 GC: %s: TLS by grpc-js's own credentials still knows the peer",
    async (member) => {
      const { seen, ofMesh } = await hidden(member, "tls");
      const { health: _, ...expected } = EXPECTED;
      expect(seen).toEqual({ ...expected, distrusted: [14, 14] });
      const name = "grpc-js ChannelCredentials._createSecureConnector";
      expect(ofMesh).toEqual(
        member === "none"
          ? ALWAYS
          : [expect.stringMatching(new RegExp(`^${name} is missing`)), ...ALWAYS],
      );
    },
  );

  it.for(SERVER)(
    "R4 GS: %s: a server keeps its limits by public means",
    async ([member, name, but]) => {
      const { seen, degraded, ofMesh, given } = await hidden(member);
      expect(seen).toEqual({ ...EXPECTED, ...but });
      expect(degraded).toEqual([expect.stringMatching(new RegExp(`^${name} is missing`))]);
      expect(ofMesh).toEqual([...degraded, ...ALWAYS]);
      expect(given).toBe("wrapped");
    },
  );

  it("R4 GS: interceptors: a given server is wrapped with its credentials, and refused once bound", async () => {
    const { seen, given, ofMesh } = await hidden("interceptors");
    expect(seen).toEqual(EXPECTED);
    expect(given).toBe("wrapped");
    expect(ofMesh).toEqual([...ALWAYS, expect.stringContaining("Server.interceptors is missing")]);
  });

  it("R4 GS: options: what a given server does not keep is unknown, and that is said", async () => {
    const { seen, given, ofMesh } = await hidden("options");
    expect(seen).toEqual(EXPECTED);
    expect(given).toBe("wrapped");
    expect(ofMesh).toEqual([...ALWAYS, expect.stringContaining("Server.options is missing")]);
  });
});
