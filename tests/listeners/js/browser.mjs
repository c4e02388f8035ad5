// What a browser does for a Vite development server, without one: it loads the page and
// its modules, and waits on the server's WebSocket. Each line it prints is a message, and
// for an update what it then loads: ["update","/main.js","content"].
import WebSocket from "ws";

const [server, ...paths] = process.argv.slice(2);
const say = (...words) => console.log(JSON.stringify(words));

async function load(path) {
  const answer = await fetch(new URL(path, server), { headers: { accept: "*/*" } });
  return answer.text();
}

for (const path of paths) await load(path);

// Vite gives its own client a token, so that no other page may listen.
const [, token] = (await load("/@vite/client")).match(/wsToken = "([^"]+)"/);
const socket = new WebSocket(new URL(`?token=${token}`, server.replace("http", "ws")), "vite-hmr");
socket.on("message", async (data) => {
  const message = JSON.parse(data);
  if (message.type === "connected") say("ready");
  if (message.type === "full-reload") say("full-reload", message.path ?? "*", await load("/"));
  for (const { acceptedPath, timestamp } of message.updates ?? [])
    say("update", acceptedPath, await load(`${acceptedPath}?t=${timestamp}`));
});
socket.on("close", () => process.exit(1));
