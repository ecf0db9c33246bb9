/** Which stages are built, what names and variables they see, and times that SOURCE_DATE_EPOCH fixes. */
import { baseImage, type ConformanceCase } from "../lib/case.js";

const files: Readonly<Record<string, string>> = {
  "a global ARG is not seen by RUN": "ARG A=1\nFROM base\nRUN echo ${A-unset} > /f",
  "a global ARG is seen when declared": "ARG A=1\nFROM base\nARG A\nRUN echo $A > /f",
  "a global ARG is not seen before its declaration":
    "ARG A=1\nFROM base\nRUN echo ${A-unset} > /f\nARG A\nRUN echo $A >> /f",
  "a global ARG reaches each stage that declares it":
    "ARG A=1\nFROM base AS one\nARG A\nRUN echo $A > /one\nFROM base\nARG A\nCOPY --from=one /one /\nRUN echo $A > /two",
  "a global ARG's default with modifiers":
    "ARG V=1.2.3\nARG S=${V%.*}\nARG T=${V%%.*}\nFROM base\nARG S T\nRUN echo $S $T > /f",
  "an ARG after RUN is not its": "FROM base\nRUN echo ${A-unset} > /f\nARG A=1",
  "an ARG without a value and one that is empty": "FROM base\nARG A\nARG B=\nRUN echo ${A-unset} ${B-unset} > /f",
  "ENV wins over an ARG after it": "FROM base\nENV A=env\nARG A=arg\nRUN echo $A > /f",
  "ENV wins over an ARG before it": "FROM base\nARG A=arg\nENV A=env\nRUN echo $A > /f",
  "ENV takes the ARG's value": "FROM base\nARG A=arg\nENV A=${A}-env\nRUN echo $A > /f",
  "an ARG is inherited by a stage from a stage": "FROM base AS one\nARG A=1\nFROM one\nRUN echo ${A-unset} > /f",
  "an ARG of the target is not seen in the one before":
    "FROM base AS one\nRUN echo ${A-unset} > /f\nFROM one\nARG A=2\nRUN echo $A >> /f",
  "an ARG in quotes keeps its blanks": 'FROM base\nARG A="x  y"\nRUN echo "$A" > /f',
  "an ARG's default from an ENV": "FROM base\nENV E=e\nARG A=$E-x\nRUN echo $A > /f",
  "several ARGs on a line see each other": "FROM base\nARG A=1 B=$A\nRUN echo $A-${B:-empty} > /f",
  "an ARG set again": "FROM base\nARG A=1\nRUN echo $A > /f\nARG A=2\nRUN echo $A >> /f",
  "platform ARGs":
    "FROM base\nARG TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT BUILDPLATFORM BUILDOS BUILDARCH\nRUN echo $TARGETPLATFORM,$TARGETOS,$TARGETARCH,$TARGETVARIANT,$BUILDPLATFORM,$BUILDOS,$BUILDARCH > /f",
  "platform ARGs in FROM": "FROM --platform=$TARGETPLATFORM base\nRUN echo ok > /f",
  "platform ARGs are not seen without ARG": "FROM base\nRUN echo ${TARGETARCH-unset} > /f",
  "a platform ARG with a default of its own": "FROM base\nARG TARGETARCH=mine\nRUN echo $TARGETARCH > /f",
  "proxy ARGs are not in the environment when not given": "FROM base\nRUN env | grep -i -c proxy > /f; true",
  "a stage name in another case": "FROM base AS Build\nRUN touch /f\nFROM base\nCOPY --from=bUILD /f /g",
  "a stage name in another case in FROM": "FROM base AS Build\nRUN touch /f\nFROM BUILD\nRUN touch /g",
  "a stage by number":
    "FROM base\nRUN touch /f\nFROM base\nRUN touch /x\nFROM base\nCOPY --from=0 /f /g\nCOPY --from=1 /x /y",
  "a stage whose name is a number": "FROM base AS 0\nRUN touch /f",
  "a stage by name before one by image": "FROM base AS busybox\nRUN touch /f\nFROM base\nCOPY --from=busybox /f /g",
  "a stage that is not there": "FROM base\nCOPY --from=9 /f /g",
  "a stage that comes later": "FROM base AS one\nCOPY --from=two /plain /g\nFROM base AS two",
  "a mount from a stage": "FROM base AS one\nRUN echo 1 > /f\nFROM base\nRUN --mount=from=one,target=/m cp /m/f /g",
  "a mount of a stage's directory":
    "FROM base AS one\nRUN mkdir /d && echo 1 > /d/f\nFROM base\nRUN --mount=type=bind,from=one,source=/d,target=/m ls /m > /g",
  "a mount of a stage's file":
    "FROM base AS one\nRUN echo 1 > /f\nFROM base\nRUN --mount=type=bind,from=one,source=f,target=/m cat /m > /g",
  "a mount of an image": "FROM base\nRUN --mount=from=base,source=/data,target=/m ls /m > /g",
  "a mount over what is there":
    "FROM base AS one\nRUN mkdir /d && echo 1 > /d/f\nFROM base\nRUN --mount=from=one,source=/d,target=/data ls /data > /g",
  "a mount below WORKDIR": "FROM base\nWORKDIR /w\nRUN --mount=target=m ls m > f",
  "a mount at a path through a symlink": "FROM base\nRUN --mount=target=/link-to-data/m ls /data/m > /g",
  "a mount of what is missing": "FROM base\nRUN --mount=source=missing,target=/m true",
  "a mount's writes are not in the layer":
    "FROM base AS one\nRUN mkdir /d\nFROM base\nRUN --mount=from=one,source=/d,target=/m,rw touch /m/x && touch /m2",
  "a mount keeps owners and modes":
    "FROM base AS one\nRUN mkdir /d && echo 1 > /d/f && chown 12:34 /d/f && chmod 4711 /d/f\nFROM base\nRUN --mount=from=one,source=/d,target=/m stat -c '%u %g %a' /m/f > /g",
  "two mounts, one in the other":
    "FROM base AS one\nRUN mkdir -p /d/sub && touch /d/a\nFROM base\nRUN --mount=from=one,source=/d,target=/m --mount=type=tmpfs,target=/m/sub touch /m/sub/x && ls /m /m/sub > /g",
  "a tmpfs with a size":
    "FROM base\nRUN --mount=type=tmpfs,target=/t,size=1m grep ' /t ' /proc/mounts | tr ',' '\\n' | grep size > /f",
  "a tmpfs is empty and open":
    "FROM base\nRUN --mount=type=tmpfs,target=/data ls -A /data > /f; stat -c %a /data >> /f",
  "a mount point below a new directory": "FROM base\nRUN --mount=type=tmpfs,target=/a/b/c true\nRUN find /a > /f",
  "a cache is kept from step to step":
    "FROM base\nRUN --mount=type=cache,target=/c,id=scopes-1 echo kept > /c/x\nRUN --mount=type=cache,target=/c,id=scopes-1 cp /c/x /f\nRUN ls -A /c > /g",
  "a cache that is read-only":
    "FROM base\nRUN --mount=type=cache,target=/c,id=scopes-2,ro touch /c/x || echo refused > /f",
  "a cache at the place of a base's directory":
    "FROM base\nRUN --mount=type=cache,target=/data,id=scopes-3 ls -A /data > /f",
  "caches at two places share by id":
    "FROM base\nRUN --mount=type=cache,target=/a,id=scopes-4 --mount=type=cache,target=/b,id=scopes-4 echo x > /a/f && cat /b/f > /f",
  "a private cache": "FROM base\nRUN --mount=type=cache,target=/c,id=scopes-5,sharing=private touch /c/x && ls /c > /f",
  "network none has a loopback": "FROM base\nRUN --network=none cat /proc/net/dev | grep -c lo: > /f",
  "unreferenced stages don't run":
    "FROM base AS bad\nRUN exit 1\nFROM base AS good\nRUN touch /f\nFROM good\nRUN touch /g",
  "a stage that only a mount refers to":
    "FROM base AS one\nRUN echo 1 > /f\nFROM base AS two\nRUN exit 1\nFROM base\nRUN --mount=from=one,target=/m cat /m/f > /g",
  "a stage used twice": "FROM base AS one\nRUN echo 1 > /f\nFROM base\nCOPY --from=one /f /a\nCOPY --from=one /f /b",
  "a diamond of stages":
    "FROM base AS root\nRUN echo root > /r\nFROM root AS left\nRUN echo left > /l\nFROM root AS right\nRUN echo right > /x\nFROM root\nCOPY --from=left /l /\nCOPY --from=right /x /\nRUN cat /r /l /x > /all",
  "a failing stage that is needed": "FROM base AS one\nRUN exit 4\nFROM base\nCOPY --from=one /f /g",
  "an exit code": "FROM base\nRUN exit 42",
  "an exit code of a user's program": 'FROM base\nRUN ["/bin/sh", "-c", "exit 5"]',
  "a signal": "FROM base\nRUN kill -9 $$ ; true",
  "a child that dies of a signal": "FROM base\nRUN sh -c 'kill -9 $$'",
  "a file that can't be executed": 'FROM base\nRUN ["/plain"]',
  "a directory as a command": 'FROM base\nRUN ["/data"]',
  "a script without its interpreter": "FROM base\nRUN printf '#!/nothing\\n' > /s && chmod +x /s\nRUN /s",
  "a script without a shebang": "FROM base\nRUN printf 'echo ran > /f\\n' > /s && chmod +x /s\nRUN /s",
  "an empty exec form": "FROM base\nRUN []",
  "an exec form with an empty word": 'FROM base\nRUN ["", "x"]',
  "an exec form is not expanded":
    'FROM base\nENV A=1\nRUN ["/bin/sh", "-c", "echo $A \'$A\' > /f"]\nRUN ["/bin/touch", "/$A"]',
  "escape directive with RUN": "# escape=`\nFROM base\nRUN echo a\\b `\n  c > /f\nCOPY Dockerfile /w`\n/",
  "CRLF with RUN": 'FROM base\r\nRUN echo a \\\r\n  b > /f\r\nENV A=1\r\nRUN echo "$A" >> /f\r\n',
  "a byte order mark with a directive": "\ufeff# escape=`\nFROM base\nRUN echo `\n  x > /f",
  "continuation lines with comments in RUN":
    "FROM base\nRUN echo a > /f && \\\n# comment\n   # another\n\n   echo b >> /f",
  "nested modifiers":
    "FROM base\nARG A=a.b.c E=\nENV X=${A#*.} Y=${A##*.} Z=${A%.*} W=${A%%.*} V=${A/./-} U=${A//./-} T=${E:-${A%${A#?}}} S=${N:+x}${A:+y}\nRUN echo $X $Y $Z $W $V $U $T $S > /f",
  "a required variable": "FROM base\nARG A\nENV B=${A:?must be set}",
  "modifiers in WORKDIR, USER, COPY":
    "FROM base\nENV P=/a/b/c U=app:staff\nWORKDIR ${P%/*}\nUSER ${U%%:*}\nCOPY Dockerfile ${P//\\//_}\nRUN pwd > /tmp/f; id -un >> /tmp/f",
};

