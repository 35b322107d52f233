/** C20: large packets are lost (large-packets.ts), under calls over HTTP/1.1. */
import { MeshError } from "@inmesh/core/spi";
import { meshClient } from "../../src/index.ts";
import { playLargePackets } from "./large-packets.ts";
import { OtherHost } from "./other-host.ts";

const LARGE = Buffer.alloc(100_000);
const service = {
  timeouts: { requestMs: 5_000, backendRequestMs: 500, bodyIdleMs: 700 },
  retry: { attempts: 1 },
};

await playLargePackets(await OtherHost.start(), service, (mesh) => {
  const client = meshClient("svc", { mesh });
  const call = async (path: string, body: Buffer | null = null): Promise<unknown> => {
    try {
      const reply = await client.fetch(path, { method: body === null ? "GET" : "POST", body });
      return (await reply.text()).length > 10 ? "whole" : "short";
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      return { reason: error.reason, progress: error.progress };
    }
  };
  return { small: () => call("/"), up: () => call("/", LARGE), down: () => call("/large") };
});
