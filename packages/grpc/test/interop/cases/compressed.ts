/**
 * Requests compressed by the channel, and one message of a stream that is not. gRPC's Go server can
 * neither compress nor decompress: these cases call our own, and look at the wire in between.
 */
import { compressionAlgorithms, Metadata, type ClientOptions } from "@grpc/grpc-js";
import assert from "node:assert/strict";
import { answerOf } from "../answers.ts";
import { interopServer, listen } from "../server.ts";
import { startTap } from "../tap.ts";
import { testClient, type InputResponse, type TestClient } from "../testing.ts";
import { largeUnary, type Cases, type Target } from "./common.ts";

/** `WriteFlags.NoCompress`, which grpc-js understands and does not export. */
const NO_COMPRESS = 2;
const GZIP: ClientOptions = { "grpc.default_compression_algorithm": compressionAlgorithms.gzip };

export const COMPRESSED_CASES: Cases = {
  async client_compressed_unary(target) {
    assert.deepEqual(await compressedFlags(target, largeUnary), [true]);
    assert.deepEqual(await compressedFlags(target, largeUnary, {}), [false]);
  },

  async client_compressed_streaming(target) {
    const flags = await compressedFlags(target, async (client) => {
      const { value } = await answerOf<InputResponse>((done) => {
        const call = client.streamingInputCall(new Metadata(), {}, done);
        call.write({ payload: { body: Buffer.alloc(27_182) } });
        // grpc-js takes the flags of a message where a stream takes its encoding.
        call.write({ payload: { body: Buffer.alloc(45_904) } }, NO_COMPRESS as never);
        call.end();
        return call;
      });
      assert.equal(value.aggregatedPayloadSize, 73_086);
    });
    assert.deepEqual(flags, [true, false]);
  },
};

/** What the wire says of the messages that `use` sends through a client of its own. */
async function compressedFlags(
  { way }: Target,
  use: (client: TestClient) => Promise<void>,
  options: ClientOptions = GZIP,
): Promise<readonly boolean[]> {
  const server = interopServer();
  const tap = await startTap(await listen(server));
  const opened = way.open([tap.port], options);
  const client = testClient(opened.args());
  try {
    await use(client);
    return tap.compressed;
  } finally {
    client.close();
    await opened.close();
    await tap.close();
    server.forceShutdown();
  }
}
