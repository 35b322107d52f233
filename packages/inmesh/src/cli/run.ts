#!/usr/bin/env node
/** The file behind `npx inmesh`. Alone, so that no other part of the joined build has to load the entry again. */
void Promise.all([import("./program.ts"), import("./main.ts")]).then(([{ program }, { main }]) =>
  program({ name: "inmesh", main }),
);
