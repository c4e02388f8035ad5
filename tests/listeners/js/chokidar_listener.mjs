// Watches the directory it is started in with chokidar. Each line it prints is what it was
// told, and what it read when it was told: ["change","lib/part.rb","content"].
import fs from "node:fs";
import chokidar from "chokidar";

const say = (...words) => console.log(JSON.stringify(words));

function content(path) {
  try {
    return fs.readFileSync(path, "utf8");
  } catch (error) {
    return error.code === "EISDIR" ? null : error.code;
  }
}

const watcher = chokidar.watch(".", { ignoreInitial: true });
watcher.on("all", (event, path) => say(event, path, content(path)));
watcher.on("error", (error) => say("error", String(error), null));
watcher.on("ready", () => say("ready", ".", null));
