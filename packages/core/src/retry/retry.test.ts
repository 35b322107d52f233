import { describe, expect, it } from "vitest";
import { Call } from "../call.ts";
import { MeshError, type ErrorCode, type ErrorReason } from "../errors.ts";
import { createMesh } from "../mesh.ts";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { StubRequest, stubProtocol, type StubExchange } from "../testing/stub-transport.ts";

const lost = (progress: "not-sent" | "maybe-processed"): MeshError =>
  new MeshError({
    code: "connection_lost",
    reason: "reset_before_response",
    message: "lost",
    progress,
  });

type Progress = "not-sent" | "nacked" | "maybe-processed" | "started";
const end: Readonly<Record<Progress, (exchange: StubExchange) => void>> = {
  "not-sent": (exchange) => exchange.fail(lost("not-sent")),
  nacked: (exchange) => exchange.reply("overloaded", 503, { nacked: true }),
  "maybe-processed": (exchange) => exchange.fail(lost("maybe-processed")),
  started: (exchange) => {
    exchange.reply("success", 200, { open: true });
    exchange.fail(lost("maybe-processed"));
  },
};

async function sends(
  progress: Progress,
  idempotent: boolean,
  replayable: boolean,
  attempts: number,
): Promise<number> {
  const runtime = new SimRuntime(7);
  let times = 0;
  const protocol = stubProtocol((exchange) => {
    times++;
    end[progress](exchange);
  });
  const service = createMesh({ env: {}, runtime }).service("orders", protocol, {
    discovery: { static: ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"] },
    retry: { attempts },
  });
  const request = new StubRequest("/", idempotent ? "GET" : "POST");
  const call = new Call("orders", request, idempotent, replayable);
  service.current(call).catch(() => {});
  await runtime.advance(5000);
  return times;
}

describe("what may be sent again", () => {
  it.each([
    ["not-sent", false, true, true],
    ["nacked", false, true, true],
    ["nacked", false, false, false],
    ["maybe-processed", true, true, true],
    ["maybe-processed", true, false, false],
    ["maybe-processed", false, true, false],
    ["started", true, true, false],
  ] as const)("%s, idempotent %s, replayable %s: %s", async (...row) => {
    const [progress, idempotent, replayable, again] = row;
    expect((await sends(progress, idempotent, replayable, 2)) > 1).toBe(again);
  });

  it.each([1, 2, 5])("a POST that is never sent goes out 4 times with attempts: %d", async (n) => {
    expect(await sends("not-sent", false, true, n)).toBe(4);
    expect(await sends("nacked", false, true, n)).toBe(4);
  });
});

describe("what the budget pays for", () => {
  const failing =
    (code: ErrorCode, reason: ErrorReason) =>
    (exchange: StubExchange): void =>
      exchange.fail(new MeshError({ code, reason, message: "lost", progress: "not-sent" }));
  it.each([
    ["goaway", failing("connection_lost", "goaway"), 0],
    ["connect_refused", failing("connect_failed", "connect_refused"), 0],
    ["connect_timeout", failing("connect_failed", "connect_timeout"), 0],
    ["tls_handshake", failing("connect_failed", "tls_handshake"), 3],
    ["refused_stream", failing("connection_lost", "refused_stream"), 3],
    ["reset before a byte was sent", end["not-sent"], 3],
    ["nack", end.nacked, 3],
  ] as const)("re-sends after %s", async (_, serve, withdrawn) => {
    const runtime = new SimRuntime(7);
    let sent = 0;
    const protocol = stubProtocol((exchange) => {
      sent++;
      serve(exchange);
    });
    const mesh = createMesh({ env: {}, runtime });
    const service = mesh.service("orders", protocol, {
      discovery: { static: ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"] },
    });
    service.current(new Call("orders", new StubRequest("/", "POST"), false, true)).catch(() => {});
    await runtime.advance(5000);
    expect(sent).toBe(4);
    expect(mesh.snapshot().services[0]!.retryBudget.withdrawn).toBe(withdrawn);
  });
});

it("a nack is sent again at once and elsewhere, whatever it asks for; a second one waits", async () => {
  const runtime = new SimRuntime(7);
  const seen: { readonly at: number; readonly address: string }[] = [];
  const protocol = stubProtocol((exchange) => {
    seen.push({ at: runtime.now(), address: exchange.attempt.endpoint!.address });
    exchange.reply("overloaded", 503, { nacked: true, retryAfterMs: 1000 });
  });
  const service = createMesh({ env: {}, runtime }).service("orders", protocol, {
    discovery: { static: ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"] },
  });
  const call = new Call("orders", new StubRequest("/", "POST"), false, true);
  service.current(call).catch(() => {});
  const startedAt = runtime.now();
  await runtime.advance(5000);
  expect(seen.map(({ at }) => at - startedAt)).toEqual([0, 0, 1000, 2000]);
  expect(new Set(seen.slice(0, 3).map(({ address }) => address)).size).toBe(3);
});
