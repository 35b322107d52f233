/** What is said at the start: what listens where, and how to try it. */
import { VERSION, type Output } from "inmesh/cli";
import type { ListenerConfig } from "../serve/section.ts";
import type { ShownListener } from "../workers/messages.ts";
import { lacksServices, NO_SERVICES, whereTo } from "./look.ts";

const NEW_TOKEN =
  "its token is a new one, which is printed on a terminal alone: --admin-token-file <file> keeps one";

/** How to reach the API of the process. */
export interface ShownAdmin {
  readonly address: string;
  /** Where its token is; undefined: it made one, which is printed. */
  readonly tokenFile: string | undefined;
}

/** `names`: of services. */
export function banner(
  listeners: readonly ShownListener[],
  names: readonly string[],
  workers: number,
  admin: ShownAdmin | undefined,
  output: Output,
): string {
  const more = workers > 1 ? `, ${workers} workers` : "";
  const lines = [`mesh-proxy ${VERSION}, process ${process.pid}${more}`];
  const width = Math.max(5, ...listeners.map(({ name }) => name.length));
  for (const { name, address, config } of listeners) {
    lines.push(`  ${name.padEnd(width)}  ${address}  ${whereTo(config)}`);
    const example = exampleFor(address, config, names);
    if (example !== undefined) lines.push(`  ${" ".repeat(width)}  try  ${example}`);
  }
  const configs = listeners.map(({ config }) => config);
  if (lacksServices(configs, names)) lines.push(`  ${NO_SERVICES}`);
  if (admin !== undefined) {
    lines.push(`  ${"admin".padEnd(width)}  ${admin.address}`);
    const token = admin.tokenFile === undefined ? "" : ` --token-file ${admin.tokenFile}`;
    lines.push(`  ${" ".repeat(width)}  try  inmesh stat --admin ${admin.address}${token}`);
    if (admin.tokenFile === undefined) lines.push(`  ${" ".repeat(width)}  ${NEW_TOKEN}`);
  }
  return lines.map((line) => output.safe(line)).join("\n");
}

function exampleFor(
  address: string,
  { protocol, service, app }: ListenerConfig,
  names: readonly string[],
): string | undefined {
  if (protocol === "tcp" || protocol === "tls") return undefined;
  const target = address.startsWith("unix:")
    ? `--unix-socket ${address.slice("unix:".length)} http://localhost/`
    : `http://${reachable(address)}/`;
  const prior = protocol === "http2" ? "--http2-prior-knowledge " : "";
  if (service !== undefined || app !== undefined) return `curl ${prior}${target}`;
  const [first] = names;
  return first === undefined ? undefined : `curl ${prior}-H 'Host: ${first}' ${target}`;
}

/** An address that stands for all of them is no place to connect to. */
function reachable(address: string): string {
  return address.replace(/^0\.0\.0\.0:/, "127.0.0.1:").replace(/^\[::\]:/, "[::1]:");
}
