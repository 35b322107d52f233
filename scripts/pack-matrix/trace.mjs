/** The files that a program needs, as the tracer of Next standalone finds them: `trace.mjs FOLDER FILE`. */
import { nodeFileTrace } from "@vercel/nft";

const [, , base, file] = process.argv;
const { fileList } = await nodeFileTrace([file], { base });
console.log(JSON.stringify([...fileList]));
