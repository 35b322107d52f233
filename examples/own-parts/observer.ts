/**
 * An observer that writes a line for each call and attempt, and gives each attempt a `traceparent` of its
 * own. Run with `node --conditions=inmesh-source examples/own-parts/observer.ts`.
 */
import { randomBytes } from "node:crypto";
import { createMesh, meshClient, meshServer, type ObservedCall, type Observer } from "inmesh";

/** `write` gets one line at a time. */
function tracer(write: (line: string) => void): Observer {
  // The object of a call is the same in every hook, and is collected with it.
  const traces = new WeakMap<ObservedCall, string>();
  return {
    callStarted(call) {
      // A trace that the caller has begun goes on.
      const [, given] = (call.header("traceparent") ?? "").split("-");
      const trace = given ?? randomBytes(16).toString("hex");
      traces.set(call, trace);
      write(`${trace} call ${call.id}: ${call.method} ${call.service}${call.path}`);
    },
    attemptStarted(attempt) {
      const trace = traces.get(attempt.call);
      if (trace === undefined) return;
      attempt.setHeader("traceparent", `00-${trace}-${randomBytes(8).toString("hex")}-01`);
    },
    attemptEnded(attempt) {
      const { call, number, kind, endpoint, why, outcome, progress, error, durationMs } = attempt;
      const result = attempt.status ?? error?.reason ?? progress;
      const after = attempt.retryReason === undefined ? "" : `, after ${attempt.retryReason}`;
      write(
        `${traces.get(call)}   attempt ${number} (${kind}${after}) to ${endpoint} (${why}): ` +
          `${outcome} ${result}, ${attempt.receivedBytes} bytes, ${durationMs.toFixed(1)} ms`,
      );
    },
    callEnded(call) {
      const { outcome, attempts, durationMs, notRetried } = call;
      const because = notRetried === undefined ? "" : `, not retried: ${notRetried}`;
      write(
        `${traces.get(call)} call ${call.id} on route ${call.route}: ${outcome} ` +
          `after ${attempts} attempts, ${durationMs.toFixed(1)} ms${because}`,
      );
    },
  };
}

let requests = 0;
const server = meshServer((request, response) => {
  response.statusCode = requests++ === 0 ? 503 : 200;
  response.end(request.headers["traceparent"]);
});
const { port } = await server.listen(0, "127.0.0.1");

const mesh = createMesh();
const stop = mesh.observe(tracer((line) => process.stdout.write(`${line}\n`)));
const orders = meshClient(`http://127.0.0.1:${port}`, { mesh });
const reply = await orders.fetch("/v1/orders/42");
process.stdout.write(`the server got ${await reply.text()}\n`);
stop();
await (await orders.fetch("/v1/orders/43")).text();
await mesh.close();
await server.close();
