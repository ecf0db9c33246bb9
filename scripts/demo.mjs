// `npm run demo [-- --keep]`: from a fresh clone to an HTTP answer from inside a microVM, every step shown with its time.
// Uses nothing but Node's own modules, because it is what installs everything else.
import { spawn, spawnSync } from "node:child_process";
import { createServer } from "node:net";
import path from "node:path";

const root = path.resolve(new URL("..", import.meta.url).pathname);
const keep = process.argv.includes("--keep");
const unknown = process.argv.slice(2).filter((word) => word !== "--keep");
if (unknown.length > 0) {
  console.error(`demo: unknown argument ${unknown[0]}; the only one is --keep`);
  process.exit(2);
}
const name = "aegis-demo";
const aegis = path.join(root, "bin/aegis.js");
const started = Date.now();
let step = 0;

const seconds = (since) => `${((Date.now() - since) / 1000).toFixed(1)} s`;

/** Runs one step in the foreground, its output indented, and shows how long it took; gives the last line of its output. */
async function run(title, command, args) {
  const since = Date.now();
  step++;
  console.log(
    `\n[${step}] ${title}\n    $ ${[command === process.execPath ? "" : command, ...args].join(" ").replace(aegis, "aegis").replaceAll(`${root}/`, "").trim()}`,
  );
  const child = spawn(command, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
  let lastLine = "";
  const indent = (stream) => {
    let rest = "";
    stream.setEncoding("utf8").on("data", (text) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        console.log(`    ${line}`);
        if (stream === child.stdout) lastLine = line;
      }
    });
    stream.on("end", () => rest && console.log(`    ${rest}`));
  };
  indent(child.stdout);
  indent(child.stderr);
  const code = await new Promise((resolve) => child.on("close", resolve));
  if (code !== 0) throw new Error(`"${title}" ended with status ${code}`);
  console.log(`    took ${seconds(since)}`);
  return lastLine;
}

/** The wanted port if it is free on loopback, else any free one. */
async function freePort(wanted) {
  for (const port of [wanted, 0]) {
    const server = createServer();
    const got = await new Promise((resolve) => {
      server.once("error", () => resolve(undefined));
      server.listen(port, "127.0.0.1", () => resolve(server.address().port));
    });
    await new Promise((resolve) => server.close(resolve));
    if (got !== undefined) return got;
  }
  throw new Error("no free port on 127.0.0.1");
}

/** The page, as soon as the service answers. */
async function fetchPage(url) {
  const deadline = Date.now() + 120_000;
  for (let failure; ; ) {
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(20_000) });
      if (response.ok) return await response.text();
      failure = `status ${response.status}`;
    } catch (error) {
      failure = error.cause?.code ?? error.message;
    }
    if (Date.now() > deadline) throw new Error(`${url} does not answer: ${failure}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

let booted = false;
function removeInstance() {
  spawnSync(process.execPath, [aegis, "rm", "--force", name], { stdio: "ignore", timeout: 60_000 });
}
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => {
    if (booted) removeInstance();
    process.exit(130);
  });
}

try {
  await run("Set up: packages, C parts, VMM, kernel, gvproxy", process.execPath, ["scripts/setup.mjs"]);
  const tarball = await run("Make the base image: Debian and Node.js (kept for next time)", process.execPath, [
    "scripts/base-images.mjs",
    "debian-node:22",
  ]);
  await run("Import it into the image store", process.execPath, [aegis, "import", tarball, "debian-node:22"]);
  await run("Build the Dockerfile", process.execPath, [aegis, "build", "-t", "hello", "fixtures/hello"]);

  const port = await freePort(8080);
  const url = `http://127.0.0.1:${port}/`;
  removeInstance();
  booted = true;
  const boot = Date.now();
  await run("Boot it as a microVM", process.execPath, [
    aegis,
    "run",
    "-d",
    "--name",
    name,
    "-p",
    `${port}:8080`,
    "hello",
  ]);
  step++;
  console.log(`\n[${step}] Fetch the page\n    $ curl ${url}`);
  const page = await fetchPage(url);
  console.log(page.trimEnd().replace(/^/gm, "    "));
  console.log(`    answered ${seconds(boot)} after "aegis run"`);

  if (keep) {
    console.log(
      `\nIt stays up: ${url}\n  npx aegis logs ${name}    npx aegis exec ${name} ps    npx aegis rm -f ${name}`,
    );
  } else {
    await run("Stop and remove it", process.execPath, [aegis, "rm", "--force", name]);
  }
  console.log(`\nDone in ${seconds(started)}.`);
} catch (error) {
  if (booted) {
    console.error("\nLast lines of its log:");
    spawnSync(process.execPath, [aegis, "logs", "--tail", "20", name], { stdio: "inherit", timeout: 20_000 });
    removeInstance();
  }
  console.error(`\ndemo: ${error.message}`);
  process.exit(1);
}
