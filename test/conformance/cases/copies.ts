/** What the flags of COPY and ADD do in combination: excludes, modes, owners, links; and wildcards that match nothing. */
import { baseImage, type ConformanceCase, type ContextEntry } from "../lib/case.js";

const context: Readonly<Record<string, ContextEntry>> = {
  a: "a\n",
  "b.txt": "b\n",
  suid: { content: "x\n", mode: 0o6755 },
  secret: { content: "s\n", mode: 0o600 },
  "dir/one": "1\n",
  "dir/two.txt": "2\n",
  "dir/.hidden": "h\n",
  "dir/sub/three": "3\n",
  "dir/sub/deep/four.txt": "4\n",
  "dir/empty": { directory: true, mode: 0o2775 },
  closed: { directory: true, mode: 0o700 },
  "closed/in": "in\n",
  "other/one": "another\n",
  "link-to-dir": { symlink: "dir" },
  "link-to-sub": { symlink: "/dir/sub" },
};

const scratch = (body: string) => `FROM scratch\n${body}\n`;
const onBase = (body: string) => `FROM ${baseImage}\n${body}\n`;
const fromStage = (flags: string, words: string) =>
  `FROM scratch AS made\nCOPY . /c/\nFROM scratch\nCOPY --from=made ${flags} ${words} /x/\n`;

const excludes: Readonly<Record<string, string>> = {
  "a file that is named": "--exclude=a",
  "a file that a pattern would match": "--exclude=*.txt",
  everything: "--exclude=**",
  "an exception brings back a file": "--exclude=** --exclude=!**/three",
  "an exception below a directory": "--exclude=sub --exclude=!sub/three",
  "an exception of a deep file": "--exclude=**/* --exclude=!sub/deep/four.txt",
  "an exception of a directory": "--exclude=* --exclude=!empty",
  "an exception that comes too early": "--exclude=!one --exclude=one",
  "what is below": "--exclude=sub/**",
  "hidden files": "--exclude=.*",
  "a path with the source's name": "--exclude=dir/one",
  "a pattern that climbs": "--exclude=../one --exclude=sub/../two.txt",
};

const excluding: readonly ConformanceCase[] = Object.entries(excludes).flatMap(([name, flags]) => [
  { name: `exclude: ${name}`, dockerfile: scratch(`COPY ${flags} dir a b.txt /x/`), context },
  { name: `exclude from a stage: ${name}`, dockerfile: fromStage(flags, "/c/dir /c/a /c/b.txt"), context },
]);

const modes = [
  ...["7755", "04755", "1777", "7", "000644", "+w", "+t", "u+t", "o+t", "=", "=t", "=rwxst", "a=", "u=rwx,go="],
  ...["g=u", "u=g,g=o", "u=,g=u,o=u", "g=rs,o=t", "a=r,u+w", "u-x,a+X", "a=X", "go-X", "ug+s", "u=rwx+s", "a-st"],
  ...["o=", "u-x+x", "a+x,", ",a+x", "u+r-w", "755,u+x", "0o755"],
];

const onScratch: Readonly<Record<string, string>> = {
  "a mode beyond nine bits is not for parents": "COPY --chmod=7777 a /p/q/x",
  "a mode of a directory that is made": "COPY --chmod=777 dir/sub /p",
  "chown with an empty group": "COPY --chown=5: a /p/x",
  "chown with a sign": "COPY --chown=+5:-2 a /p/x",
  "chown to the number that changes nothing": "COPY --chown=-1 a /p/x",
  "chown of a number of 32 bits": "COPY --chown=4294967294 a /x",
  "root needs no passwd": "COPY --chown=root:root a /x",
  "a name without an image": "COPY --chown=app a /x",
  "a name in an image without passwd": "COPY a /\nCOPY --chown=app:staff a /x",
  "a destination that ends in dots": "COPY a /x/y/..",
  "a destination that ends in a dot": "COPY a /x/.",
  "no match in a directory": "COPY dir/nothing* /x/",
  "no match in a directory, and a file": "COPY dir/nothing* a /x/",
  "no match in a directory of which a file is taken": "COPY dir/one /y\nCOPY dir/nothing* /x/",
  "no match in a directory that is taken": "COPY . /y\nCOPY dir/nothing* /x/",
  "no match in a directory that is not there": "COPY . /y\nCOPY nodir/nothing* /x/",
  "no match where a file is no directory": "COPY . /y\nCOPY a/nothing* /x/",
  "no match below a wildcard": "COPY dir/*/nothing /x/",
  "no match through a link": "COPY . /y\nCOPY link-to-dir/nothing* /x/",
  "no match in a directory of a stage": "COPY . /c\nFROM scratch\nCOPY --from=0 /c/dir/nothing* /x/",
  "no match in a directory that a stage lacks": "COPY . /c\nFROM scratch\nCOPY --from=0 /c/nodir/nothing* /x/",
  "a wildcard through links": "COPY link-*/deep/* /x/",
  "two directories with one name in them": "COPY dir other /x/\nCOPY other dir /y/",
  "link with an exclude": "COPY --link --exclude=sub dir /x/",
};

const onImage: Readonly<Record<string, string>> = {
  "chown of a user and an empty group": "COPY --chown=app: a /p/x",
  "chown of nobody in particular": "COPY --chown=: a /p/x",
  "chown by a passwd with odd lines":
    "RUN printf '# c\\n\\n  sp:x:5:6::/:\\nbad\\nnum:x:1x:2::/:\\n77:x:88:99::/:\\ndup:x:1:1::/:\\ndup:x:2:2::/:\\n' >/etc/passwd\nCOPY --chown=sp a /1\nCOPY --chown=77 a /2\nCOPY --chown=dup a /3\nCOPY --chown=num a /4\nCOPY --chown=bad a /5",
  "chown when passwd is a link": "RUN mv /etc/passwd /p && ln -s /p /etc/passwd\nCOPY --chown=app a /x",
  "chown when passwd is gone": "RUN rm /etc/passwd /etc/group\nCOPY --chown=app:staff a /x",
  "link with chmod is no link": "COPY --link --chmod=700 dir /data/sub",
  "link with a name": "COPY --link --chown=app a /x",
  "link with numbers": "COPY --link --chown=3:4 dir /link-to-data/",
  "link over a file": "COPY --link dir /plain",
  "a user's group alone": "USER :staff\nWORKDIR /w/v",
};

export const copies: readonly ConformanceCase[] = [
  ...excluding,
  ...modes.map((mode) => ({
    name: `chmod ${mode}`,
    dockerfile: scratch(`COPY --chmod=${mode} a suid secret dir closed /p/q/`),
    context,
  })),
  ...Object.entries(onScratch).map(([name, lines]) => ({ name, dockerfile: scratch(lines), context })),
  ...Object.entries(onImage).map(([name, lines]) => ({ name, dockerfile: onBase(lines), context })),
];
