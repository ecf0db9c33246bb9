// Writes the code cache that bin/aegis.js loads: code-cache.cjs DIST. The functions in it are those that some common commands have used.
"use strict";
const { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } = require("node:fs");
const { createRequire } = require("node:module");
const { tmpdir } = require("node:os");
const path = require("node:path");
const { PassThrough } = require("node:stream");
const { Script } = require("node:vm");

const file = path.join(path.resolve(process.argv[2]), "main.cjs");
const script = new Script(readFileSync(file, "latin1"), { filename: file });
const bundle = { exports: {} };
script.runInThisContext()(bundle.exports, createRequire(file), bundle, file, path.dirname(file));

const dockerfile = `FROM scratch AS one
ARG A=1
COPY --chown=1:1 . /files/
FROM one
ENV B=$A
WORKDIR /files
CMD ["run"]
`;

async function main() {
  const work = mkdtempSync(path.join(tmpdir(), "aegis-code-cache-"));
  try {
    process.env.AEGIS_HOME = path.join(work, "home");
    const context = path.join(work, "context");
    mkdirSync(context);
    writeFileSync(path.join(context, "Dockerfile"), dockerfile);
    writeFileSync(path.join(context, ".dockerignore"), "*.log\n");
    const streams = { stdin: process.stdin, stdout: new PassThrough().resume(), stderr: new PassThrough().resume() };
    // The second build is a cached one.
    const build = ["build", "-t", "warm", context];
    for (const argv of [["version"], build, build, ["images"], ["ps", "-a"]])
      await bundle.exports.execute(argv, streams);
    writeFileSync(`${file}.cache`, script.createCachedData());
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

main();
