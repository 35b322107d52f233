/**
 * Dependencies that are loaded when first needed, because importing inmesh must stay cheap. This is plain
 * CommonJS on purpose: `require` with a literal name is the one lazy import that is synchronous in Node,
 * works in jest, and is seen by every bundler (docs/decisions/0018-commonjs-inside.md).
 */
exports.loadZod = () => require("zod");
exports.loadYaml = () => require("yaml");
exports.loadRe2 = () => require("re2js");