const epoch = (name: string, dockerfile: string, seconds: number): ConformanceCase => ({
  name,
  dockerfile,
  context: { a: "a\n" },
  flags: ["--build-arg", `SOURCE_DATE_EPOCH=${seconds}`],
});

const epochs: readonly ConformanceCase[] = [
  epoch("an epoch: config alone", "FROM scratch\nLABEL a=1\nENV A=1", 1_600_000_000),
  epoch("an epoch: an old file keeps its time", "FROM scratch\nCOPY a /x", 1_600_000_000),
  epoch("an epoch: a newer file takes it", "FROM scratch\nCOPY a /d/x", 900_000_000),
  epoch(
    "an epoch: RUN",
    "FROM base\nRUN echo x > /f && mkdir /d && ln -s f /l\nENV A=1\nRUN touch -d '2001-01-01 00:00:00' /old",
    1_600_000_000,
  ),
  epoch(
    "an epoch: in the environment of RUN when declared",
    "FROM base\nARG SOURCE_DATE_EPOCH\nRUN echo $SOURCE_DATE_EPOCH > /f",
    1_600_000_000,
  ),
  epoch(
    "an epoch: not in the environment of RUN otherwise",
    "FROM base\nRUN echo ${SOURCE_DATE_EPOCH-unset} > /f",
    1_600_000_000,
  ),
  epoch(
    "an epoch: stages and here-documents",
    "FROM base AS one\nRUN echo x > /f\nFROM base\nCOPY --from=one /f /g\nCOPY <<EOF /h\nbody\nEOF\nWORKDIR /w",
    1_600_000_000,
  ),
  epoch("an epoch: zero", "FROM scratch\nCOPY a /d/x\nLABEL a=1", 0),
  {
    name: "an epoch: from the environment",
    dockerfile: "FROM scratch\nCOPY a /d/x\n",
    context: { a: "a\n" },
    env: { SOURCE_DATE_EPOCH: "900000000" },
  },
  {
    name: "an epoch: as a default of a global ARG",
    dockerfile: "ARG SOURCE_DATE_EPOCH=900000000\nFROM scratch\nCOPY a /d/x\n",
    context: { a: "a\n" },
  },
];

