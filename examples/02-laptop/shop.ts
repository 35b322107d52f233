/**
 * The service that calls it, for the other terminal: `node --conditions=inmesh-source examples/02-laptop/shop.ts`.
 * Two orders a second, until Ctrl-C; a number behind the command ends it after so many.
 */
import { setTimeout as pause } from "node:timers/promises";
import { isMeshError, meshClient } from "inmesh";

const count = Number(process.argv[2] ?? Infinity);
const orders = meshClient("orders");
for (let i = 1; i <= count; i++) {
  try {
    process.stdout.write(await (await orders.fetch(`/${i}`)).text());
  } catch (error) {
    if (!isMeshError(error)) throw error;
    process.stdout.write(`order ${i}: ${error.message}\n`);
  }
  await pause(500);
}
