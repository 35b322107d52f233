/** The proxy inside of a program: the listeners of a mesh's configuration, without a process of their own. */
import { graceMistake, optionMistakes, type OptionKinds } from "@inmesh/core/spi/transport";
import type { Mesh } from "@inmesh/core/spi/transport";
import { startProxy } from "../proxy.ts";
import { Ports } from "./ports.ts";

export interface ListenProxyOptions {
  /** Several processes share the ports: SO_REUSEPORT, on Linux and where the system has it. Default false. */
  readonly reusePort?: boolean;
}

const OPTIONS: OptionKinds<ListenProxyOptions> = { reusePort: "boolean" };
const DEFAULT_GRACE_MS = 30_000;

/** Listeners that run, as the configuration says. */
export interface ListeningProxy extends AsyncDisposable {
  /** In the order of the configuration, which may change while it runs. */
  readonly listeners: readonly { readonly name: string; readonly address: string }[];
  /** Connections that are open, of all listeners. */
  readonly connections: number;
  /**
   * Says that it is not ready, waits until callers have noticed, accepts no more, asks clients to leave, and cuts off
   * what is left after `graceMs` (default 30 s). Idempotent. The mesh stays open.
   */
  drain(graceMs?: number): Promise<void>;
  /** The same without waiting for callers to notice; 0 cuts everything off at once. */
  close(graceMs?: number): Promise<void>;
}

/**
 * Opens the listeners under `proxy` in the configuration of `mesh`, which has been made with `sections: [proxySection]`,
 * and follows its changes. Rejects with an AggregateError of what each address has against it, and then none is open;
 * with a TypeError for options that there are not.
 */
export async function listenProxy(
  mesh: Mesh,
  options: ListenProxyOptions = {},
): Promise<ListeningProxy> {
  const [mistake] = optionMistakes("listenProxy", options, OPTIONS);
  if (mistake !== undefined) throw new TypeError(`listenProxy: ${mistake.path} ${mistake.rule}`);
  const { reusePort = false } = options;
  const ports = new Ports({ mesh, startHttp: startProxy, reusePort });
  await ports.start();
  const leave = (graceMs: number, noticed: boolean): Promise<void> => {
    const wrong = graceMistake("listenProxy", graceMs);
    return wrong === undefined ? ports.drain(graceMs, noticed) : Promise.reject(wrong);
  };
  return {
    get listeners() {
      return ports.list.map(({ name, address }) => ({ name, address }));
    },
    get connections() {
      return ports.connections;
    },
    drain: (graceMs = DEFAULT_GRACE_MS) => leave(graceMs, false),
    close: (graceMs = DEFAULT_GRACE_MS) => leave(graceMs, true),
    [Symbol.asyncDispose]: () => leave(DEFAULT_GRACE_MS, true),
  };
}
