import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { replaceFile, writingTo } from "../../../src/support/files.js";
import { createSocketDirectory, openHome, removeSocketDirectory } from "../../../src/support/home.js";
import { acquireLock, tryLock } from "../../../src/support/locks.js";
import { scratchDirectory } from "../../helpers/scratch.js";

const scratch = scratchDirectory();

describe("replaceFile", () => {
  it("replaces content and leaves no temporary file", async () => {
    const target = scratch("state.json");
    await replaceFile(target, "one");
    await replaceFile(target, "two");
    expect(await readFile(target, "utf8")).toBe("two");
    expect((await stat(target)).mode & 0o777).toBe(0o600);
    expect(await readdir(scratch())).toEqual(["state.json"]);
  });

  it("keeps the old content when filling fails", async () => {
    const target = scratch("state.json");
    await writeFile(target, "old");
    const broken = replaceFile(target, async (file) => {
      await file.writeFile("half");
      throw new Error("cut off");
    });
    await expect(broken).rejects.toThrow("cut off");
    expect(await readFile(target, "utf8")).toBe("old");
    expect(await readdir(scratch())).toEqual(["state.json"]);
  });
});

describe("locks", () => {
  it("exclude each other, and shared ones only exclude exclusive ones", async () => {
    const file = scratch("a.lock");
    const first = await tryLock(file, { shared: true });
    const second = await tryLock(file, { shared: true });
    expect(await tryLock(file)).toBeUndefined();
    first?.release();
    second?.release();
    const exclusive = await acquireLock(file);
    expect(await tryLock(file, { shared: true })).toBeUndefined();
    exclusive.release();
  });

  it("are freed by the kernel when their holder is killed", async () => {
    const file = scratch("b.lock");
    const script = `const n = require("fs-native-extensions"); const fd = require("fs").openSync(${JSON.stringify(file)}, "a+");
      if (!n.tryLock(fd)) process.exit(1); process.stdout.write("held"); setInterval(() => {}, 1000);`;
    const holder = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
    await once(holder.stdout, "data");
    expect(await tryLock(file)).toBeUndefined();
    holder.kill("SIGKILL");
    await once(holder, "close");
    const lock = await tryLock(file);
    expect(lock).toBeDefined();
    lock?.release();
  });
});

describe("openHome", () => {
  it("creates a private state directory and keeps socket paths short", async () => {
    const deep = scratch("d".repeat(60), "e".repeat(60));
    const home = openHome({ AEGIS_HOME: deep });
    expect((await stat(home.instances)).mode & 0o777).toBe(0o700);
    expect(home.sockets.length).toBeLessThanOrEqual(40);
  });

  it("has a directory for sockets only while one is needed", async () => {
    const home = openHome({ AEGIS_HOME: scratch() });
    const [first, second] = [path.join(home.sockets, "a"), path.join(home.sockets, "b")];
    createSocketDirectory(first);
    createSocketDirectory(second);
    expect((await stat(home.sockets)).mode & 0o777).toBe(0o700);
    removeSocketDirectory(first);
    expect(await readdir(home.sockets)).toEqual(["b"]);
    removeSocketDirectory(second);
    await expect(stat(home.sockets)).rejects.toThrow("ENOENT");
  });

  it("refuses a home that is a file, with a code", async () => {
    const file = scratch("file");
    await writeFile(file, "");
    expect(() => openHome({ AEGIS_HOME: file })).toThrow(expect.objectContaining({ code: "HOME_UNUSABLE" }));
  });
});

it.each([
  ["missing/file", "its directory does not exist"],
  ["file/below", "what should be its directory is a file"],
  ["directory", "a directory is there"],
])("a place %s that can't be written is named with why", async (name, why) => {
  await writeFile(scratch("file"), "");
  await mkdir(scratch("directory"));
  const target = scratch(name);
  const written = writingTo(target, () => replaceFile(target, "text"));
  await expect(written).rejects.toMatchObject({ code: "OUTPUT_UNWRITABLE", message: expect.stringContaining(why) });
  const other = new Error("something else");
  await expect(writingTo(target, () => Promise.reject(other))).rejects.toBe(other);
});
