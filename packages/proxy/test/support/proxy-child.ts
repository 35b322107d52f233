/** Starts `proxy-process.ts`, for what needs a process of its own: its memory, its event loop, its clock. */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { onTestFinished } from "vitest";
import type { Look, Order, Setup } from "./proxy-process.ts";

export interface ProxyChild {
  readonly port: number;
  readonly child: ChildProcess;
  /** Does it, and says how things stand. */
  order(what?: Order): Promise<Look>;
  exited(): boolean;
}

/** Ends with the test. `flags`: of Node. */
export async function proxyChild(setup: Setup, flags: readonly string[] = []): Promise<ProxyChild> {
  const path = new URL("proxy-process.ts", import.meta.url);
  const child = fork(path, [JSON.stringify(setup)], {
    execArgv: ["--conditions=inmesh-source", "--disable-warning=ExperimentalWarning", ...flags],
  });
  let isOver = false;
  child.on("exit", () => (isOver = true));
  onTestFinished(() => void child.kill("SIGKILL"));
  const [{ port }] = (await once(child, "message")) as [{ port: number }];
  const order = async (what: Order = {}): Promise<Look> => {
    child.send(what);
    const [look] = (await once(child, "message")) as [Look];
    return look;
  };
  return { port, child, order, exited: () => isOver };
}
