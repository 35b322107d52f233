/** Where a listener of a proxy listens, once it does. */
import type { ListeningProxy } from "../../src/index.ts";

export function portOf(proxy: ListeningProxy, name: string): number {
  const { address } = proxy.listeners.find((one) => one.name === name)!;
  return Number(address.split(":").at(-1));
}
