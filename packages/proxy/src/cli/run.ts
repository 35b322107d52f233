#!/usr/bin/env node
/** The file behind `npx mesh-proxy`. Alone, so that no other part of the joined build has to load the entry again. */
import { limitYoungGeneration } from "./young-generation.ts";

limitYoungGeneration();
void Promise.all([import("inmesh/cli"), import("./main.ts")]).then(
  async ([{ program }, { main }]) => {
    await program({ name: "mesh-proxy", main, outlivesReader: true });
    // Whatever is still open: what had to end has had its time.
    process.exit();
  },
);
