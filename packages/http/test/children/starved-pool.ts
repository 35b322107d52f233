/** D21: calls a service found by DNS while all of libuv's threads are blocked; prints what became of it. */
import { meshClient } from "../../src/index.ts";
import { callThroughFamine, dnsMesh } from "../support/famine.ts";

const folder = process.argv[3]!;
const { mesh, dns } = await dnsMesh(Number(process.argv[2]), folder);
const caller = (name: string): (() => Promise<string>) => {
  const client = meshClient(name, { mesh });
  return async () => (await client.fetch("/", { timeoutMs: 3_000 })).text();
};
await callThroughFamine(folder, caller("orders"), caller("stock"));
await mesh.close(0);
await dns.close();
