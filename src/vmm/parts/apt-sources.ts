/** Reads apt's source lists (sources.list(5)): which mirror of Debian this machine uses. */

interface Source {
  readonly uri: string;
  readonly suite: string;
  readonly components: readonly string[];
}

const debianSuites = /^(bookworm|trixie|forky|duke|sid|stable|testing|unstable)$/;

/** URI of the first source of a whole Debian suite in `texts`, the contents of source lists of either format. */
export function findMirror(texts: readonly string[]): string | undefined {
  const debian = texts
    .flatMap((text) => [...oneLineSources(text), ...stanzaSources(text)])
    .filter((source) => debianSuites.test(source.suite) && source.components.includes("main"));
  // Other vendors' repositories are named after Debian's suites too; Debian's own is rooted at /debian on every mirror.
  const own = debian.find((source) => /\/debian\/?$|^mirror\+file:.*debian/.test(source.uri));
  return own?.uri.replace(/\/$/, "");
}

function oneLineSources(text: string): Source[] {
  return text.split("\n").flatMap((line) => {
    const match = /^\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+([^#]*)/.exec(line);
    return match ? [{ uri: match[1]!, suite: match[2]!, components: match[3]!.trim().split(/\s+/) }] : [];
  });
}

function stanzaSources(text: string): Source[] {
  return text.split(/\n\s*\n/).flatMap((stanza) => {
    const fields = new Map(
      [...stanza.matchAll(/^([A-Za-z-]+):[ \t]*(.*)$/gm)].map((match) => [
        match[1]!.toLowerCase(),
        match[2]!.trim().split(/\s+/),
      ]),
    );
    const word = (name: string) => fields.get(name) ?? [];
    if (!word("types").includes("deb") || word("enabled")[0] === "no") return [];
    return word("uris").flatMap((uri) =>
      word("suites").map((suite) => ({ uri, suite, components: word("components") })),
    );
  });
}
