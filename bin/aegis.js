#!/usr/bin/env node
// Starts the bundle. It is one script, so that V8 takes it from the code cache that `npm run build` left beside it: that halves what a
// command costs before it does anything. A cache of another Node is refused by V8 and the script compiled as usual.
"use strict";
const { readFileSync } = require("node:fs");
const { createRequire } = require("node:module");
const path = require("node:path");
const { Script } = require("node:vm");

const file = path.join(__dirname, "../dist/main.cjs");
const source = contentOf(file);
if (source === undefined) {
  process.stderr.write("aegis: dist/ is missing; run `npm run build` in the checkout first\n");
  process.exit(125);
}
// Everything outside ASCII is escaped in it; one byte a character is read and kept fastest.
const script = new Script(source.toString("latin1"), { filename: file, cachedData: contentOf(`${file}.cache`) });
const bundle = { exports: {} };
script.runInThisContext()(bundle.exports, createRequire(file), bundle, file, path.dirname(file));
bundle.exports.run(process.argv.slice(2));

function contentOf(name) {
  try {
    return readFileSync(name);
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
}
