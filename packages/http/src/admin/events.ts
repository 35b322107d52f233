/** A tap as a stream of server-sent events (the WHATWG's HTML standard, section 9.2), for readers that may be slow. */
import type { ServerResponse } from "node:http";
import type { Runtime, Timer } from "@inmesh/core/spi";
import { safeJson } from "./json.ts";
import type { OpenTap } from "./view.ts";

/** A comment is sent so often where nothing else is: proxies and readers end what is silent. */
const BEAT_MS = 15_000;
/** So long a reader may take nothing at all. What it misses meanwhile the tap counts. */
const STALL_MS = 60_000;

/** Resolves when the tap has ended, the reader has gone, or `ended` does. Does not reject. */
export async function sendEvents(
  response: ServerResponse,
  tap: OpenTap,
  runtime: Runtime,
  ended: Promise<void>,
): Promise<void> {
  let isOver = false;
  let stalled: Timer | undefined;
  const over = new Promise<void>((resolve) => {
    response.once("close", resolve);
    void ended.then(resolve);
  }).then(() => {
    isOver = true;
  });
  // That ends the wait for an event, too.
  void over.then(() => tap.return());
  const isRoom = (): Promise<unknown> => {
    stalled = runtime.after(STALL_MS, () => response.destroy(), undefined);
    return Promise.race([over, new Promise((resolve) => response.once("drain", resolve))]);
  };
  let beat: Timer | undefined;
  const beatAgain = (): void => {
    beat = runtime.after(
      BEAT_MS,
      () => {
        if (isOver) return;
        if (!response.writableNeedDrain) response.write(":\n\n");
        beatAgain();
      },
      undefined,
    );
  };
  response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
  response.write(":\n\n");
  beatAgain();
  let id = 0;
  try {
    for (;;) {
      const next = await tap.next();
      if (isOver) break;
      if (next.done === true) {
        response.write("event: end\ndata: {}\n\n");
        break;
      }
      const text = `id: ${++id}\nevent: ${next.value.event}\ndata: ${safeJson(next.value)}\n\n`;
      if (response.write(text)) continue;
      await isRoom();
      stalled?.cancel();
    }
  } catch {
    // What a tap throws after it was opened ends the stream, as a process does that stops.
  } finally {
    stalled?.cancel();
    beat?.cancel();
    await tap.return();
    response.end();
  }
}
