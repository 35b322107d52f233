/** A port for what is started later, or on which nothing shall listen: for tests, benchmarks and dashboards. */
import { createServer } from "node:net";

/**
 * Below the ports that Linux gives to those who ask for any (32,768 and up): between the look and the use none of the
 * servers and connections that start beside it can get it by chance.
 */
const FIRST = 10_000;
const COUNT = 22_000;

/** A port of 127.0.0.1 on which nothing listens. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST + Math.floor(Math.random() * COUNT);
    const probe = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      probe.once("error", () => resolve(false));
      probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
    });
    if (isFree) return port;
  }
}

/** `host:port` to which no connection can be made. */
export const freeAddress = async (): Promise<string> => `127.0.0.1:${await freePort()}`;
