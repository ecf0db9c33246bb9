/** .dockerignore: what arrives of one tree under many lists of patterns, by hand and from a seeded generator. */
import type { ConformanceCase, ContextEntry } from "../lib/case.js";

const names = [
  "a",
  "b",
  "ab",
  "abc",
  "foo.txt",
  "bar.md",
  "README.md",
  ".hidden",
  "a b",
  "x[y]",
  "q?z",
  "s*t",
  "back\\slash",
  "é.txt",
  "#hash",
  "!bang",
  "d/a",
  "d/b",
  "d/foo.txt",
  "d/.hidden",
  "d/e/a",
  "d/e/foo.txt",
  "d/e/f/a",
  "d/e/f/bar.md",
  "src/a/x.ts",
  "src/a/x.js",
  "src/b/y.ts",
  "src/b/deep/z.ts",
  "node_modules/m/index.js",
  "node_modules/m/README.md",
  "d2/a",
  "dd/d/a",
  "dd/d/foo.txt",
  "d.e/x",
  "d+e/x",
  "d(e)/x",
  "d/ x",
  "foo/foo.txt",
  "foo.txt.d/a",
  "tmp1/x",
  "tmp12/x",
  "9/8",
];

const tree: Readonly<Record<string, ContextEntry>> = {
  ...Object.fromEntries(names.map((name) => [name, "x"])),
  empty: { directory: true },
  "d/empty": { directory: true },
  link: { symlink: "d" },
};

const byHand: Readonly<Record<string, string>> = {
  nothing: "",
  "comments and blanks": "# a\n\n   \n  a  \n\t b\t\n #b\n\\#hash\n",
  "a comment must start its line": " #hash\n",
  "byte order mark and CRLF": "\ufeffa\r\nb\r\n",
  everything: "*\n",
  "everything but one": "*\n!a\n",
  "everything but one below": "*\n!d/e/a\n",
  "everything but a directory": "*\n!d\n",
  "everything but the contents of a directory": "*\n!d/*\n",
  "everything but all contents of a directory": "*\n!d/**\n",
  "everything but what a directory has by wildcard": "*\n!*/a\n",
  "everything but by double star": "*\n!**/a\n",
  "double star alone": "**\n",
  "double star with exceptions": "**\n!d/e\n",
  "a name is only at the root": "foo.txt\n",
  "a wildcard is only at the root": "*.txt\n",
  "double star finds at any depth": "**/*.txt\n",
  "double star in the middle": "d/**/a\n",
  "double star in the middle matches none": "src/**/x.ts\n",
  "double star at the end": "d/**\n",
  "double star without a slash": "d**\n",
  "double star before a name without a slash": "**a\n",
  "three stars": "***\n",
  "double star twice": "**/e/**/a\n",
  "a directory": "d\n",
  "a directory with a slash": "d/\n",
  "a leading slash": "/d\n/a\n",
  "dot slash": "./d\n./a\n",
  "dots are cleaned": "d/../a\nx/../../b\nd/./e\n",
  "doubled slashes": "d//e\n",
  "just a dot": ".\n",
  "just a slash": "/\n",
  "above the root": "../a\n",
  "the last match wins": "*.md\n!README.md\n*.md\n",
  "an exception comes back": "*.md\n!README.md\n",
  "an exception below an ignored directory": "d\n!d/e/a\n",
  "an exception for a directory below": "d\n!d/e\nd/e/f\n",
  "an exception and the directory again": "*\n!d/e\nd\n",
  "an exception before the rule": "!a\na\n",
  "an exception of everything": "*\n!*\n",
  "an exception with blanks": "*\n! a\n",
  "an exclamation mark alone": "*\n!\n",
  "an escaped exclamation mark": "\\!bang\n",
  "question marks": "?\n??\n",
  "a question mark is not a slash": "d?a\n",
  "a star is not a slash": "d*a\n",
  classes: "[ab]\n[d]/[a-b]\n",
  "a negated class": "[^a]\n",
  "a class with an exclamation mark": "[!a]\n",
  "an escaped star": "s\\*t\nq\\?z\nx\\[y\\]\n",
  "an escaped letter": "\\a\n\\d\n",
  "an escaped digit": "\\9\n",
  "a backslash at the end": "a\\\n",
  "a backslash before a slash": "d\\/a\n",
  "special characters of expressions": "d.e\nd+e\nd(e)\n",
  "a dot is a dot": "d.a\n",
  "a star within brackets": "[a*]\n",
  "a question mark within brackets": "[a?]\n",
  "a bracket not closed": "[a\n",
  "an empty class": "[]\n",
  "a reversed range": "[b-a]\n",
  "a closing bracket alone": "x[y]\na]\n",
  "a dollar and a caret": "a$\n^a\n",
  "a caret with a wildcard": "^a*\na^*\n",
  braces: "{a,b}\n",
  "names with blanks": "a b\nd/ x\n",
  unicode: "é.*\n",
  "a question mark is one character": "?.txt\n",
  "hidden files": ".*\n",
  "star takes hidden files": "*\n!.hidden\n",
  "a symlink": "link\n",
  "below a symlink": "link/a\n",
  "an empty directory": "empty\nd/empty\n",
  "Dockerfile and the file itself": "Dockerfile\n.dockerignore\n",
  "exceptions with a wildcard keep directories alive": "d\n!**/*.md\n",
  "node_modules but one file": "node_modules\n!node_modules/m/index.js\n",
  "extensions in a directory": "src/**\n!src/**/*.ts\n",
  "a pattern longer than the path": "a/b/c/d/e\n",
};

