/**
 * A parsed configuration as a user would write it, in full: JSON can hold it (Infinity is `none`),
 * and parsing it gives the same configuration again, private keys and credentials aside. For the
 * admin page and for snapshots.
 */
import { isInlinePem, writtenRoute } from "../capability-options.ts";
import { BUILT_IN_KINDS } from "../discovery-kinds.ts";
import { formatDuration } from "./duration.ts";
import { type Field, groupOf, nameOf } from "./field.ts";
import { POLICY_FIELDS, ROUTE_FIELDS, SERVER_FIELDS } from "./fields.ts";
import { kindAndOptions, type WrittenKind } from "./kind.ts";
import type { DiscoveryConfig, MeshConfig, RouteConfig, ServiceConfig } from "./types.ts";

type Printed = Record<string, unknown>;

export function printConfig(
  config: MeshConfig,
  kinds: readonly WrittenKind[] = BUILT_IN_KINDS,
): Printed {
  const services: [string, Printed][] = Object.entries(config.services).map(([name, service]) => [
    name,
    printService(service, kinds),
  ]);
  return {
    defaults: printPolicies(config.defaults, POLICY_FIELDS),
    services: Object.fromEntries(services),
    ...(config.servers !== undefined && { servers: printServers(config.servers) }),
    ...(config.sections !== undefined && (printData(config.sections) as Printed)),
  };
}

export function printService(service: ServiceConfig, kinds: readonly WrittenKind[]): Printed {
  return {
    scheme: service.scheme,
    authority: service.authority,
    discovery: printDiscovery(service.discovery, kinds),
    ...printPolicies(service, POLICY_FIELDS),
    routes: service.routes.map(printRoute),
  };
}

function printServers(servers: NonNullable<MeshConfig["servers"]>): Printed {
  return Object.fromEntries(
    Object.entries(servers).map(([name, server]) => [name, printPolicies(server, SERVER_FIELDS)]),
  );
}

/** What packages outside have read, as it is: plain data, in which only Infinity is nothing that JSON can say. */
function printData(value: unknown): unknown {
  if (value === Infinity) return "none";
  if (Array.isArray(value)) return value.map(printData);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, printData(inner)]));
}

function printRoute(route: RouteConfig): Printed {
  const { name, matches, ...rest } = writtenRoute(route);
  return { name, matches, ...printPolicies(route, ROUTE_FIELDS), ...rest };
}

function printDiscovery(discovery: DiscoveryConfig, kinds: readonly WrittenKind[]): Printed {
  const { kind, options } = kindAndOptions(discovery, kinds);
  return { ...(kind?.write?.(options) ?? { [kind?.name ?? discovery.kind]: options }) };
}

function printPolicies(from: object, fields: readonly Field[]): Printed {
  const result: Printed = {};
  for (const field of fields) {
    let value: unknown = from;
    for (const part of field.parsed?.split(".") ?? []) value = Reflect.get(value as object, part);
    if (value === undefined) continue;
    if (field.type === "duration") value = formatDuration(value as number);
    // A key in the configuration itself is a secret; the path of its file is none.
    if (field.path === "tls.key" && isInlinePem(String(value))) value = "(a key, not shown)";
    const group = groupOf(field);
    if (group === undefined) result[nameOf(field)] = value;
    else result[group] = { ...(result[group] as Printed | undefined), [nameOf(field)]: value };
  }
  return result;
}
