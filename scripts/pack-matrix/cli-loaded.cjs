// What `inmesh --help` and `inmesh stat` load, by the program as it is installed.
const { spawnSync } = require("node:child_process");
const { join } = require("node:path");

const program = join(__dirname, "node_modules/inmesh/dist/cli/run.js");
const script = `
  process.on("exit", () => require("node:fs").writeSync(2, Object.keys(require.cache).join("\\n")));
  process.argv.splice(1, 1, ${JSON.stringify(program)});
  require(${JSON.stringify(program)});
`;

function loaded(...args) {
  const { stderr } = spawnSync(process.execPath, ["-e", script, "", ...args], { encoding: "utf8" });
  return stderr
    .split("\n")
    .filter((line) => line.includes("node_modules") && !line.includes("node_modules/inmesh/"));
}

const nothing = loaded("--help").length === 0;
// No process is asked: its files are loaded before it is known that there is none.
const asked = loaded("stat", "--admin", "unix:/none").map((path) => path.replaceAll("\\", "/"));
const onlyWindow = asked.every((path) =>
  /@inmesh\/core\/dist\/(window|inspect\/index)\.js$/.test(path),
);
console.log(JSON.stringify([nothing, onlyWindow && asked.length > 0]));
