/** Stands for the half that speaks HTTP until it is here: its connections are refused. */
import type { Socket } from "node:net";
import type { ProxyOptions, RunningProxy } from "../listener.ts";

export function startProxy({ listeners }: ProxyOptions): RunningProxy {
  const leave = async (): Promise<void> => {
    for (const { stopListening } of listeners) stopListening?.();
  };
  return {
    listeners: listeners.map(({ name, mode, service }) => ({
      name,
      mode,
      service,
      handle: (socket: Socket) => void socket.resetAndDestroy(),
      connections: 0,
      readiness: "ok",
    })),
    drain: leave,
    close: leave,
  };
}
