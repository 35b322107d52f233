/**
 * What a process under attack reports to its parent: errors that nothing caught, the most memory it held,
 * and answers to questions. It ends with its parent.
 */
export type Message =
  | { readonly ready: number }
  | { readonly fault: "crash" | "unhandled"; readonly text: string }
  | { readonly answer: number; readonly value: unknown; readonly peakMb: number };

export interface Question {
  readonly question: number;
  readonly ask: string;
  readonly about: unknown;
}

/** After a garbage collection. */
export interface Settled {
  /** The most memory the process held. */
  readonly peakMb: number;
  /** What is alive: heap and buffers. */
  readonly keptMb: number;
}

const MB = 1_048_576;
const MAX_FAULTS = 20;

let peakBytes = 0;
let faults = 0;

/** The kernel's own count of the most: a loop that is blocked takes no samples. */
function sample(): void {
  peakBytes = Math.max(peakBytes, 1_024 * process.resourceUsage().maxRSS);
}

function send(news: Message): void {
  if (process.connected) process.send!(news);
}

/** An error that would have ended the process, or that is unhandled, with its stack. */
function fault(kind: "crash" | "unhandled", error: unknown): void {
  if (faults++ >= MAX_FAULTS) return;
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  send({ fault: kind, text });
}

/** `answers`: by the name of the question. `alive` and `settle` are answered here. */
export function watched(answers: Record<string, (about: never) => unknown>): void {
  process.on("uncaughtException", (error, origin) =>
    fault(origin === "unhandledRejection" ? "unhandled" : "crash", error),
  );
  process.on("unhandledRejection", (error) => fault("unhandled", error));
  process.on("disconnect", () => process.exit());
  const all: Record<string, (about: never) => unknown> = {
    alive: () => true,
    settle: (): Settled => {
      // Twice: what finalizers let go of in the first is free after the second.
      void globalThis.gc?.();
      void globalThis.gc?.();
      sample();
      const { heapUsed, external } = process.memoryUsage();
      return { peakMb: peakBytes / MB, keptMb: (heapUsed + external) / MB };
    },
    ...answers,
  };
  process.on("message", (message) => {
    const { question, ask, about } = message as Question;
    const answer = async (): Promise<unknown> => all[ask]!(about as never);
    answer().then(
      (value) => {
        sample();
        send({ answer: question, value, peakMb: peakBytes / MB });
      },
      (error: unknown) => fault("unhandled", error),
    );
  });
}

export function ready(port = 0): void {
  send({ ready: port });
}
