/**
 * A Unix socket stays in the file system when its process is killed, and binding fails beside it.
 * A socket on which no process answers is of no use: it is removed before we bind. Anything else stays, and
 * binding says what is wrong.
 */
import { lstat, unlink } from "node:fs/promises";
import { connect } from "node:net";

/** Resolves in any case; of two processes that start at once only one can bind. */
export async function removeStaleSocket(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found?.isSocket() !== true || !(await isRefused(path))) return;
  await unlink(path).catch(() => {});
}

function isRefused(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    const settle = (error?: Error & { readonly code?: unknown }): void => {
      socket.destroy();
      resolve(error?.code === "ECONNREFUSED");
    };
    socket.once("connect", () => settle());
    socket.on("error", settle);
  });
}
