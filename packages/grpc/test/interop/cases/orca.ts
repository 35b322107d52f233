/** Reports of load: with one answer, and as a stream beside the calls. */
import { Metadata } from "@grpc/grpc-js";
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { statusOf } from "../answers.ts";
import { orcaClient, parseLoadReport, type LoadReport } from "../testing.ts";
import { unary, type Cases } from "./common.ts";

export const ORCA_CASES: Cases = {
  async orca_per_rpc({ client }) {
    const report = {
      cpuUtilization: 0.821,
      memoryUtilization: 0.5847,
      requestCost: { cost: 3456.32 },
      utilization: { util: 0.30499 },
    };
    const { trailers } = await unary(client, { orcaPerQueryReport: report });
    mustReport(parseLoadReport(trailers.get("endpoint-load-metrics-bin")[0] as Buffer), report);
  },

  async orca_oob({ client, args }) {
    const reports = orcaClient(args());
    const call = client.fullDuplexCall(new Metadata(), {});
    const ended = statusOf(call);
    call.on("data", () => {});
    try {
      for (const [cpuUtilization, memoryUtilization, util] of [
        [0.821, 0.5847, 0.30499],
        [0.29309, 0.2, 0.2039],
      ] as const) {
        const report = { cpuUtilization, memoryUtilization, utilization: { util } };
        call.write({ orcaOobReport: report, responseParameters: [{ size: 1 }] });
        await reported(reports, report);
      }
    } finally {
      call.end();
      await ended;
      reports.close();
    }
  },
};

function mustReport(report: LoadReport, expected: LoadReport): void {
  const { cpuUtilization, memUtilization, requestCost, utilization } = report;
  assert.deepEqual(
    { cpuUtilization, memoryUtilization: memUtilization, requestCost, utilization },
    { requestCost: {}, ...expected },
  );
}

/** Asks for reports until one says what it should; one server sends them a second apart. */
async function reported(
  client: ReturnType<typeof orcaClient>,
  expected: LoadReport,
): Promise<void> {
  const call = client.streamCoreMetrics({ reportInterval: { seconds: 0, nanos: 50_000_000 } });
  const ended = statusOf(call);
  let last: unknown = "no report";
  const seen = new Promise<void>((resolve) => {
    call.on("data", (report: LoadReport) => {
      try {
        mustReport(report, expected);
        resolve();
      } catch (error) {
        last = error;
      }
    });
  });
  const inTime = await Promise.race([
    seen.then(() => true),
    ended.then(() => false),
    sleep(8_000, false, { ref: false }),
  ]);
  call.cancel();
  const { code, details } = await ended;
  if (!inTime) assert.fail(`${String(last)} (${code} ${details})`);
}
