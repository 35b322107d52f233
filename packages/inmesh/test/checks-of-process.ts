/**
 * What a real mesh answers about itself while a service cannot be reached and the file says something wrong: for the
 * golden files. Only what differs between machines is replaced.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createMesh, meshClient } from "inmesh";
import type { Checks } from "@inmesh/core/inspect";

export async function checksOfProcess(): Promise<Checks> {
  const folder = mkdtempSync(join(tmpdir(), "inmesh-checks-"));
  const file = join(folder, "mesh.yaml");
  const server = createServer((_request, response) => response.end("tea"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  writeFileSync(
    file,
    `services:
  orders.shop: { discovery: { static: ["127.0.0.1:${port}"] } }
  pay.shop: { discovery: { static: ["127.0.0.1:1"] }, retry: { attempts: 1 } }
`,
  );
  const mesh = createMesh({ env: {}, configFile: file });
  try {
    await (await meshClient("orders.shop", { mesh }).fetch("/")).text();
    const pay = meshClient("pay.shop", { mesh });
    await pay.fetch("/").catch(() => {});
    writeFileSync(file, "services:\n  pay.shop: { retry: { attemps: 1 } }\n");
    const { address, token } = await mesh.admin.listen();
    for (;;) {
      const reply = await fetch(`${address}/api/v1/checks`, {
        headers: { authorization: `Bearer ${token}` },
      });
      const answer = (await reply.text()).replaceAll(file, "/etc/shop/mesh.yaml");
      if (answer.includes("attemps")) return withoutRuntime(JSON.parse(answer) as Checks);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  } finally {
    await mesh.close(0);
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true });
  }
}

/** Whether the Node of this test gets security releases is another matter on each. */
function withoutRuntime(answer: Checks): Checks {
  const checks = answer.checks.filter(({ id }) => id !== "runtime-supported");
  const count = (status: string): number => checks.filter((one) => one.status === status).length;
  return { ...answer, checks, failures: count("failure"), warnings: count("warning") };
}
