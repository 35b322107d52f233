/** What people write wrong on their first day with gRPC: each is answered with a sentence that names it. */
import { createMesh } from "@inmesh/core";
import { meshChannel, meshGrpc, meshGrpcServer } from "@inmesh/grpc";
import { expect, it } from "vitest";

type Loose = (...args: unknown[]) => unknown;
const channel = meshChannel as Loose;
const client = meshGrpc as Loose;
const serve = meshGrpcServer as Loose;

it.each<[string, () => unknown, string]>([
  [
    "meshGrpc(undefined)",
    () => client(undefined),
    "nameOrUrl: must be the name or URL of a service",
  ],
  [
    "log",
    () => channel("orders", { log: true }),
    "meshChannel: log: is not known; belongs into createMesh({ log })",
  ],
  ["clasify", () => channel("orders", { clasify() {} }), 'did you mean "classify"?'],
  ["classify: true", () => channel("orders", { classify: true }), "classify: must be a function"],
  ["options that are a text", () => channel("orders", "http://a"), "options: must be an object"],
  [
    "a server's port",
    () => serve({ port: 50_051 }),
    "meshGrpcServer: port is not known; it belongs to the server's bindAsync",
  ],
  [
    "a server's posture",
    () => serve({ posture: "Mesh" }),
    'no posture "Mesh"; known: edge, local, mesh',
  ],
  [
    "a server's limit",
    () => serve({ limits: { maxInflight: 1 } }),
    'limits.maxInflight is not known; did you mean "maxInFlight"?',
  ],
  [
    "a server that is a text",
    () => serve("0.0.0.0:50051"),
    "takes a Server of grpc-js, options, or both",
  ],
])("GC: %s", (_what, does, said) => {
  expect(does).toThrow(said);
});

it.each([
  ["meshGrpc", meshGrpc],
  ["meshChannel", meshChannel],
] as const)(
  "P20 GC: %s: the error names the line at which the first was made",
  async (_name, open) => {
    await using mesh = createMesh({ env: {} });
    open("http://orders:50051", { mesh, retry: { attempts: 3 } });
    expect(() => open("http://orders:50051", { mesh, retry: { attempts: 4 } })).toThrow(
      /\.retry: was given as \{"attempts":3\} by the client made at \S*first-inputs\.test\.ts:\d+:\d+, and is \{"attempts":4\} here/,
    );
  },
);

it.each(["drain", "close"] as const)("GS: %s of a server takes milliseconds", async (how) => {
  const server = meshGrpcServer();
  for (const wrong of ["25s", Number.NaN, null]) {
    await expect(server[how](wrong as number)).rejects.toThrow(
      "meshGrpcServer: graceMs must be a number of milliseconds",
    );
  }
  // A mistake leaves it as it was: the right call still closes it.
  await expect(server[how](-1)).resolves.toBeUndefined();
});
