/**
 * What reads DNS answers, configuration and PEM, under attack: argv is `mesh` or `bare`, and of DNS the
 * server's port. `bare` is Node's own resolver, the YAML parser alone, and X509Certificate.
 */
import { X509Certificate } from "node:crypto";
import { Resolver } from "node:dns/promises";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigError } from "@inmesh/core";
import { createMesh, NodeRuntime } from "@inmesh/core/spi";
import { DnsError } from "../../packages/core/src/discovery/dns/dns-error.ts";
import { StubResolver } from "../../packages/core/src/discovery/dns/resolver.ts";
import { readTls } from "../../packages/core/src/tls/pem.ts";
import { ready, watched } from "./hostile-watched.ts";

/** The one that core uses. */
const { parse } = createRequire(new URL("../../packages/core/package.json", import.meta.url))(
  "yaml",
) as { parse(text: string, options: object): unknown };
const LOOKUP_MS = 1_500;
const [side, port = "0"] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "inmesh-hostile-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
const resolvConfPath = join(folder, "resolv.conf");
writeFileSync(resolvConfPath, `nameserver 127.0.0.1#${port}\noptions timeout:1 attempts:1\n`);
const hostsPath = join(folder, "hosts");
writeFileSync(hostsPath, "");
const runtime = new NodeRuntime();
const bareDns = new Resolver({ timeout: 500, tries: 1 });
if (port !== "0") bareDns.setServers([`127.0.0.1:${port}`]);

/** The addresses that are believed. An error of another kind than a resolver's own is let through. */
async function dns(name: string): Promise<readonly string[]> {
  if (side === "bare") return bareDns.resolve4(name).catch(() => []);
  const resolver = new StubResolver(runtime, {
    resolvConfPath,
    hostsPath,
    lookupTimeoutMs: LOOKUP_MS,
  });
  const expected = (error: unknown): undefined => {
    if (!(error instanceof DnsError)) throw error;
  };
  const [found] = await Promise.all([
    resolver.addresses(`${name}.`).catch(expected),
    resolver.services(`_http._tcp.${name}.`).catch(expected),
  ]);
  return found?.addresses ?? [];
}

let files = 0;

/** Whether a file with this text is accepted; every other error than ConfigError is let through. */
async function config(text: string): Promise<boolean> {
  if (side === "bare") {
    try {
      return parse(text, { maxAliasCount: 100, uniqueKeys: false }) !== undefined;
    } catch {
      return false;
    }
  }
  const configFile = join(folder, `mesh-${files++}.yaml`);
  writeFileSync(configFile, Buffer.from(text, "latin1"));
  try {
    const mesh = createMesh({ env: {}, configFile });
    mesh.snapshot();
    await mesh.close(0);
    return true;
  } catch (error) {
    if (error instanceof ConfigError && error.mistakes.length > 0) return false;
    throw error;
  } finally {
    rmSync(configFile, { force: true });
  }
}

/** Whether a bundle and a chain with this text are accepted. */
function pem(text: string): boolean {
  if (side === "bare") {
    try {
      return new X509Certificate(text).ca;
    } catch {
      return false;
    }
  }
  const read = readTls({ ca: text } as never);
  readTls({ cert: text, key: text } as never);
  return "pem" in read;
}

watched({ dns, config, pem, close: () => true });
ready();
