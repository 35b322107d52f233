/**
 * `npm run peers:h2spec`: builds h2spec, the conformance suite of HTTP/2, from its sources into a folder outside the
 * repository, and prints its name. Needs Go. packages/proxy/test/http2-peers.test.ts runs it where `H2SPEC` names
 * it, or where it is on the PATH.
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { h2specFolder, H2SPEC } from "./peers-folder.ts";

const program: string = join(h2specFolder, "h2spec");
if (!existsSync(program)) {
  execFileSync("go", ["install", `github.com/summerwind/h2spec/cmd/h2spec@${H2SPEC}`], {
    env: { ...process.env, CGO_ENABLED: "0", GOBIN: h2specFolder },
    stdio: ["ignore", "inherit", "inherit"],
  });
}
process.stdout.write(`${program}\n`);
