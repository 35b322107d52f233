/** Writes docs/reference/cli.md and cli.schema.json. Run: node --conditions=inmesh-source scripts/write-cli-reference.ts */
import { writeFileSync } from "node:fs";
import { cliReference, cliSchema } from "./cli-reference.ts";

const folder: URL = new URL("../docs/reference/", import.meta.url);
writeFileSync(new URL("cli.md", folder), cliReference());
writeFileSync(new URL("cli.schema.json", folder), cliSchema());
