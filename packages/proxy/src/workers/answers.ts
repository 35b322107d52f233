/** A worker's half: it answers what the process that has started it asks. */
import type { TapEvent } from "@inmesh/core";
import { Inspection, InspectionError } from "@inmesh/core/spi/inspect";
import type { Mesh } from "@inmesh/core/spi/transport";
import {
  answerBytes,
  tapFailure,
  viewOf,
  type AdminView,
  type OpenTap,
} from "@inmesh/http/spi/admin";
import type { Question, QuestionName, Questions, Reply } from "./messages.ts";

/** Events of a tap that go with one answer. */
const MAX_EVENTS = 64;

type Answers = {
  readonly [Name in QuestionName]: (
    asks: Questions[Name]["asks"],
  ) => Questions[Name]["answer"] | Promise<Questions[Name]["answer"]>;
};

/** From now on, for as long as the process lives. */
export function answerQuestions(mesh: Mesh): void {
  const answers = answersOf(mesh, viewOf(mesh, new Inspection(mesh)));
  process.on("message", (question: Question) => {
    const answer = answers[question.name] as (asks: unknown) => unknown;
    void Promise.resolve()
      .then(() => answer(question.asks))
      .then(
        (said) => reply({ what: "answer", number: question.number, answer: said }),
        (error: unknown) =>
          reply({ what: "failure", number: question.number, ...failureOf(error) }),
      );
  });
}

/** Nothing is done about an asker that is gone: `disconnect` ends this process. */
function reply(message: Reply): void {
  process.send?.(message, undefined, {}, () => {});
}

function failureOf(error: unknown): Pick<Reply & { what: "failure" }, "code" | "message" | "hint"> {
  if (error instanceof InspectionError) {
    const { code, message, hint } = error;
    return { code, message, hint };
  }
  return {
    code: undefined,
    message: error instanceof Error ? error.message : String(error),
    hint: "",
  };
}

function answersOf(mesh: Mesh, view: AdminView): Answers {
  const taps = new Map<number, TapReader>();
  let opened = 0;
  return {
    ready: () => view.ready(),
    api: async (asked) => Buffer.concat(await answerBytes(await view.answer(asked), mesh.runtime)),
    series: () => mesh.metrics(),
    async tap(options) {
      try {
        taps.set(++opened, new TapReader(await view.tap(options)));
        return opened;
      } catch (error) {
        throw tapFailure(error);
      }
    },
    async events(number) {
      const events = (await taps.get(number)?.read()) ?? [];
      if (events.length === 0) taps.delete(number);
      return events;
    },
    async endTap(number) {
      await taps.get(number)?.end();
      taps.delete(number);
      return undefined;
    },
  };
}

const NOTHING_YET = Promise.resolve(undefined);

/** Waits for an event, and takes those along that are there by then. */
class TapReader {
  readonly #tap: OpenTap;
  #next: ReturnType<OpenTap["next"]> | undefined = undefined;

  constructor(tap: OpenTap) {
    this.#tap = tap;
  }

  async read(): Promise<readonly TapEvent[]> {
    const events: TapEvent[] = [];
    let next = await (this.#next ?? this.#tap.next());
    for (;;) {
      this.#next = undefined;
      if (next.done === true) return events;
      events.push(next.value);
      if (events.length >= MAX_EVENTS) return events;
      // What waits is there at once. What is not stays asked for.
      this.#next = this.#tap.next();
      const more = await Promise.race([this.#next, NOTHING_YET]);
      if (more === undefined) return events;
      next = more;
    }
  }

  async end(): Promise<void> {
    await this.#tap.return();
  }
}
