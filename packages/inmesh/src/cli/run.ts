#!/usr/bin/env node
/** The file behind `npx inmesh`. Alone, so that no other part of the joined build has to load the entry again. */
void import("./program.ts").then(({ program }) => program());
