/**
 * p-retry has a default export alone, and is ESM, while what we publish is CommonJS: Node gives the function, and some
 * bundlers give the module in its place.
 */
import given from "p-retry";

const inside = given as unknown as { readonly default?: typeof given };

export const pRetry: typeof given = inside.default ?? given;
