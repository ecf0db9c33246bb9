import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, test } from "vitest";
import { completions } from "../../../src/cli/completions.js";
import { parseMoment } from "../../../src/cli/moments.js";
import { commands } from "../../../src/cli/registry.js";
import { formatAge, statusLine } from "../../../src/cli/render/instance.js";
import { environmentFile, environmentOf, parseLabels } from "../../../src/cli/run-options.js";
import { shapeOf } from "../../../src/cli/shape.js";
import { nearest } from "../../../src/cli/suggest.js";
import type { Instance } from "../../../src/instance/types.js";
import { parseExtraHost } from "../../../src/support/extra-hosts.js";
import { openHome } from "../../../src/support/home.js";

test("every command's class answers to the words it is registered under, and describes its options", async () => {
  for (const [name, entry] of Object.entries(commands)) {
    const { default: commandClass } = await entry.load();
    expect(commandClass.paths, name).toContainEqual(name.split(" "));
    for (const option of shapeOf(commandClass).options) {
      expect(option.hidden || (option.description ?? "") !== "", `${name} ${option.names.join()}`).toBe(true);
    }
  }
});

test("completion offers commands, their second words, options and secrets", async () => {
  const root = await mkdtemp(path.join(tmpdir(), "aegis-complete-"));
  const home = openHome({ AEGIS_HOME: root });
  const ask = (...words: string[]) => completions(words, () => home);
  try {
    expect(await ask("sto")).toEqual(["stop"]);
    expect(await ask("secret", "")).toEqual(["ls", "rm", "set"]);
    expect(await ask("run", "--mem")).toEqual(["--memory"]);
    expect(await ask("stop", "")).toEqual([]);
  } finally {
    await rm(root, { recursive: true, force: true });
    await rm(home.sockets, { recursive: true, force: true });
  }
});

test("environment from flags and files", async () => {
  const file = path.join(await mkdtemp(path.join(tmpdir(), "aegis-env-")), "env");
  await writeFile(file, "# comment\n\nA=1 # not a comment\n  B=two words\nC\nUNSET\n");
  try {
    expect(await environmentFile(file, { C: "from here" })).toEqual([
      "A=1 # not a comment",
      "B=two words",
      "C=from here",
    ]);
    await expect(environmentFile(`${file}.no`, {})).rejects.toMatchObject({ code: "ENV_FILE" });
  } finally {
    await rm(path.dirname(file), { recursive: true });
  }
  expect(environmentOf(["X=", "Y=a=b", "HOME"], { HOME: "/h" })).toEqual(["X=", "Y=a=b", "HOME=/h"]);
  expect(() => environmentOf(["=x"], {})).toThrow(expect.objectContaining({ code: "BAD_ENV" }));
});

test("hosts, labels and moments", () => {
  expect(parseExtraHost("db:10.0.0.5")).toEqual({ name: "db", address: "10.0.0.5" });
  expect(parseExtraHost("db=[::1]")).toEqual({ name: "db", address: "::1" });
  expect(parseExtraHost("me:host-gateway")).toEqual({ name: "me", address: "host-gateway" });
  expect(() => parseExtraHost("db:nowhere")).toThrow(expect.objectContaining({ code: "BAD_HOST" }));
  expect(parseLabels(["a=b=c", "d"])).toEqual({ a: "b=c", d: "" });
  const now = Date.parse("2026-01-31T10:00:00Z");
  expect(["10m", "1769853600", "2026-01-31T09:00:00Z"].map((text) => parseMoment(text, now))).toEqual([
    now - 600_000,
    now,
    now - 3_600_000,
  ]);
  expect(() => parseMoment("soon")).toThrow(expect.objectContaining({ code: "BAD_TIME" }));
});

test("ages and states for people", () => {
  const now = Date.parse("2026-01-31T10:00:00Z");
  const ago = (seconds: number) => formatAge(new Date(now - seconds * 1000).toISOString(), now);
  expect([5, 60, 7200, 86400 * 3].map(ago)).toEqual(["5 seconds", "1 minute", "2 hours", "3 days"]);
  const line = (state: object) => statusLine({ state: { schema: 1, ...state } } as Instance);
  expect(line({ status: "exited", exitCode: 137, oomKilled: true })).toBe("Exited (137): out of memory");
  expect(line({ status: "created" })).toBe("Created");
});

test("only near words are suggested", () => {
  expect(nearest("stpo", ["stop", "start"])).toBe("stop");
  expect(nearest("--memroy", ["--memory", "--name"])).toBe("--memory");
  expect(nearest("xyzzy", ["stop", "start"])).toBeUndefined();
});
