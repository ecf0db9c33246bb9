/** Corners of the language and of RUN's surroundings: names, numbers, users and mount points that nobody would write, and somebody has. */
import { baseImage, type ConformanceCase, type ContextEntry } from "../lib/case.js";

const context: Readonly<Record<string, ContextEntry>> = { a: "a\n", "dir/x": "x\n", "other/x": "x\n" };

const onScratch: Readonly<Record<string, string>> = {
  "a byte order mark at a word's beginning": 'ARG A=\ufeffx B="\ufeffy"\nENV D=${A}\ufeff\nLABEL v=$A-$B-$D w=\ufeff$A',
  "a byte order mark at a here-document's beginning": "COPY <<EOF /x\n\ufeffa\nEOF",
  "a command that can't be printed": 'CMD ["\u00ad\u200b\u2028\u00a0\ue000\u{10ffff}\\u0085<>&"]\nENTRYPOINT \u200b',
  "EXPOSE with signs and empty protocols": "EXPOSE +80 81-+82/ 83/",
  "EXPOSE with an address and both ports": "EXPOSE 1.2.3.4:8080:80 [::1]:81-82:83 ::1:1-2:3-4 []:5:6 :7",
  "EXPOSE with a name as host port": "EXPOSE a:80",
  "EXPOSE with a name as address": "EXPOSE localhost:80:80",
  "EXPOSE with a zone": "EXPOSE [::1%lo]:80:80",
  "EXPOSE of more ports than the host's": "EXPOSE 1:2-3",
  "HEALTHCHECK with fractions": "HEALTHCHECK --interval=1001us --timeout=1.000001ms --start-period=.5s CMD x",
  "HEALTHCHECK with retries that are no character": "HEALTHCHECK --retries=1114112 CMD x",
  "HEALTHCHECK with retries that are a blank": "HEALTHCHECK --retries=8232 CMD x",
  "HEALTHCHECK longer than 292 years": "HEALTHCHECK --interval=2562048h CMD x",
  "WORKDIR of two slashes": "WORKDIR //",
  "WORKDIR of a dot": "WORKDIR /./",
  "WORKDIR beyond ASCII": "WORKDIR /é\nWORKDIR ü/日本\nCOPY a .",
  "here-document whose name climbs": "COPY <<../z /d/\nbody\n../z",
  "here-document whose name begins in here": "COPY <<./z /d/\nbody\n./z",
  "here-document whose name has a directory": "COPY <<x/y /d/\nbody\nx/y",
  "here-document whose name is absolute": "COPY <</z /d/\nbody\n/z",
  "here-document whose name is a dot": "COPY <<. /d/\nbody\n.",
  "here-document without a name": "COPY <<- /d/\nbody\n-",
  "here-document whose name is a dash": "COPY <<-- /d/\nbody\n-",
  "here-document whose name has a wildcard": "COPY <<*.q a /x/\nbody\n*.q",
  "a name for --chown where there is nothing yet": "COPY --chown=app a /x",
  "a name for --chown where there is no passwd": "COPY a /\nCOPY --chown=app:staff a /x\nCOPY --chown=5:staff a /y",
  "a name for --chown below which there is nothing": "COPY a /\nCOPY --link --chown=app a /x",
  "USER's WORKDIR where there is nothing yet": "USER app\nWORKDIR /x",
  "USER's WORKDIR where there is no passwd": "COPY a /\nUSER app\nWORKDIR /x",
  "one name twice in an ARG": "ARG A=1 A=$A-2 B=3 B\nLABEL v=$A$B",
  "COPY from nothing": "COPY --from=scratch / /x",
  "COPY from nothing, a file": "COPY --from=scratch /a /x",
  "here-document whose name is quoted in part": "COPY <<a\"b\"'c' /d/\nbody $A\nabc",
  "a flag beyond ASCII": "COPY --chown=1:é a /x",
};

const stageNames = ["a_", "a-", "a..b", "a___b", "a-_b", "a__b", "a--b", "abcdef0123456789".repeat(4)];

