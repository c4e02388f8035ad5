// server.mjs TREE: the development server in the guest. Says "watching PORT" when edits are
// noticed from now on, and ends when its standard input does.
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const tree = process.argv[2];
process.stdin.resume().on("end", () => process.exit(0));

const entry = join(tree, "node_modules/vite/dist/node/index.js");
const { createServer } = await import(pathToFileURL(entry));
const server = await createServer({
  root: tree,
  configFile: false,
  clearScreen: false,
  server: { host: "127.0.0.1", port: 0 },
});
await server.listen();
const watched = () =>
  Object.entries(server.watcher.getWatched()).some(
    ([directory, names]) => directory.endsWith("/src") && names.includes("word.js"),
  );
while (!watched()) await new Promise((resolve) => setTimeout(resolve, 20));
console.log(`watching ${server.httpServer.address().port}`);
