/** `--check` and `--print-config`: the configuration as the proxy would take it, without listening anywhere. */
import { ConfigError } from "@inmesh/core";
import {
  BUILT_IN_KINDS,
  describeDiscovery,
  loadConfig,
  printConfig,
} from "@inmesh/core/spi/discovery";
import type { MeshConfig } from "@inmesh/core/spi/transport";
import { EXIT, Failure, UsageFailure, type Context, type ExitCode } from "inmesh/cli";
import { PROXY_SECTION, type ListenerConfig, type ProxyConfig } from "../serve/section.ts";
import { kindsToRead } from "./kinds.ts";
import { sharedRule, type Settings } from "./settings.ts";

export async function check(settings: Settings, context: Context): Promise<ExitCode> {
  const { output } = context;
  const { config, proxy } = await configOf(settings, context);
  const services = Object.values(config.services);
  const listeners = Object.entries(proxy.listeners);
  output.line(
    `${output.paint("green", "valid")}  ${counted(listeners.length, "listener")}, ${counted(services.length, "service")}`,
  );
  const kinds = kindsToRead();
  for (const [name, listener] of listeners) {
    output.line(output.safe(`       ${name}  ${listener.listen}  ${whereTo(listener)}`));
  }
  for (const { name, discovery } of services) {
    output.line(output.safe(`       ${name}  ${describeDiscovery(discovery, kinds)}`));
  }
  if (lacksServices(Object.values(proxy.listeners), Object.keys(config.services))) {
    output.note(NO_SERVICES);
  }
  return EXIT.ok;
}

export async function printed(settings: Settings, context: Context): Promise<ExitCode> {
  const { config } = await configOf(settings, context);
  context.output.json(printConfig(config, [...BUILT_IN_KINDS, ...kindsToRead()]), 2);
  return EXIT.ok;
}

/** In a few words. */
export function whereTo({ app, service, protocol }: ListenerConfig): string {
  const spoken = protocol === "detect" ? "" : `${protocol} `;
  if (app !== undefined) return `${spoken}to the application at ${app}`;
  if (service !== undefined) return `${spoken}to ${service}`;
  return `${spoken}to the service that each request names`;
}

/** Of a configuration that was refused: what the program says itself is what was typed. */
export function configFailure(error: unknown): unknown {
  if (!(error instanceof ConfigError)) return error;
  const mistakes = error.mistakes
    .map((one) => (one.origin === "code" ? { ...one, origin: "command line" } : one))
    // As they stand in the file.
    .toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0));
  const { message } = new ConfigError(mistakes);
  return new Failure(EXIT.failed, { what: message }, error);
}

/** Throws a Failure with every mistake, and a UsageFailure where there is nothing to listen on. */
async function configOf(
  settings: Settings,
  { env }: Context,
): Promise<{ readonly config: MeshConfig; readonly proxy: ProxyConfig }> {
  const { configFile, input } = settings;
  try {
    const { config } = loadConfig({
      file: configFile,
      env,
      code: input,
      discoveries: kindsToRead(),
      sections: [PROXY_SECTION],
    });
    return { config, proxy: assertListens(config, settings) };
  } catch (error) {
    throw configFailure(error);
  }
}

/** The section; throws a UsageFailure where it has no listener, and for one that workers cannot share. */
export function assertListens(
  { sections, services }: MeshConfig,
  { workers, worker, hasFile }: Pick<Settings, "workers" | "worker" | "hasFile">,
): ProxyConfig {
  const proxy = sections?.["proxy"] as ProxyConfig | undefined;
  if (proxy === undefined || Object.keys(proxy.listeners).length === 0) {
    throw new UsageFailure([
      "Nothing to listen on: give --listen or --inbound, or write listeners under proxy in the file of --config",
    ]);
  }
  // A file is followed, and may have some later.
  if (!hasFile && lacksServices(Object.values(proxy.listeners), Object.keys(services))) {
    throw new UsageFailure([
      "Nothing to send to: give --to, such as --to orders=10.0.0.1:8080, or services in the file of --config",
    ]);
  }
  if (workers === 1 && worker === undefined) return proxy;
  const mistakes = Object.entries(proxy.listeners).flatMap(([name, { listen }]) => {
    const rule = sharedRule(listen);
    return rule === undefined ? [] : [`${name}: ${rule}`];
  });
  if (mistakes.length > 0) throw new UsageFailure(mistakes);
  return proxy;
}

/** A request names its service on one of the listeners, and there is none to name. */
export function lacksServices(
  listeners: readonly ListenerConfig[],
  names: readonly string[],
): boolean {
  return (
    names.length === 0 &&
    listeners.some(({ service, app }) => service === undefined && app === undefined)
  );
}

/** What is said of it. */
export const NO_SERVICES = "no service is configured yet: until then requests get 404 no_route";

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
