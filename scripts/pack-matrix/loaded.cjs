/** How many files the start of a service loads: each costs a part of its time. What is loaded late is not among them. */
require("inmesh");
const files = Object.keys(require.cache).filter((path) => path !== __filename);
const LATE =
  /node_modules\/(yaml|re2js|dns-packet)\/|undici\/index\.js$|core\/dist\/(dns|file|zod)\.js$/;
const late = files.filter((path) => LATE.test(path.replaceAll("\\", "/")));
if (late.length > 0) throw new Error(`loaded before it is needed: ${late.join(", ")}`);
console.log(files.length);
