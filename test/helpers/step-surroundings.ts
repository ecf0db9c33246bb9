/** One Dockerfile that looks at everything that `RUN --mount` and a step's user bring, for both executors to be asked. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, symlinkSync } from "node:fs";
import { createServer } from "node:net";
import path from "node:path";
import type { BuildSandbox, Built } from "./build-sandbox.js";

const applets = ["sh", "cat", "ls", "cp", "mkdir", "touch", "grep", "stat", "find", "true"];

/** Fills the context: a root with busybox, users, a seed for caches and a program that talks to a socket. */
export function prepareSurroundings(sandbox: BuildSandbox): void {
  const bin = path.join(sandbox.context, "base", "bin");
  mkdirSync(bin, { recursive: true });
  copyFileSync("/bin/busybox", path.join(bin, "busybox"));
  for (const applet of applets) symlinkSync("busybox", path.join(bin, applet));
  execFileSync("gcc", ["-static", "-O1", "-o", path.join(bin, "ask"), "harness/test/unix_client.c"]);
  sandbox.write({
    "base/etc/passwd": "root:x:0:0::/root:/bin/sh\napp:x:1234:2345::/:/bin/sh\n",
    "base/etc/group": "root:x:0:\napp:x:2345:\nextra:x:3456:app\n",
    "seed/sub/f": "seeded\n",
  });
  execFileSync(
    "sh",
    ["-c", "chmod 750 seed/sub; chmod 600 seed/sub/f; ln seed/sub/f seed/sub/twin; ln -s f seed/sub/link"],
    {
      cwd: sandbox.context,
    },
  );
}

const look = "find /c /e /made -exec stat -c '%A %u:%g %n' {} +";

const caches =
  "--mount=type=cache,target=/c,from=seed,source=sub --mount=type=cache,target=/e,ro --mount=type=cache,target=/made,mode=0711,uid=5,gid=6";
const twice = "--mount=type=cache,id=one,sharing=locked,target=/a --mount=type=cache,id=one,sharing=locked,target=/b";

/** Few steps: a machine boots for each. */
const text = (n: number) => `FROM scratch
COPY base /
RUN ${caches} ${twice} --mount=type=tmpfs,target=/t,size=3m \\
  ${look}; cat /c/f; touch /e/x 2>/dev/null || echo read-only; echo ${n} >>/c/new; cat /c/new; echo ${n} >/a/f; cat /b/f; \\
  cp /bin/busybox /t/true; cp /bin/sh /t/full 2>/dev/null || echo full; /t/true true && stat -c %a /t; \\
  stat -c '%a %u' /; [ $(stat -c %Y /) -ge 1700000000 ] && mkdir /lost+found && grep Groups /proc/self/status
USER app
RUN grep Groups /proc/self/status
USER 77:88
RUN --mount=type=ssh,uid=77 --mount=type=secret,id=k,env=K,target=/k,mode=0440,gid=88 grep Groups /proc/self/status; echo hello | ask $SSH_AUTH_SOCK; echo; cat /k; echo " $K"
`;

/** What the first build says, and what the steps say that the second one runs again. */
export const expectedSurroundings: Readonly<Record<1 | 2, string>> = {
  1: [
    "drwxr-x--- 0:0 /c",
    "-rw------- 0:0 /c/f",
    "lrwxrwxrwx 0:0 /c/link",
    "-rw------- 0:0 /c/twin",
    "drwxr-xr-x 0:0 /e",
    "drwx--x--x 5:6 /made",
    "seeded",
    "read-only",
    "1",
    "1",
    "full",
    "1777",
    "755 0",
    "Groups:\t0",
    "Groups:\t2345 3456",
    "Groups:\t88",
    "agent heard 6",
    "s3cret s3cret",
  ].join("\n"),
  2: [
    "drwxr-x--- 0:0 /c",
    "-rw------- 0:0 /c/f",
    "lrwxrwxrwx 0:0 /c/link",
    "-rw-r--r-- 0:0 /c/new",
    "-rw------- 0:0 /c/twin",
    "drwxr-xr-x 0:0 /e",
    "drwx--x--x 5:6 /made",
    "seeded",
    "read-only",
    "1",
    "2",
    "2",
    "full",
    "1777",
    "755 0",
    "Groups:\t0",
  ].join("\n"),
};

/** Builds it for the `n`-th time, with an agent listening. Lines of directories come in the order of their names. */
export async function buildSurroundings(
  sandbox: BuildSandbox,
  isolation: "container" | "vm",
  n: 1 | 2,
): Promise<Built> {
  const agent = createServer({ allowHalfOpen: true }, (socket) => {
    let heard = 0;
    socket.on("data", (chunk) => {
      heard += chunk.length;
    });
    socket.on("end", () => socket.end(`agent heard ${heard}`));
  });
  const address = path.join(sandbox.root, "agent");
  agent.listen(address);
  await once(agent, "listening");
  try {
    return await sandbox.build(
      text(n),
      {
        isolation,
        buildContexts: [`seed=${path.join(sandbox.context, "seed")}`],
        secrets: ["id=k,env=K"],
        ssh: [`default=${address}`],
      },
      { SOURCE_DATE_EPOCH: "1700000000", K: "s3cret" },
    );
  } finally {
    agent.close();
  }
}

/** What `find` lists, in an order that does not depend on the filesystem. */
export const sortedListing = (output: string): string => {
  const lines = output
    .split("\n")
    .map((line) => line.trimEnd())
    .filter((line) => line !== "");
  const listed = lines.filter((line) => /^[-dl][-rwx]{9} /.test(line));
  const name = (line: string) => line.split(" ")[2]!;
  listed.sort((a, b) => (name(a) < name(b) ? -1 : 1));
  return [...listed, ...lines.filter((line) => !listed.includes(line))].join("\n");
};
