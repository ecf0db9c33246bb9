// Holds the direction of imports between the rooms of src/: cli -> build, instance -> rootfs, vmm, guest -> oci, ext4, secrets -> support.
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";

const root = new URL("../src/", import.meta.url).pathname;
const floor = ["support"];
const leaves = ["oci", "ext4", "secrets", "dockerfile"];
const middle = ["rootfs", "vmm", "guest"];
/** What each room may import besides itself. `ext4`, `oci` and `dockerfile` could be published on their own. */
const allowed = {
  support: [],
  oci: floor,
  ext4: floor,
  secrets: floor,
  dockerfile: floor,
  guest: [...floor, ...leaves.filter((r) => r !== "dockerfile")],
  vmm: [...floor, "oci", "ext4", "secrets"],
  rootfs: [...floor, "oci", "ext4", "secrets"],
  build: [...floor, ...leaves, ...middle],
  instance: [...floor, ...leaves, ...middle],
  cli: [...floor, ...leaves, ...middle, "build", "instance"],
};

const problems = [];
for (const file of await readdir(root, { recursive: true })) {
  if (!file.endsWith(".ts")) continue;
  const room = file.split(path.sep)[0];
  if (!(room in allowed)) {
    problems.push(`src/${file}: "${room}" is not a room of the house`);
    continue;
  }
  const text = await readFile(path.join(root, file), "utf8");
  for (const match of text.matchAll(/(?:from|import)\s*\(?\s*["'](\.[^"']+)["']/g)) {
    const target = path.relative(root, path.resolve(root, path.dirname(file), match[1])).split(path.sep)[0];
    if (target !== room && !allowed[room].includes(target))
      problems.push(`src/${file}: "${room}" must not import "${target}"`);
  }
}
for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exit(1);
console.log("imports point one way");
