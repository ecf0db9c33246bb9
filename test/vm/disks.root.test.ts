/** Disks that guests wrote and that other machines boot, held against the kernel. */
import { copyFile, mkdir, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ByteString } from "../../src/support/brands.js";
import { type AegisUnderTest, aegisUnderTest, eventually } from "../helpers/aegis-cli.js";
import { imageLines, readImage } from "../helpers/ext4-image.js";
import { checkFilesystem } from "../helpers/kernel-mounts.js";
import { withMount } from "../helpers/loop-mount.js";
import { bootPlainly } from "../helpers/plain-qemu.js";
import { hostTreeLines } from "../helpers/tree-lines.js";

let aegis: AegisUnderTest;
beforeAll(async () => {
  aegis = await aegisUnderTest();
  await aegis.importBase("busybox:latest", "busybox", 'CMD ["sh"]');
});
afterAll(() => aegis?.dispose());

const diskOf = async (name: string) => path.join((await aegis.inspect(name)).files.directory, "disk.ext4");

test("a larger --disk grows the instance's own disk sparsely, with its files, and a smaller one leaves it", async () => {
  const run = (size: string, script: string) =>
    aegis.ok("run", "--name", "grown", "--disk", size, "-v", "kept:/kept", "busybox", "sh", "-c", script);
  const space = "for at in / /kept; do df -k $at | tail -1 | awk '{print $2}'; done";
  const fill = (file: string, mebibytes: number) => `dd if=/dev/zero of=${file} bs=1M count=${mebibytes} 2>/dev/null`;

  const before = await run("64m", `${fill("/first", 20)}; ${space}`);
  expect(before.split("\n").every((kilobytes) => Number(kilobytes) < 64 << 10)).toBe(true);
  const disk = await diskOf("grown");
  expect((await stat(disk)).size).toBe(64 << 20);

  const after = await run("20g", `wc -c </first; ${fill("/second", 40)} && ${space}`);
  const [first, ...sizes] = after.split("\n").map(Number);
  expect(first).toBe(20 << 20);
  for (const kilobytes of sizes) expect(kilobytes).toBeGreaterThan(19 << 20);
  const grown = await stat(disk);
  expect(grown.size).toBe(20 * 2 ** 30);
  expect(grown.blocks * 512).toBeLessThan(100 << 20);
  await checkFilesystem(disk);
  await checkFilesystem(path.join(aegis.home, "volumes/kept/disk.ext4"));

  expect(await run("64m", "wc -c </second")).toBe(String(40 << 20));
  expect((await stat(disk)).size).toBe(20 * 2 ** 30);
  await checkFilesystem(disk);
  await aegis.ok("rm", "grown");
});

test("a disk whose VMM was killed amid writes is read as the kernel shows it after its replay, again and again", async () => {
  // Names come, move, get more links and go; a sync now and then makes the journal hold something to replay.
  const churn = `
    i=$(ls /work 2>/dev/null | wc -l); mkdir -p /work/a /work/b
    while :; do
      i=$((i + 1)); d=/work/d$((i % 13)); mkdir -p $d /work/a
      echo "content of $i" >$d/f$i; ln $d/f$i /work/a/l$i; ln -s f$i $d/s$i; mkfifo $d/p$i
      [ $((i % 5)) = 0 ] && mv $d/f$i "/work/b/moved to $i" && chmod 600 "/work/b/moved to $i"
      [ $((i % 7)) = 0 ] && rm -rf /work/d$(((i + 3) % 13))
      [ $((i % 11)) = 0 ] && dd if=/dev/urandom of=/work/big bs=64k count=$((i % 9)) 2>/dev/null
      [ $((i % 31)) = 0 ] && rm -rf /work/a
      [ $((i % 20)) = 0 ] && sync && echo "round $i"
    done`;
  await aegis.ok("run", "-d", "--name", "killed", "--disk", "96m", "busybox", "sh", "-c", churn);
  const disk = await diskOf("killed");
  for (const rounds of [2, 5, 3]) {
    const { vmmPid } = (await aegis.inspect("killed")).state;
    const told = async () => (await aegis.ok("logs", "killed")).split("\n").length;
    const from = await told();
    await eventually(async () => ((await told()) >= from + rounds ? true : undefined));
    process.kill(vmmPid!, "SIGKILL");
    expect(await aegis.ok("wait", "killed")).toBe("137");

    const copy = path.join(aegis.scratch, "killed.ext4");
    await copyFile(disk, copy);
    expect(await readImage(copy, (reader) => reader.wasDirty)).toBe(true);
    const seen = await imageLines(copy);
    expect(seen.length).toBeGreaterThan(50);
    expect(await aegis.ok("diff", "killed")).toContain("A /work/");
    expect(await withMount(copy, (root) => hostTreeLines(root, { skip: ["lost+found"] }), "rw")).toEqual(seen);
    await checkFilesystem(copy);
    await aegis.ok("start", "killed");
  }
  await aegis.ok("rm", "-f", "killed");
});

