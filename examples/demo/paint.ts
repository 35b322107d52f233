/** Colours, where a person looks and has not asked for none. */
const CODES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const;

export type Colour = keyof typeof CODES;

const on = process.stdout.isTTY && (process.env["NO_COLOR"] ?? "") === "";

export function paint(colour: Colour, text: string): string {
  return on ? `\u001B[${CODES[colour]}m${text}\u001B[0m` : text;
}
