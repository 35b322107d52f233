/** The stub keeps the Transport contract that it stands in for. */
import { describe, it } from "vitest";
import type { Attempt } from "../call.ts";
import { DEFAULT_POLICIES } from "../config/defaults.ts";
import { MeshError } from "../errors.ts";
import { NodeRuntime } from "../runtime/node-runtime.ts";
import { StubRequest, stubProtocol, type StubReply, type StubServer } from "./stub-transport.ts";
import { PLAY, type ConformanceAdapter } from "./conformance-parts.ts";
import { transportConformance } from "./transport-conformance.ts";

function broken(code: "connect_failed" | "connection_lost"): MeshError {
  return code === "connect_failed"
    ? new MeshError({ code, reason: "connect_refused", message: "stub", progress: "not-sent" })
    : new MeshError({
        code,
        reason: "reset_mid_response",
        message: "stub",
        progress: "maybe-processed",
      });
}

const adapter: ConformanceAdapter<StubRequest, StubReply> = {
  streams: false,
  queues: false,
  bodies: false,
  open() {
    const seen = new Map<string, number>();
    const heads: string[] = [];
    const attempts: Attempt[] = [];
    const serve: StubServer = (exchange) => {
      const { attempt } = exchange;
      attempts.push(attempt);
      const given = attempt.headers?.given ?? [];
      const own = new Map<string, string>();
      for (let i = 0; i < given.length; i += 2) own.set(given[i]!, given[i + 1]!);
      heads.push([...own].map(([name, value]) => `${name}: ${value}`).join("\n"));
      const behaviour = own.get(PLAY) ?? attempt.call.request.pathname.slice(1);
      seen.set(behaviour, (seen.get(behaviour) ?? 0) + 1);
      if (behaviour === "answer") exchange.reply();
      else if (behaviour === "break") exchange.fail(broken("connection_lost"));
      else if (behaviour === "refuse") exchange.fail(broken("connect_failed"), "failure", true);
      else if (behaviour !== "silence" && behaviour !== "stall-in-head") {
        exchange.reply("success", 200, { open: true });
        if (behaviour === "break-in-body")
          setTimeout(() => exchange.fail(broken("connection_lost")), 10);
      }
    };
    const config = {
      ...DEFAULT_POLICIES,
      name: "svc",
      authority: "svc",
      scheme: "http" as const,
      discovery: { kind: "static" as const, endpoints: [] },
      routes: [],
    };
    const transport = stubProtocol(serve).transport(config, new NodeRuntime());
    return Promise.resolve({
      connection: transport.connect({ host: "stub", port: 1 }),
      request: (behaviour: string) => new StubRequest(`/${behaviour}`),
      read: (reply: StubReply) => reply.ended,
      headerOf: (reply: StubReply, name: string) => Promise.resolve(reply.headers[name]),
      seen: (behaviour: string) => seen.get(behaviour) ?? 0,
      heads,
      bodies: [],
      open: () => attempts.filter(({ outcome }) => outcome === undefined).length,
      close: () => Promise.resolve(),
    });
  },
};

describe("transport conformance: stub", () => {
  for (const { title, run } of transportConformance(adapter)) it(title, run);
});
