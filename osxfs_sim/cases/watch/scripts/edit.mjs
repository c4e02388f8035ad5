#!/usr/bin/env node
// edit.mjs GUEST HOST whole|quick: the measured command. Starts the server in the guest's tree, edits
// a file in the host's, and waits until the server reports it and serves what was written; so many
// times. Prints how long each took. Whatever does not happen ends it, in bounded time.
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const [guest, host, form] = process.argv.slice(2);
const edits = { whole: 20, quick: 5 }[form];
if (edits === undefined) {
  console.error("usage: edit.mjs GUEST HOST whole|quick");
  process.exit(2);
}
const startWithinS = 120;
const reportWithinS = 5;
const pauseMs = 100; // so that a second report of one edit is not taken for the next one's

const server = spawn(
  process.execPath,
  [join(dirname(fileURLToPath(import.meta.url)), "server.mjs"), guest],
  { stdio: ["pipe", "pipe", "inherit"] },
);
const ended = new Promise((resolve) => server.on("exit", resolve));
let hear = () => {};
createInterface({ input: server.stdout }).on("line", (line) => hear(line));

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// The first line that *matches*, and when it came; null after so many seconds.
function heard(matches, seconds) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(null), Math.max(0, seconds * 1000));
    const finish = (value) => {
      clearTimeout(timer);
      hear = () => {};
      resolve(value);
    };
    hear = (line) => {
      const found = line.match(matches);
      if (found) finish({ found, atMs: performance.now() });
    };
    ended.then(() => reject(new Error("the server ended by itself")));
  });
}

async function served(port) {
  const address = `http://127.0.0.1:${port}/src/word.js?t=${performance.now()}`;
  const answer = await fetch(address, { signal: AbortSignal.timeout(reportWithinS * 1000) });
  return answer.text();
}

async function latencyOf(number, port) {
  const text = `export const word = "edit ${number}";\nif (import.meta.hot) import.meta.hot.accept();\n`;
  const beganMs = performance.now();
  const leftS = () => reportWithinS - (performance.now() - beganMs) / 1000;
  const report = /(?:hmr update|page reload).*word\.js/;
  let reports = 0;
  let next = heard(report, leftS());
  writeFileSync(join(host, "src/word.js"), text);
  for (;;) {
    const reported = await next;
    if (reported === null) {
      const what = reports
        ? `was reported, but the server still serves what was there before, after ${reportWithinS} s`
        : `on the host was not reported in the guest within ${reportWithinS} s: ` +
          "does this share raise events there?";
      throw new Error(`edit ${number} ${what}`);
    }
    reports += 1;
    // A report may be of a file that was cut short, and not yet written: then another follows.
    next = heard(report, leftS());
    next.catch(() => {}); // nobody waits for it, where this report was the right one
    if ((await served(port)).includes(`"edit ${number}"`)) return reported.atMs - beganMs;
  }
}

let status = 0;
try {
  const started = await heard(/^watching (\d+)$/, startWithinS);
  if (started === null) throw new Error(`the server did not start within ${startWithinS} s`);
  const port = started.found[1];
  if (!(await served(port)).includes('"edit 0"')) throw new Error("the server serves something else");
  const latencies = [];
  for (let number = 1; number <= edits; number += 1) {
    await sleep(pauseMs);
    const ms = await latencyOf(number, port);
    console.log(`edit ${number}: ${ms.toFixed(1)} ms`);
    latencies.push(ms);
  }
  latencies.sort((one, other) => one - other);
  const median = latencies[Math.floor(latencies.length / 2)];
  console.log(`median ${median.toFixed(1)} ms, longest ${latencies.at(-1).toFixed(1)} ms`);
} catch (error) {
  console.error(`edit.mjs: ${error.message}`);
  status = 1;
}
server.stdin.end();
if (!(await Promise.race([ended.then(() => true), sleep(5000)]))) {
  server.kill("SIGKILL");
  await ended;
}
process.exit(status);
