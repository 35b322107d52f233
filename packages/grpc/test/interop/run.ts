/**
 * `npm run interop [-- client|server|proxy|conformance …] [--json] [--report <file>]`: our half of gRPC
 * against programs of others, first grpc-js alone, then the mesh. Fails if the mesh fails a case
 * that grpc-js alone passes. The last line is `N passed, N failed`. `-- ghz` runs no case: it builds
 * the load generator of the benchmarks, and says where.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { clientSuite } from "./client-suite.ts";
import { conformanceSuite } from "./conformance-suite.ts";
import { rowsOf, sumOf, tableOf, type Suite } from "./outcomes.ts";
import { buildGhz, findPeers } from "./peers.ts";
import { proxySuite } from "./proxy-suite.ts";
import { serverSuite } from "./server-suite.ts";
import { CLIENT_WAYS, SERVER_WAYS } from "./way.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: "boolean", default: false }, report: { type: "string" } },
});
const wanted = (name: string): boolean => positionals.length === 0 || positionals.includes(name);
const progress = (line: string): void => void process.stderr.write(`${line}\n`);

try {
  if (positionals.length === 1 && wanted("ghz")) {
    process.stdout.write(`${await buildGhz(progress)}\n`);
    process.exit();
  }
  const peers = await findPeers(progress);
  const suites: Suite[] = [];
  if (wanted("client")) suites.push(await clientSuite(peers, CLIENT_WAYS, progress));
  if (wanted("server")) suites.push(await serverSuite(peers, SERVER_WAYS, progress));
  if (wanted("proxy")) suites.push(await proxySuite(peers, progress));
  if (wanted("conformance")) {
    suites.push(await conformanceSuite(peers, "client", progress));
    suites.push(await conformanceSuite(peers, "server", progress));
  }
  show(suites);
} catch (error) {
  progress(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}

function show(suites: readonly Suite[]): void {
  const sum = sumOf(suites);
  const document = { name: "interop", node: process.version, rows: rowsOf(suites), ...sum };
  if (values.report !== undefined) writeFileSync(values.report, `${JSON.stringify(document)}\n`);
  if (values.json) {
    process.stdout.write(`${JSON.stringify(document)}\n`);
  } else {
    for (const suite of suites) process.stdout.write(`${tableOf(suite)}\n`);
    if (sum.excused > 0) process.stdout.write(`${sum.excused} fail with grpc-js alone as well\n`);
    process.stdout.write(`${sum.passed} passed, ${sum.failed} failed\n`);
  }
  process.exitCode = sum.failed === 0 ? 0 : 1;
}
