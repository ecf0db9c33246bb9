/** Named contexts, wherever a name may stand, and archives with attributes. */
import { baseImage, type ConformanceCase, type ContextEntry } from "../lib/case.js";

const context: Readonly<Record<string, ContextEntry>> = {
  own: "own\n",
  "other/a": "a\n",
  "other/run": { content: "#!/bin/sh\n", mode: 0o4755 },
  "other/sub/b": { content: "b\n", mode: 0o600 },
  "other/link": { symlink: "sub" },
  "other/out": { symlink: "/etc/passwd" },
  "other/hard": { hardlink: "other/a" },
  "other/skipped": "skipped\n",
  "other/.dockerignore": "skipped\n",
  ".dockerignore": { directory: true },
  "seed/f": { content: "seed\n", mode: 0o640 },
  "seed/sub/g": "deep\n",
};

const other = ["--build-context", "other=other"];
const scratch = (body: string) => `FROM scratch\n${body}\n`;
const base = `FROM ${baseImage}\n`;
const list = "find /c | sort | while read f; do stat -c '%A %u:%g %n' $f; done > /seen";

const cases: Readonly<Record<string, string | readonly [dockerfile: string, ...flags: string[]]>> = {
  "COPY from a named directory": scratch("COPY --from=other / /x"),
  "COPY of a file from a named directory": scratch("COPY --from=other a sub/b /x/"),
  "COPY from a named directory follows its links": scratch("COPY --from=other link /x"),
  "COPY from a named directory keeps links that lead out": scratch("COPY --from=other link/ out* /x/"),
  "COPY of what a named directory ignores": scratch("COPY --from=other skipped /x"),
  "COPY with wildcards from a named directory": scratch("COPY --from=other r* s* /x/"),
  "COPY with owner and mode from a named directory": scratch("COPY --from=other --chown=3:4 --chmod=640 . /x/"),
  "no match in a directory of a named directory": scratch("COPY --from=other sub/nothing* /x/"),
  "no match in a directory of a named directory that is taken": scratch(
    "COPY --from=other . /y\nCOPY --from=other sub/nothing* /x/",
  ),
  "a list of what to ignore that is a directory": scratch("COPY .dockerignore /x"),
  "a named directory is a base": "FROM other",
  "a named directory is a base under its whole name": "FROM docker.io/library/other:latest",
  "a named directory is a base for more": 'FROM other\nCOPY own /own\nENV A=1\nCMD ["x"]',
  "a named directory is a base of two stages":
    "FROM other AS one\nCOPY own /one\nFROM other\nCOPY --from=one /one /two",
  "a tag is part of a context's name": ["FROM other:1\nCOPY own /", "--build-context", "other:1=other"],
  "a context's name with its registry": ["FROM other", "--build-context", "docker.io/library/other:latest=other"],
  "a context of another name changes nothing": [scratch("COPY own /"), "--build-context", "unused=other"],
  "a context named scratch changes nothing": ["FROM scratch\nCOPY own /", "--build-context", "scratch=other"],
  "a context stands in for a stage": "FROM scratch AS other\nCOPY own /mine\nFROM other\nCOPY own /own",
  "a context stands in for a stage that is copied from":
    "FROM scratch AS other\nCOPY own /mine\nFROM scratch\nCOPY --from=other / /x",
  "a context stands in for a stage that is named by number":
    "FROM scratch AS other\nCOPY own /mine\nFROM scratch\nCOPY --from=0 / /x",
  "a context stands in for a stage that could not be built":
    "FROM scratch AS other\nCOPY missing /\nFROM scratch\nCOPY --from=other /a /x",
  "a context stands in for the target": "FROM scratch AS other\nCOPY own /mine",
  "a context's name in capitals": ["FROM scratch\nCOPY own /", "--build-context", "Other=other"],
  "a context that is not there": ["FROM scratch\nCOPY own /", "--build-context", "x=nowhere"],
  "a context that is a file": ["FROM scratch\nCOPY own /", "--build-context", "x=own2/.."],
  "an image stands in for another": [
    "FROM wished\nRUN id > /id",
    "--build-context",
    `wished=docker-image://${baseImage}`,
  ],
  "an image to copy from": [
    "FROM scratch\nCOPY --from=wished /plain /x",
    "--build-context",
    `wished=docker-image://${baseImage}`,
  ],
  "a bind mount from a named directory": `${base}RUN --mount=type=bind,from=other,target=/c ${list}; cat /c/a >> /seen`,
  "a bind mount of a directory of a named directory": `${base}RUN --mount=from=other,source=sub,target=/c ${list}`,
  "a bind mount of a file of a named directory": `${base}RUN --mount=from=other,source=sub/b,target=/c ${list}`,
  "a bind mount from a named directory, written to": `${base}RUN --mount=from=other,target=/c,rw echo x > /c/new && ${list}`,
  "a bind mount of what is not there": `${base}RUN --mount=from=other,source=missing,target=/c true`,
  "a cache that begins with a named directory": [
    `${base}RUN --mount=type=cache,from=seed,target=/c,id=conformance-1 ${list}`,
    "--build-context",
    "seed=seed",
  ],
  "a cache that begins with a directory of a stage": `${base}RUN mkdir -p /d/e && echo 1 > /d/e/f && chmod 711 /d/e\n${base}RUN --mount=type=cache,from=0,target=/c true`,
  "a cache that begins with a part of a named stage": `${base.trim()} AS made\nRUN mkdir -p /d/e && echo 1 > /d/e/f && chmod 711 /d/e\n${base}RUN --mount=type=cache,from=made,source=/d/e,target=/c,id=conformance-2 ${list}`,
  "a cache with an owner and a mode": `${base}RUN --mount=type=cache,target=/c,id=conformance-3,uid=5,gid=6,mode=0775 ${list}`,
  "a cache with a source of its own": `${base}RUN --mount=type=cache,target=/c,id=conformance-4,source=sub ${list}`,
  "a tmpfs over nothing": `${base}RUN --mount=type=tmpfs,target=/c ${list}`,
  "a tmpfs over a directory": `${base}RUN --mount=type=tmpfs,target=/data ls /data > /seen && stat -c %a /data >> /seen`,
  "a program in a tmpfs": `${base}RUN --mount=type=tmpfs,target=/c cp /bin/busybox /c/true && /c/true && echo ran > /seen`,
};

const archive: ContextEntry = {
  tar: {
    plain: { content: "plain\n", xattrs: { "user.note": "note" } },
    able: {
      content: "able\n",
      mode: 0o755,
      xattrs: { "security.capability": "\u0001\0\0\u0002\0\u0004\0\0\0\0\0\0\0\0\0\0\0\0\0\0" },
    },
    dir: { type: "directory", xattrs: { "user.note": "note" } },
  },
};

export const contexts: readonly ConformanceCase[] = [
  ...Object.entries(cases).map(([name, given]) => {
    const [dockerfile, ...flags] = typeof given === "string" ? [given, ...other] : given;
    return { name, dockerfile: `${dockerfile}\n`, context, flags };
  }),
  { name: "attributes of files in an archive", dockerfile: scratch("ADD a.tar /"), context: { "a.tar": archive } },
  {
    name: "attributes of files of another stage",
    dockerfile: "FROM scratch\nADD a.tar /\nFROM scratch\nCOPY --from=0 / /x/\n",
    context: { "a.tar": archive },
  },
  {
    name: "attributes of files that change owners",
    dockerfile: "FROM scratch\nADD a.tar /\nFROM scratch\nCOPY --from=0 --chown=3:4 --chmod=700 / /x/\n",
    context: { "a.tar": archive },
  },
];