const flagged: readonly ConformanceCase[] = [
  {
    name: "--target of a stage in the middle",
    dockerfile: "FROM base AS one\nRUN touch /1\nFROM one AS two\nRUN touch /2\nFROM two\nRUN exit 1\n",
    flags: ["--target", "two"],
  },
  {
    name: "--target by number",
    dockerfile: "FROM base\nRUN touch /1\nFROM base\nRUN exit 1\n",
    flags: ["--target", "0"],
  },
  {
    name: "--build-arg reaches RUN",
    dockerfile: "FROM base\nARG A=d\nRUN echo $A > /f\n",
    flags: ["--build-arg", "A=given"],
  },
  {
    name: "--build-arg without ARG does not reach RUN",
    dockerfile: "FROM base\nRUN echo ${A-unset} > /f\n",
    flags: ["--build-arg", "A=given"],
  },
  {
    name: "--build-arg of a proxy reaches RUN without ARG",
    dockerfile: "FROM base\nRUN echo $http_proxy-$HTTPS_PROXY > /f\n",
    flags: ["--build-arg", "http_proxy=p", "--build-arg", "HTTPS_PROXY=q"],
  },
  {
    name: "--build-arg of a proxy that is declared",
    dockerfile: "FROM base\nARG http_proxy\nRUN echo $http_proxy > /f\n",
    flags: ["--build-arg", "http_proxy=p"],
  },
  {
    name: "--build-arg chooses a stage for COPY",
    dockerfile:
      "ARG WHICH=one\nFROM base AS one\nRUN echo 1 > /f\nFROM base AS two\nRUN echo 2 > /f\nFROM ${WHICH} AS chosen\nFROM base\nCOPY --from=chosen /f /g\n",
    flags: ["--build-arg", "WHICH=two"],
  },
  {
    name: "--build-arg of a platform argument",
    dockerfile: "FROM base\nARG TARGETARCH\nRUN echo $TARGETARCH > /f\n",
    flags: ["--build-arg", "TARGETARCH=mine"],
  },
  {
    name: "--label on a base with labels",
    dockerfile: "FROM base AS one\nLABEL a=1\nFROM one\nLABEL b=2\n",
    flags: ["--label", "b=3", "--label", "c=4"],
  },
  {
    name: "--add-host",
    dockerfile: "FROM base\nRUN grep some.host /etc/hosts | tr '\\t' ' ' > /f\n",
    flags: ["--add-host", "some.host:10.1.2.3"],
  },
  {
    name: "--shm-size",
    dockerfile: "FROM base\nRUN grep ' /dev/shm ' /proc/mounts | tr ',' '\\n' | grep size > /f\n",
    flags: ["--shm-size", "16m"],
  },
];

const withBase = (text: string): string => text.replace(/(FROM (--\S+ )?|from=)base\b/g, `$1${baseImage}`);

export const scopes: readonly ConformanceCase[] = [
  ...Object.entries(files).map(([name, dockerfile]) => ({ name, dockerfile })),
  ...epochs,
  ...flagged,
].map((item) => ({ ...item, dockerfile: withBase(item.dockerfile) }));
