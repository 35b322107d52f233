/** C16 of servers whose process has ten descriptors left: a hundred clients come, more than can be let in. */
import { expect } from "vitest";
import { sleep } from "../wire.ts";

/** Open connections go on; new ones are let in when there are descriptors again. */
export async function expectOutlivesFlood<Client extends Disposable>(
  connect: () => Promise<Client>,
  works: (client: Client) => Promise<boolean>,
): Promise<void> {
  using live = await connect();
  expect(await works(live)).toBe(true);
  const flood = await Promise.all(Array.from({ length: 100 }, connect));
  const served = await Promise.all(flood.map((client) => works(client)));
  // Some have got in; the kernel completes the others' handshakes, and no process answers them.
  expect(served).toContain(true);
  expect(served).toContain(false);
  expect(await works(live)).toBe(true);
  for (const client of flood) client[Symbol.dispose]();
  for (let tries = 0; ; tries++) {
    using next = await connect();
    if (await works(next)) break;
    expect(tries).toBeLessThan(200);
    await sleep(20);
  }
  expect(await works(live)).toBe(true);
}
