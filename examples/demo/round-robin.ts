/**
 * What the demo compares with: one plain undici Pool per address, used in turn, with the same
 * timeouts as inmesh's defaults. It is good code, and what most services run today.
 */
import { Pool } from "undici";
import type { Send } from "./load.ts";

export interface Timeouts {
  readonly requestMs: number;
  readonly connectMs: number;
}

export interface RoundRobin {
  readonly send: Send;
  close(): Promise<void>;
}

/** A failure, with the address whose turn it was. */
class TurnError extends Error {
  readonly endpoint: string;

  constructor(endpoint: string, cause: unknown) {
    super(`${endpoint} failed`, { cause });
    this.endpoint = endpoint;
  }
}

export function roundRobin(
  addresses: readonly string[],
  { requestMs, connectMs }: Timeouts,
): RoundRobin {
  const pools = addresses.map(
    (address) =>
      new Pool(`http://${address}`, {
        connect: { timeout: connectMs },
        headersTimeout: requestMs,
        bodyTimeout: requestMs,
      }),
  );
  let turn = 0;
  return {
    send: async (method, path, headers) => {
      const i = turn++ % pools.length;
      const endpoint = addresses[i]!;
      try {
        const body = method === "POST" ? "{}" : null;
        const reply = await pools[i]!.request({ method, path, headers, body });
        await reply.body.text();
        return { status: reply.statusCode, endpoint };
      } catch (error) {
        throw new TurnError(endpoint, error);
      }
    },
    close: async () => {
      await Promise.all(pools.map((pool) => pool.destroy()));
    },
  };
}
