/**
 * How a server reads what a caller says about its own request, whatever the protocol: strictly, and
 * what is not understood counts as not said.
 */
import type { Priority } from "../context.ts";
import type { Trust } from "./posture.ts";

/** A whole number of at most `maxDigits` digits; -1 for anything else. */
export function parseCount(text: string, maxDigits: number): number {
  if (text.length === 0 || text.length > maxDigits) return -1;
  let number = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return -1;
    number = number * 10 + digit;
  }
  return number;
}

/** What is granted of a priority that was asked for. */
export function grantedPriority(text: string, trust: Trust): Priority {
  if (text === "sheddable") return text;
  return text === "critical" && trust.critical ? text : "normal";
}
