/** Writes docs/reference/options.md. Run: node scripts/write-options-reference.ts */
import { writeFileSync } from "node:fs";
import { optionsReference } from "./options-reference.ts";

writeFileSync(new URL("../docs/reference/options.md", import.meta.url), optionsReference());
