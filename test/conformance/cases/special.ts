/** Files that are not just bytes: archives with odd contents, and devices, attributes and holes in contexts and in layers of RUN. */
import { baseImage, type ConformanceCase, type ContextEntry, type TarEntry } from "../lib/case.js";

const scratch = (body: string) => `FROM scratch\n${body}\n`;
const onBase = (body: string) => `FROM ${baseImage}\n${body}\n`;

const owned = { uid: 11, gid: 22 };
const archives: Readonly<Record<string, Readonly<Record<string, TarEntry>>>> = {
  "absolute names": { "/a/f": { content: "f", ...owned } },
  "the root itself": { "./": { type: "directory", mode: 0o711, uid: 7 }, "./a": { content: "a" } },
  "a name that climbs": { ok: { content: "1" }, "../out": { content: "2" } },
  "a name that climbs in the middle": { "a/../../out": { content: "2" } },
  "a name that comes back": { "a/../b": { content: "b" } },
  "a link out, and a file in it": { l: { type: "symlink", linkname: "../../etc" }, "l/f": { content: "x" } },
  "an absolute link, and a file in it": { l: { type: "symlink", linkname: "/etc" }, "l/f": { content: "x" } },
  "a link to a directory, and a file in it": {
    real: { type: "directory", mode: 0o700 },
    l: { type: "symlink", linkname: "real" },
    "l/f": { content: "x" },
  },
  "a hard link with a mode and an owner of its own": {
    a: { content: "a", mode: 0o600, ...owned },
    b: { type: "link", linkname: "a", mode: 0o755, uid: 9, gid: 9 },
  },
  "a hard link to a link": {
    a: { content: "a" },
    s: { type: "symlink", linkname: "a" },
    h: { type: "link", linkname: "s" },
  },
  "a hard link to what comes later": { b: { type: "link", linkname: "a" }, a: { content: "a" } },
  "a hard link to nothing": { b: { type: "link", linkname: "nothing" } },
  "a hard link that climbs": { a: { content: "a" }, b: { type: "link", linkname: "../a" } },
  "a hard link to an absolute name": { a: { content: "a" }, b: { type: "link", linkname: "/a" } },
  "a device and a fifo": {
    c: { type: "character-device", device: [1, 3], mode: 0o666, ...owned },
    p: { type: "fifo", mode: 0o622 },
  },
  "one file after another of its name": {
    "a/": { type: "directory" },
    a: { content: "1", mode: 0o600 },
    "./a": { content: "22" },
  },
  "a directory's mode after its content": {
    "d/x": { content: "x" },
    d: { type: "directory", mode: 0o700, uid: 5, gid: 6 },
  },
  "times before 1970": { old: { content: "", mtime: -5 }, zero: { content: "", mtime: 0 } },
  "odd modes": {
    su: { content: "x", mode: 0o6755 },
    st: { type: "directory", mode: 0o1777 },
    none: { content: "", mode: 0 },
    closed: { type: "directory", mode: 0 },
    "closed/f": { content: "f" },
    l: { type: "symlink", linkname: "x", mode: 0o600 },
  },
  "large owners": { a: { content: "", uid: 100_000, gid: 2_097_152 } },
  "names that look like whiteouts": { "d/.wh.gone": { content: "" }, "d/.wh..wh..opq": { content: "" } },
  "nothing in it": {},
};

const overImage: Readonly<Record<string, Readonly<Record<string, TarEntry>>>> = {
  "a file over a directory": { data: { content: "file" } },
  "a directory over a file": { plain: { type: "directory" }, "plain/x": { content: "x" } },
  "a link over a directory": { data: { type: "symlink", linkname: "etc" } },
  "a directory over a link": { "link-to-data": { type: "directory", mode: 0o711 } },
  "a file in a dangling link": { "dangling/x": { content: "x" } },
  "a file in a file": { "plain/x": { content: "x" } },
  "a hard link to a file of the image": { twin: { type: "link", linkname: "plain", mode: 0o600 } },
};

const archive = (name: string, dockerfile: string, tar: Readonly<Record<string, TarEntry>>): ConformanceCase => ({
  name,
  dockerfile,
  context: { "x.tar": { tar } },
});

const capability = "0100000200200000000000000000000000000000";
const context: Readonly<Record<string, ContextEntry>> = {
  fifo: { fifo: true, mode: 0o640 },
  device: { device: [1, 3], mode: 0o666 },
  sparse: { hole: 3_000_000 },
  "attributes/able": { content: "able\n", mode: 0o755, xattrs: { "security.capability": capability } },
  "attributes/noted": { content: "noted\n", mode: 0o4755, xattrs: { "user.note": "00ff01" } },
};
const ability = {
  able: {
    content: "able\n",
    mode: 0o755,
    xattrs: { "security.capability": Buffer.from(capability, "hex").toString("latin1") },
  },
};

const bodies: Readonly<Record<string, string>> = {
  "devices of the context": scratch("COPY fifo device /x/"),
  "all that is special": scratch("COPY . /x"),
  "special files with owner and mode": scratch("COPY --chown=3:4 --chmod=711 fifo device /x/"),
  "a hole of the context": scratch("COPY sparse /x/"),
  "attributes of the context are dropped": scratch("COPY attributes /x"),
  "special files of a stage": scratch("COPY . /x\nFROM scratch\nCOPY --from=0 /x /y"),
  "special files in RUN": onBase(
    "RUN mkfifo -m 600 /p && mknod -m 606 /c c 1 3 && chown 3:4 /p\nRUN mv /p /q && chmod 777 /c && rm -f /plain",
  ),
  "a hole in RUN": onBase("COPY sparse /s\nRUN cp /s /t && printf x >> /s"),
};

const capabilities: Readonly<Record<string, string>> = {
  "a capability is kept": "ADD x.tar /x/",
  "a capability goes along in a rename": "ADD x.tar /x/\nRUN mv /x/able /moved",
  "a capability and a change of mode": "ADD x.tar /x/\nRUN chmod 700 /x/able",
  "a capability and a change of owner": "ADD x.tar /x/\nRUN chown 5 /x/able",
  "a capability and a write": "ADD x.tar /x/\nRUN echo more >> /x/able",
  "a capability and a new time": "ADD x.tar /x/\nRUN touch /x/able",
  "a capability and a second name": "ADD x.tar /x/\nRUN ln /x/able /twin",
};

export const special: readonly ConformanceCase[] = [
  ...Object.entries(archives).map(([name, tar]) => archive(`ADD of ${name}`, scratch("ADD x.tar /d/"), tar)),
  ...Object.entries(overImage).map(([name, tar]) => archive(`ADD of ${name}`, onBase("ADD x.tar /"), tar)),
  archive("ADD of the root itself with an owner", scratch("ADD --chown=3:4 x.tar /d/"), archives["the root itself"]!),
  archive("ADD of hard links with an owner", scratch("ADD --chown=3:4 x.tar /d"), archives["a hard link to a link"]!),
  ...Object.entries(bodies).map(([name, dockerfile]) => ({ name, dockerfile, context })),
  ...Object.entries(capabilities).map(([name, lines]) => archive(name, onBase(lines), ability)),
];