/** Behind the base image's FROM. */
const onBase: Readonly<Record<string, string>> = {
  "a mount point beyond ASCII":
    "RUN --mount=type=tmpfs,target=/é find / -xdev -type d -newer /etc/passwd -name '*[!a-z]*' > /f; true",
  "a mount from nothing": "RUN --mount=from=scratch,target=/m ls -A /m > /f",
  "a mount from an empty name": "RUN --mount=target=/m,from= ls /m > /f",
  "a cache that begins with nothing": "RUN --mount=type=cache,target=/m,id=corners-1,from=scratch ls -A /m > /f",
  "a tmpfs with a source": "RUN --mount=type=tmpfs,target=/m,source=/x true",
  "a tmpfs with its root as source": "RUN --mount=type=tmpfs,target=/m,source=/ ls -A /m > /f",
  "ENV HOME empty": "ENV HOME=\nRUN tr '\\0' '\\n' < /proc/self/environ | grep HOME > /f",
  "ARG HOME": "ARG HOME=/mine\nRUN tr '\\0' '\\n' < /proc/self/environ | grep HOME > /f",
  "nothing runs from /dev/shm": "RUN cp /bin/busybox /dev/shm/true && /dev/shm/true || echo refused > /f",
  "a user where there is no passwd": "RUN rm /etc/passwd\nUSER 5\nRUN id > /tmp/f",
  "root where there is no passwd": "RUN rm /etc/passwd\nUSER 0\nRUN id > /f",
  "nobody named where there is no passwd": "RUN rm /etc/passwd /etc/group\nRUN id > /f; echo $HOME >> /f",
  "a user and a group by number where there is no passwd":
    "RUN rm /etc/passwd /etc/group\nUSER 5:6\nRUN id > /tmp/f; echo $HOME >> /tmp/f",
  "a user where there is no group": "RUN rm /etc/group\nUSER app\nRUN id > /tmp/f",
  "a number that passwd lacks where there is no group": "RUN rm /etc/group\nUSER 5\nRUN id > /tmp/f",
  "passwd is a link":
    "RUN mv /etc/passwd /etc/pw && ln -s pw /etc/passwd\nUSER app\nRUN id -un > /tmp/f; echo $HOME >> /tmp/f",
};

const passwd = [
  "root:x:0:0:root:/root:/bin/sh",
  "app:x:1234:2345::/home/app:/bin/sh",
  "twin:x:1234:77::/home/twin:/bin/sh",
  "55:x:600:601::/home/n:/bin/sh",
  "six:x:55:56::/home/six:/bin/sh",
  "nohome:x:700:700:::",
  "bad:x:abc:1::/b:",
  "  sp:x:800:801::/sp:",
  "short:x:900",
].join("\\n");
const group = "root:x:0:\\nstaff:x:50:app,six\\nextra:x:51:app,twin\\nnum:x:52:55\\n";
const users =
  "twin 55 six nohome bad sp short 55:55 app: :50 root:staff root:root +5 007 4000000000 4294967296 -1 app:-1 app:extra:x".split(
    " ",
  );
const identity = "id -u > /tmp/f; id -g >> /tmp/f; id -G >> /tmp/f; echo $HOME >> /tmp/f";

const named: readonly (readonly [name: string, dockerfile: string])[] = [
  ...Object.entries(onScratch).map(([name, lines]) => [name, `FROM scratch\n${lines}\n`] as const),
  ...stageNames.map((name) => [`a stage called ${name}`, `FROM scratch AS ${name}\nLABEL a=1\n`] as const),
  ["an unused stage with a name that is none", "FROM scratch AS a_\nFROM scratch\nLABEL a=1\n"],
  ...Object.entries(onBase).map(([name, lines]) => [name, `FROM ${baseImage} AS first\n${lines}\n`] as const),
  ...users.map(
    (user) =>
      [
        `among strange users, ${user}`,
        `FROM ${baseImage}\nRUN printf '${passwd}' > /etc/passwd; printf '${group}' > /etc/group\nUSER ${user}\nRUN ${identity}\n`,
      ] as const,
  ),
];

const withContext: Readonly<Record<string, string>> = {
  "a named directory below variables and WORKDIR": "FROM other\nENV A=v\nCOPY a /$A/\nWORKDIR /$A/w\nLABEL a=1\n",
  "a named directory below two stages":
    "FROM other AS one\nCOPY a /a\nFROM one\nCOPY --chown=1  a   /$UNSET/'$A'/\"b\"\n",
  "a named directory below ONBUILD": "FROM other AS one\nONBUILD COPY <<X <<Y /d/\n1\nX\n2\nY\nFROM one AS two\n",
};

const flagged: readonly ConformanceCase[] = [
  {
    name: "an image of no layer was made at no time",
    dockerfile: "FROM scratch\nLABEL a=1\n",
    flags: ["--build-arg", "SOURCE_DATE_EPOCH="],
  },
  {
    name: "BUILDKIT_MULTI_PLATFORM that is neither true nor false",
    dockerfile: "FROM scratch\nLABEL a=1\n",
    flags: ["--build-arg", "BUILDKIT_MULTI_PLATFORM=x"],
  },
  {
    name: "--target by the number of an unnamed stage",
    dockerfile: "FROM scratch\nLABEL a=1\nFROM scratch AS b\n",
    flags: ["--target", "0"],
  },
];

export const corners: readonly ConformanceCase[] = [
  ...flagged,
  ...named.map(([name, dockerfile]) => ({ name, dockerfile, context })),
  ...Object.entries(withContext).map(([name, dockerfile]) => ({
    name,
    dockerfile,
    context,
    flags: ["--build-context", "other=other"],
  })),
];
