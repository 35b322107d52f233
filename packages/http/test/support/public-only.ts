/**
 * The suite passes with `INMESH_PUBLIC_ONLY=1`, which hides every private member of Node and grpc-js from
 * inmesh. A test whose subject is such a member is skipped here, and says why.
 */
import type { TestContext } from "vitest";

/** No private member is used in this process. */
export const PUBLIC_ONLY: boolean = process.env["INMESH_PUBLIC_ONLY"] === "1";

/** Called first in a test, or in a `beforeEach`. `because` names the member, and what cannot be without it. */
export function skipPublicOnly(context: TestContext, because: string): void {
  context.skip(PUBLIC_ONLY, because);
}
