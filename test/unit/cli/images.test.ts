import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Readable, Writable } from "node:stream";
import { afterAll, beforeAll, expect, test } from "vitest";
import { execute } from "../../../src/cli/main.js";
import { createTarEncoder } from "../../../src/oci/tar/encode.js";
import { openHome } from "../../../src/support/home.js";
import { file, replay } from "../oci/trees.js";

let directory: string;
let before: string | undefined;
beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), "aegis-images-"));
  before = process.env.AEGIS_HOME;
  process.env.AEGIS_HOME = path.join(directory, "home");
  const chunks: Buffer[] = [];
  const encoder = createTarEncoder((chunk) => void chunks.push(Buffer.from(chunk)));
  replay([file("bin/app", "#!/bin/sh\n", { mode: 0o755 })], encoder);
  encoder.end();
  await writeFile(path.join(directory, "root.tar"), Buffer.concat(chunks));
});
afterAll(async () => {
  await rm(openHome().sockets, { recursive: true, force: true });
  if (before === undefined) delete process.env.AEGIS_HOME;
  else process.env.AEGIS_HOME = before;
  await rm(directory, { recursive: true, force: true });
});

async function aegis(argv: readonly string[], input: Uint8Array = Buffer.alloc(0)) {
  const sink = () => {
    const chunks: Buffer[] = [];
    const stream = new Writable({
      write(chunk, _encoding, done) {
        chunks.push(Buffer.from(chunk));
        done();
      },
    }) as unknown as NodeJS.WriteStream;
    return { stream, bytes: () => Buffer.concat(chunks) };
  };
  const [stdout, stderr] = [sink(), sink()];
  const stdin = Readable.from([input]) as unknown as NodeJS.ReadStream;
  const code = await execute(argv, { stdin, stdout: stdout.stream, stderr: stderr.stream });
  return { code, bytes: stdout.bytes(), stdout: stdout.bytes().toString(), stderr: stderr.bytes().toString() };
}

test("an image is imported, shown, named, saved, loaded and removed", async () => {
  const imported = await aegis(["import", "-c", 'CMD ["/bin/app"]', path.join(directory, "root.tar"), "app:1"]);
  expect(imported).toMatchObject({ code: 0, stderr: "" });
  const id = imported.stdout.trim();
  expect(id).toMatch(/^sha256:[0-9a-f]{64}$/);

  expect((await aegis(["tag", "app:1", "localhost:5000/app:2"])).code).toBe(0);
  const listed = await aegis(["images"]);
  expect(listed.stdout).toMatch(/^REPOSITORY +TAG +IMAGE ID +CREATED +SIZE\n/);
  expect(listed.stdout).toMatch(new RegExp(`\\napp +1 +${id.slice(7, 19)} +\\d+ seconds? ago +\\d`));
  expect((await aegis(["images", "-q", "--no-trunc"])).stdout.trim()).toBe(id);
  expect((await aegis(["image", "ls", "--format", "json", "app"])).stdout).toContain('"tag": "1"');

  const [inspected] = JSON.parse((await aegis(["image", "inspect", id.slice(7, 17)])).stdout);
  expect(inspected).toMatchObject({
    Id: id,
    RepoTags: ["app:1", "localhost:5000/app:2"],
    Os: "linux",
    Config: { Cmd: ["/bin/app"] },
  });
  expect((await aegis(["history", "app:1"])).stdout).toContain("Imported from");

  const saved = await aegis(["save", "app:1"]);
  expect(saved.code).toBe(0);
  const ambiguous = await aegis(["rmi", id]);
  expect(ambiguous).toMatchObject({ code: 125, stderr: expect.stringContaining("AEGIS_E_IMAGE_HAS_NAMES") });
  expect((await aegis(["rmi", "-f", id])).stdout.split("\n")).toEqual([
    "Untagged: app:1",
    "Untagged: localhost:5000/app:2",
    `Deleted: ${id}`,
    "",
  ]);
  expect((await aegis(["system", "df"])).stdout).toMatch(/\nImages +0 +0 +0B +0B\n/);
  expect((await aegis(["load"], saved.bytes)).stdout).toBe("Loaded image: app:1\n");
  expect((await aegis(["images", "-q", "--no-trunc"])).stdout.trim()).toBe(id);
  expect((await aegis(["prune", "-a", "-f"])).stdout).toContain("Deleted: app:1");
});

test.each<[readonly string[], string]>([
  [["image", "inspect", "nope"], "IMAGE_NOT_FOUND"],
  [["history", "nope"], "IMAGE_NOT_FOUND"],
  [["rmi", "nope"], "IMAGE_NOT_FOUND"],
  [["save", "nope"], "IMAGE_NOT_FOUND"],
  [["tag", "nope", "x"], "IMAGE_NOT_FOUND"],
  [["push", "nope"], "IMAGE_NOT_FOUND"],
  [["pull", "UPPER"], "BAD_REFERENCE"],
  [["pull", "--platform", "vax", "x"], "BAD_PLATFORM"],
  [["load", "-i", "/nonexistent"], "INPUT_UNREADABLE"],
  [["load"], "ARCHIVE_UNKNOWN"],
  [["import", "-c", "RUN x", "-", "x"], "BAD_CHANGE"],
  [["images", "-f", "size=1"], "BAD_FILTER"],
  [["prune"], "USAGE"],
  [["login", "--password-stdin"], "USAGE"],
])("%j is refused as %s", async (argv, code) => {
  const isTerminal = process.stdin.isTTY;
  process.stdin.isTTY = false;
  try {
    expect(await aegis(argv)).toMatchObject({
      code: 125,
      stdout: "",
      stderr: expect.stringContaining(`AEGIS_E_${code}`),
    });
  } finally {
    process.stdin.isTTY = isTerminal;
  }
});
