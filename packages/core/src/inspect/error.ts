/** What is wrong with a question, as `Failure` says it. */
import type { FailureCode } from "./api.ts";

export class InspectionError extends Error {
  readonly code: FailureCode;
  readonly hint: string;

  constructor(code: FailureCode, message: string, hint: string) {
    super(message);
    this.code = code;
    this.hint = hint;
  }
}
