import { readdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { beforeEach, expect, test } from "vitest";
import { scratchDirectory } from "../../helpers/scratch.js";
import { run } from "../oci/fixtures.js";

/** What a build does to the files of its context, as the kernel sees it: strace. */

// A directory of some hundred files that nothing has written to lately: fresh ones would rightly be read again.
const context = path.dirname(createRequire(import.meta.url).resolve("undici/package.json"));
const program = path.resolve(import.meta.dirname, "../../../bin/aegis.js");

const scratch = scratchDirectory();
beforeEach(async () => {
  await writeFile(scratch("Dockerfile"), "FROM scratch\nCOPY . /all/\n");
  await writeFile(scratch("Dockerfile.dockerignore"), "docs\n**/*.d.ts\n");
});

interface Touched {
  /** Files of the context whose content was opened. */
  readonly opened: readonly string[];
  /** Directories of the context that were listed. */
  readonly listed: readonly string[];
  /** Everything in the context that any call named. */
  readonly named: readonly string[];
}

async function traced(): Promise<Touched> {
  const log = scratch("trace");
  const strace = ["-f", "-s", "4096", "-e", "trace=%file", "-E", `AEGIS_HOME=${scratch("home")}`, "-o", log];
  await run("strace", ...strace, process.execPath, program, "build", "-q", "-f", scratch("Dockerfile"), context);
  const calls = [...(await readFile(log, "utf8")).matchAll(/(\w+)\((?:AT_FDCWD, )?"([^"]*)"([^\n]*)/g)];
  const inside = calls.flatMap(([, call, name, rest]) => {
    const relative = path.relative(context, name!);
    return relative.startsWith("..") ? [] : [{ call: call!, name: relative, directory: /O_DIRECTORY/.test(rest!) }];
  });
  const opens = inside.filter(({ call }) => call.startsWith("open"));
  const names = (found: typeof inside) => [...new Set(found.map(({ name }) => name))].sort();
  return {
    opened: names(opens.filter(({ directory }) => !directory)),
    listed: names(opens.filter(({ directory }) => directory)),
    named: names(inside),
  };
}

test("an unchanged context is not read again, and what is ignored is never touched", async () => {
  const all = await readdir(context, { recursive: true, withFileTypes: true });
  const relative = (entry: (typeof all)[number]) => path.relative(context, path.join(entry.parentPath, entry.name));
  const kept = all.filter((it) => !/^docs(\/|$)|\.d\.ts$/.test(relative(it)));
  const files = kept.filter((it) => it.isFile()).map(relative);
  expect(files.length).toBeGreaterThan(80);

  const first = await traced();
  expect(first.opened).toEqual([...files].sort());
  const second = await traced();
  expect(second.opened).toEqual([]);
  for (const { listed, named } of [first, second]) {
    expect(listed).toEqual(["", ...kept.filter((it) => it.isDirectory()).map(relative)].sort());
    // Of ignored files not even the names are asked for.
    expect(named.filter((name) => !["", ...kept.map(relative)].includes(name))).toEqual([]);
  }
});
