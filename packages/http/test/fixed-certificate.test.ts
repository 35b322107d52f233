/** A runtime whose TLS servers have no `setSecureContext`, as Bun's: they listen, and say when a change has no effect. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { Server } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { meshServer } from "@inmesh/http";
import { expect, it, onTestFinished } from "vitest";
import { TestCa } from "./support/ca.ts";
import { clientOf, until } from "./wire.ts";

it("T8 LS: a server whose certificate cannot change serves on, and its snapshot says so", async () => {
  const ca = new TestCa();
  const first = ca.issue();
  const folder = mkdtempSync(join(tmpdir(), "inmesh-fixed-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const [cert, key] = [join(folder, "cert.pem"), join(folder, "key.pem")];
  writeFileSync(cert, first.cert);
  writeFileSync(key, first.key);
  const server = meshServer((_request, response) => void response.end("ok"), {
    tls: { cert, key },
    discoveryWaitMs: 0,
    idleWaitMs: 0,
  });
  onTestFinished(() => server.close(0));
  Object.defineProperty(server.server as Server, "setSecureContext", { value: undefined });
  const { port } = await server.listen(0, "127.0.0.1");
  const service = { scheme: "https", authority: "svc", tls: { ca: ca.cert } } as const;
  const client = clientOf([`127.0.0.1:${port}`], service);
  expect(await (await client.fetch("/")).text()).toBe("ok");
  expect(server.snapshot().problem).toBeUndefined();

  const second = ca.issue();
  writeFileSync(cert, second.cert);
  writeFileSync(key, second.key);
  await until(() => server.snapshot().problem !== undefined, 10_000);
  expect(server.snapshot().problem).toMatch(
    /cannot change the certificate.*: restart the process$/,
  );
  expect(await (await client.fetch("/")).text()).toBe("ok");
});
