import { once } from "node:events";
import { connect } from "node:net";
import { expect, it } from "vitest";
import { FaultPeer } from "./fault-peer.ts";
import { countResources, expectBaseline } from "./leak-check.ts";

it("a reset while a FIN is being sent gives the socket back", async () => {
  const baseline = countResources();
  const peer = await FaultPeer.start(async (connection) => {
    await connection.readBytes(1);
    connection.fin();
    // Later in the same turn, by more each time: at one of them the FIN has left Node and not libuv.
    for (let ticks = 0; ticks < connection.number; ticks++) {
      await new Promise<void>((resolve) => process.nextTick(resolve));
    }
    connection.rst();
  });
  for (let i = 0; i < 8; i++) {
    const client = connect(peer.port, "127.0.0.1");
    client.on("error", () => {});
    client.write("x");
    await once(client.resume(), "close");
  }
  expect(peer.connections).toBe(8);
  await peer.close();
  await expectBaseline(baseline);
});
