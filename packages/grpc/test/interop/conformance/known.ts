/**
 * What grpc-js itself fails in Connect's suite, each with its reason. A failure is excused only if
 * every line the runner says about it is known here, and only if grpc-js alone, in the same run,
 * shows the same kind of failure. There is no list of failures of ours.
 */

export interface Known {
  readonly under: "client" | "server";
  /** In the name of the case. */
  readonly name: RegExp;
  /** In a line of what the runner says. */
  readonly says: RegExp;
  readonly why: string;
  /** The mesh does better: there it is no excuse. */
  readonly cured?: true;
  /** It depends on the machine's haste: grpc-js alone need not show it in the same run. */
  readonly sometimes?: true;
}

const ISSUES = "https://github.com/grpc/grpc-node/issues";

export const KNOWN: readonly Known[] = [
  {
    under: "client",
    name: /error-with-responses$/,
    says: /expecting \d+ response messages but instead got \d+/,
    why: `the last messages before an error are dropped: ${ISSUES}/2764`,
    sometimes: true,
  },
  {
    under: "client",
    name: /unexpected-compress/,
    says: /does not match expected code 13/,
    why: `a wrong encoding of an answer is UNKNOWN or no error: ${ISSUES}/2767`,
  },
  {
    under: "client",
    name: /server-stream\/incomplete-message/,
    says: /expecting an error but received none/,
    why: "an answer cut off in the middle of a message is not noticed if the status is OK",
  },
  {
    under: "client",
    name: /unary\/multiple-responses$/,
    says: /the call did not end/,
    why: `a second answer to a unary call is never read, and the call never ends: ${ISSUES}/2768`,
    cured: true,
  },
  {
    under: "client",
    name: /^Timeouts\//,
    says: /code: 1 \(canceled\).*expected code 4/,
    why: "a server's reset at the deadline wins against the client's own timer",
    cured: true,
    sometimes: true,
  },
  {
    under: "server",
    name: /./,
    says: /non-empty 'grpc-message' value with zero\/okay/,
    why: `success is sent with the message OK: ${ISSUES}/2769`,
  },
  {
    under: "server",
    name: /./,
    says: /'[a-z-]+-bin' value with padding/,
    why: `binary metadata is padded: ${ISSUES}/2765`,
  },
  {
    under: "server",
    name: /unexpected-compress/,
    says: /expecting (an error|0 response)|expected code 12/,
    why: `a wrong encoding of a request is no error, or the wrong one: ${ISSUES}/2767`,
  },
  {
    under: "server",
    name: /client-stream\/incomplete-message/,
    says: /expecting (an error|0 response)/,
    why: "a request cut off in the middle of a message counts as ended",
  },
  {
    under: "server",
    name: /unexpected-(codec|verb)$/,
    says: /expecting (an error|0 response)/,
    why: "methods other than POST and other kinds of content are served",
  },
];

export function knownFor(
  under: Known["under"],
  name: string,
  lines: readonly string[],
): readonly Known[] | undefined {
  const all = lines.map((line) =>
    KNOWN.find((one) => one.under === under && one.name.test(name) && one.says.test(line)),
  );
  return all.length > 0 && all.every((one) => one !== undefined) ? all : undefined;
}
