import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AegisHome, openHome } from "../../../src/support/home.js";
import { diagnose } from "../../../src/vmm/doctor/diagnose.js";
import { ensureBootFiles } from "../../../src/vmm/index.js";
import { ensureBootDisk } from "../../../src/vmm/parts/boot-disk.js";
import { helper } from "../../../src/vmm/parts/locate.js";

const said = (program: string, ...args: string[]) => execFileSync(program, args, { encoding: "utf8" });

describe("what a machine boots", () => {
  let directory: string;
  let home: AegisHome;
  beforeAll(() => {
    directory = mkdtempSync(path.join(tmpdir(), "aegis-boot-"));
    home = openHome({ ...process.env, AEGIS_HOME: path.join(directory, "home") });
  });
  afterAll(() => {
    rmSync(home.sockets, { recursive: true, force: true });
    rmSync(directory, { recursive: true, force: true });
  });

  test("the kernel is an ELF file with one segment to load and a PVH note", async () => {
    const { kernel } = await ensureBootFiles(home);
    const headers = said("readelf", "--wide", "--file-header", "--segments", "--notes", kernel);
    expect(headers).toMatch(/Entry point address: +0x1000123/);
    expect(headers).toMatch(/LOAD +0x001000 0x0*1000000 0x0*1000000/);
    expect(headers).toMatch(/Xen +0x00000008\t/);
    expect(headers).not.toMatch(/warning|error/i);
  });

  test("the boot disk is a sound filesystem that holds the harness as /init", async () => {
    const { bootDisk } = await ensureBootFiles(home);
    said("e2fsck", "-fn", bootDisk);
    const copy = path.join(directory, "init");
    said("debugfs", "-R", `dump -p /init ${copy}`, bootDisk);
    expect(readFileSync(copy).equals(readFileSync(helper("aegis-harness")))).toBe(true);
    expect(said("debugfs", "-R", "stat /init", bootDisk)).toMatch(/Mode: +0755/);
  });

  test("both are made once; equal harnesses give equal disks", async () => {
    const [first, second] = [await ensureBootFiles(home), await ensureBootFiles(home)];
    expect(second).toEqual(first);
    const other = openHome({ ...process.env, AEGIS_HOME: path.join(directory, "other") });
    try {
      const again = await ensureBootDisk(other);
      expect(path.basename(again)).toBe(path.basename(first.bootDisk));
      expect(readFileSync(again).equals(readFileSync(first.bootDisk))).toBe(true);
      expect(path.basename(await ensureBootDisk(other, "/bin/true"))).not.toBe(path.basename(again));
    } finally {
      rmSync(other.sockets, { recursive: true, force: true });
    }
  });

  test("the doctor finds everything that set-up installed, and says what runs machines here", async () => {
    const diagnosis = await diagnose(home);
    expect(diagnosis.blocking).toEqual([]);
    expect(diagnosis.driver).toBe(diagnosis.accelerated ? "krun" : "qemu");
    for (const check of diagnosis.checks.filter((each) => each.state === "ok" && each.path)) {
      expect(readFileSync(check.path!).length, check.id).toBeGreaterThan(0);
    }
  });
});
