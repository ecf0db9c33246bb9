import { execFile } from "node:child_process";
import { chmodSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type AegisUnderTest, aegisUnderTest } from "../../helpers/aegis-cli.js";
import { writeBusybox } from "../../helpers/busybox-tree.js";
import { run } from "../oci/fixtures.js";

/** Two machines, as far as one can be two: homes, paths, clocks of files, umask, time zone and language differ. */

const machines = [
  { umask: "022", mtime: 1_600_000_000, env: { TZ: "UTC", LC_ALL: "C" }, directory: "a" },
  { umask: "077", mtime: 1_690_000_001, env: { TZ: "Asia/Tokyo", LC_ALL: "C.UTF-8" }, directory: "a longer/way/to it" },
] as const;

const dockerfile = `FROM scratch AS tools
COPY root /
RUN mkdir -p /opt/made && umask >/opt/made/now && ln /opt/made/now /opt/made/again && touch /opt/made/z /opt/made/a
FROM tools
ARG WHO=me
ENV NAME=$WHO
WORKDIR /srv/app
ADD files.tar /srv/
COPY --chown=1:2 --chmod=750 app /srv/app/
COPY --from=tools /opt/made/z /from-tools
COPY <<EOF /etc/motd
hello $NAME
EOF
RUN --mount=type=cache,target=/cache rm -r /srv/app/gone && sort -r /srv/app/list >/sorted && cp /sorted /cache/
LABEL b=2 a=1
CMD ["sh"]
`;

let homes: AegisUnderTest[];
beforeEach(async () => {
  homes = [await aegisUnderTest(), await aegisUnderTest()];
});
afterEach(async () => {
  for (const home of homes) await home.dispose();
});

async function contextOf(home: AegisUnderTest, { directory, mtime }: (typeof machines)[number]): Promise<string> {
  const context = path.join(home.scratch, directory);
  mkdirSync(path.join(context, "app/gone"), { recursive: true });
  writeBusybox(path.join(context, "root"));
  writeFileSync(path.join(context, "Dockerfile"), dockerfile);
  writeFileSync(path.join(context, "app/list"), "one\ntwo\nthree\n");
  writeFileSync(path.join(context, "app/gone/file"), "");
  const files = path.join(home.scratch, "packed");
  mkdirSync(files);
  writeFileSync(path.join(files, "inside"), "packed\n");
  await run(
    "tar",
    "-C",
    home.scratch,
    "--mtime=@1500000000",
    "--mode=755",
    "-cf",
    path.join(context, "files.tar"),
    "packed",
  );
  for (const entry of readdirSync(context, { recursive: true, withFileTypes: true })) {
    const file = path.join(entry.parentPath, entry.name);
    if (entry.isSymbolicLink()) continue;
    if (entry.isFile() && !file.includes("/root/")) chmodSync(file, 0o640);
    utimesSync(file, mtime, mtime);
  }
  return context;
}

test.each([[""], [",rewrite-timestamp=true"]])(
  "with SOURCE_DATE_EPOCH the image and its archive%s are the same everywhere",
  async (field) => {
    const built: { readonly id: string; readonly archive: Buffer }[] = [];
    for (const [i, machine] of machines.entries()) {
      const home = homes[i]!;
      const context = await contextOf(home, machine);
      const [id, archive] = ["id", "image.tar"].map((name) => path.join(home.scratch, name)) as [string, string];
      const flags = [
        "--isolation=container",
        `--iidfile=${id}`,
        `--output=type=oci,dest=${archive}${field}`,
        "-t",
        "same:1",
      ];
      const words = [
        "-c",
        `umask ${machine.umask}; exec "$@"`,
        "sh",
        ...home.command,
        "build",
        "-q",
        ...flags,
        context,
      ];
      const env = { ...home.env, ...machine.env, SOURCE_DATE_EPOCH: "1550000000" };
      await promisify(execFile)("sh", words, { env });
      built.push({ id: readFileSync(id, "utf8"), archive: readFileSync(archive) });
    }
    const [one, other] = built;
    expect(one!.id).toBe(other!.id);
    expect(one!.archive.equals(other!.archive)).toBe(true);
  },
);