/** Small, fast and the same everywhere (mulberry32). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function generated(count: number): readonly ConformanceCase[] {
  const next = random(20_261_122);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)]!;
  const pieces = [
    "*",
    "**",
    "a",
    "b",
    "d",
    "e",
    "f",
    "src",
    "foo",
    "foo.txt",
    "*.txt",
    "*.ts",
    "?",
    "[ab]",
    "[^d]",
    "d*",
    "*e",
    "d2",
    "dd",
    "**a",
    ".*",
    "x.*",
    "deep",
  ];
  return Array.from({ length: count }, (_, index) => {
    const lines = Array.from({ length: 1 + Math.floor(next() * 5) }, () => {
      const depth = 1 + Math.floor(next() * 3);
      const pattern = Array.from({ length: depth }, () => pick(pieces)).join("/");
      return (next() < 0.4 ? "!" : "") + (next() < 0.1 ? "/" : "") + pattern + (next() < 0.1 ? "/" : "");
    });
    return ignoreCase(`generated ${index}: ${lines.join(" ; ")}`, `${lines.join("\n")}\n`);
  });
}

const ignoreCase = (name: string, patterns: string): ConformanceCase => ({
  name,
  dockerfile: "FROM scratch\nCOPY . /\n",
  context: { ...tree, ".dockerignore": patterns },
});

/** The paths that patterns are matched against, directories first. */
export const ignoreTree: readonly string[] = (() => {
  const paths = new Set<string>([".dockerignore", "Dockerfile"]);
  for (const name of Object.keys(tree)) {
    const parts = name.split("/");
    for (let end = 1; end <= parts.length; end++) paths.add(parts.slice(0, end).join("/"));
  }
  return [...paths].sort((a, b) => a.split("/").length - b.split("/").length);
})();

export const ignore: readonly ConformanceCase[] = [
  ...Object.entries(byHand).map(([name, patterns]) => ignoreCase(name, patterns)),
  ...generated(250),
];

/** Wildcards of COPY in the same tree. */
const wildcards = [
  "*",
  "a*",
  "*b",
  "?",
  "??",
  "[ab]",
  "[a-b]*",
  "[^a]",
  "*.txt",
  "*.*",
  "d/*",
  "d/?",
  "*/a",
  "*/*/a",
  "d/e/*",
  "src/*/*.ts",
  "s\\*t",
  "x\\[y]",
  "x[[]y]",
  "q\\?z",
  "*\\*",
  "a[",
  "[]a]",
  "[-a]",
  "[a-]",
  "[b-a]",
  "[!a]",
  "**",
  "**/a",
  "d/**",
  "d**",
  ".*",
  "?hidden",
  "*é*",
  "é.tx?",
  "[é]*",
  "nothing*",
  "*/nothing",
  "d/[ae]",
  "link/*",
  "l*/a",
  "foo*/a",
  "[\\]]",
  "\\a",
  "a\\",
  "*/",
  "./a*",
  "/a*",
  "../a*",
  "d/../a*",
  "[ab",
  "back\\\\slash",
];

export const wildcard: readonly ConformanceCase[] = wildcards.map((pattern) => ({
  name: `COPY ${pattern}`,
  dockerfile: `FROM scratch\nCOPY [${JSON.stringify(pattern.replaceAll("\\", "\\\\"))}, "/to/"]\n`,
  context: tree,
}));
