import { execFileSync } from "node:child_process";
import { copyFileSync, readFileSync } from "node:fs";
import path from "node:path";
import { expect, it } from "vitest";
import { fuzz, fuzzing, peakMebibytes } from "../../helpers/damage.js";
import { readEverything } from "../../helpers/ext4-fuzz.js";
import { withScratch } from "../../helpers/ext4-image.js";
import { withMount } from "../../helpers/loop-mount.js";

const kinds: readonly (readonly string[])[] = [
  ["-b", "1024"],
  ["-b", "4096", "-O", "inline_data"],
  ["-b", "1024", "-O", "^extents,^64bit"],
  ["-b", "1024", "-O", "^metadata_csum,ea_inode,meta_bg,^resize_inode"],
];

const fill = `
mkdir -p deep/d; for i in $(seq 1 40); do echo "$i" > deep/file-with-a-name-$i; done
for i in $(seq 0 2 40); do dd if=/dev/urandom of=deep/down bs=1024 count=1 seek=$i conv=notrunc status=none; done
ln -s deep/down short; ln -s $(printf 'l%.0s' $(seq 1 300)) long; ln deep/down hard; mknod device c 1 3
setfattr -n user.long -v $(printf 'v%.0s' $(seq 1 500)) deep/down; sync deep/down`;
/** So that the journal holds revocations and blocks that are to be replayed. */
const change =
  "rm -r deep/d; for i in $(seq 1 20); do rm deep/file-with-a-name-$i; echo $i > new-$i; done; sync new-20";

it(
  "reads damaged filesystems of mke2fs and the kernel, journals included, to an end",
  async () => {
    await withScratch(async (scratch) => {
      const images: Buffer[] = [];
      for (const [i, kind] of kinds.entries()) {
        const live = path.join(scratch, `live-${i}.img`);
        const killed = path.join(scratch, `killed-${i}.img`);
        execFileSync("mke2fs", ["-q", "-t", "ext4", "-J", "size=4", ...kind, live, "16M"], { stdio: "pipe" });
        const sh = (root: string, script: string) => execFileSync("sh", ["-ec", script], { cwd: root, stdio: "pipe" });
        await withMount(live, (root) => sh(root, fill), "rw");
        await withMount(
          live,
          (root) => {
            sh(root, change);
            copyFileSync(live, killed);
          },
          "rw",
        );
        images.push(readFileSync(live), readFileSync(killed));
      }
      for (const image of images) expect(await readEverything(image, true)).toBeUndefined();
      const runs = await fuzz(images, async (image, random) => void (await readEverything(image, random(4) === 0)));
      expect(runs).toBeGreaterThan(fuzzing.seconds);
      expect(peakMebibytes()).toBeLessThan(1024);
      for (const image of images) expect(await readEverything(image, true)).toBeUndefined();
    });
  },
  (fuzzing.seconds + 120) * 1000,
);