test("what was committed is there in the next instance, and its diff shows only what came later", async () => {
  const first =
    "echo one >/etc/one; rm /etc/group; chmod 600 /etc/passwd; echo before >/etc/both; rm -r /var; mkdir /var";
  await aegis.ok("run", "--name", "first", "busybox", "sh", "-c", first);
  const changes = (name: string) => aegis.ok("diff", name).then((text) => text.split("\n"));
  expect(await changes("first")).toEqual(
    expect.arrayContaining(["C /etc", "A /etc/both", "D /etc/group", "A /etc/one", "C /etc/passwd"]),
  );
  await aegis.ok("commit", "first", "committed");

  const second =
    "cat /etc/one; ls -A /var /etc/group 2>&1; stat -c %a /etc/passwd; echo two >/etc/two; echo after >/etc/both";
  expect(await aegis.ok("run", "--name", "second", "committed", "sh", "-c", second)).toBe(
    "one\nls: /etc/group: No such file or directory\n/var:\n600",
  );
  expect(await changes("second")).toEqual(["C /etc", "C /etc/both", "A /etc/two"]);
  await aegis.ok("rm", "first", "second");
});

test("an image built as a disk, and an instance exported as one, boot in QEMU with no aegis in it", async () => {
  const begin = "mount -t proc proc /proc";
  const end = "mount -o remount,ro / && reboot -f";
  const context = path.join(aegis.scratch, "context");
  await mkdir(context);
  await writeFile(path.join(context, "init"), `#!/bin/sh\n${begin}; cat /words; echo >/seen; ${end}\n`);
  await writeFile(path.join(context, "words"), "built as a disk\n");
  await writeFile(
    path.join(context, "Dockerfile"),
    "FROM busybox\nCOPY --chmod=755 init /sbin/own-init\nCOPY words /words\n",
  );
  const built = path.join(aegis.scratch, "built.ext4");
  await aegis.ok("build", "-q", "-o", `type=disk,dest=${built}`, context);
  expect(await bootPlainly(aegis.env, built, "/sbin/own-init")).toContain("built as a disk");
  await checkFilesystem(built);
  expect(await readImage(built, (reader) => reader.lookup("seen" as ByteString)?.size)).toBe(1);

  const script = `${begin}; cat /words; ls /etc/group; df -m / | tail -1; ${end}`;
  const change = `rm /etc/group; echo from the instance >/words; printf '#!/bin/sh\n${script}\n' >/init; chmod +x /init`;
  await aegis.ok("run", "--name", "exported", "busybox", "sh", "-c", change);
  const exported = path.join(aegis.scratch, "exported.ext4");
  await aegis.ok("export", "--disk", exported, "--size", "256m", "exported");
  const said = await bootPlainly(aegis.env, exported, "/init");
  expect(said).toContain("from the instance");
  expect(said).toContain("/etc/group: No such file");
  expect(Number(/^\S+ +(\d+) .*\/\s*$/m.exec(said)?.[1])).toBeGreaterThan(200);
  await checkFilesystem(exported);
  await aegis.ok("rm", "exported");
});
