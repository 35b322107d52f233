/** Who attacks which surface. */
import type { Surface } from "./corpus.ts";
import type { Player } from "./play.ts";
import { ClientPlayer } from "./play-client.ts";
import { ReaderPlayer } from "./play-reader.ts";
import { ServerPlayer } from "./play-server.ts";
import type { Tally } from "./tally.ts";

/** `turn`: where the inputs may come through several doors, the first of them. */
export function playerOf(surface: Surface, tally: Tally, turn = 0): Player {
  switch (surface) {
    case "http1-server":
    case "http2-server":
    case "grpc-server":
      return new ServerPlayer(surface, tally);
    case "http1-client":
    case "http2-client":
    case "grpc-client":
      return new ClientPlayer(surface, tally, turn);
    case "dns":
    case "config":
    case "pem":
      return new ReaderPlayer(surface, tally);
  }
}
