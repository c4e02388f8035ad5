#!/usr/bin/env bash
# check.sh TREE whole|quick: whether each package that the project itself asks for is installed. That all
# the others are, too, with each file, the lab's own comparison with a native run says.
set -euo pipefail
[[ $# -eq 2 ]] || { echo "usage: ${0##*/} TREE whole|quick" >&2; exit 2; }
form=$2
cd -- "$1/app"
exec node -e '
const fs = require("fs"), form = process.argv[1];
const read = (path) => JSON.parse(fs.readFileSync(path, "utf8"));
const project = read("package.json"), locked = read("package-lock.json").packages;
for (const name of Object.keys({ ...project.dependencies, ...(form === "quick" ? {} : project.devDependencies) })) {
  let found;
  try { found = read(`node_modules/${name}/package.json`).version; } catch (error) { found = error.code; }
  const wanted = locked[`node_modules/${name}`].version;
  if (found !== wanted) { console.error(`check.sh: ${name} ${wanted} is not installed: ${found}`); process.exit(1); }
}' "$form"
