import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { parseDockerfile } from "../../../src/dockerfile/parser.js";
import { renderTemplate, templateReferences } from "../../../src/dockerfile/template.js";

const example = path.resolve(import.meta.dirname, "../../../Aegisfile.example");
const aegis = (line: string) => () => parseDockerfile(`FROM scratch\n${line}\n`, { dialect: "aegisfile" });

describe("an Aegisfile", () => {
  test("has every instruction in its example, and the example is right", () => {
    const kinds = parseDockerfile(readFileSync(example), { dialect: "aegisfile" }).stages[0]!.instructions.map(
      ({ kind }) => kind,
    );
    for (const kind of ["MEMORY", "CPUS", "DISK", "SECRET", "IDLE", "RESTART", "RENDER", "WORKSPACE", "ERRORLOG"]) {
      expect(kinds).toContain(kind);
    }
  });

  test.each([
    ["MEMORY lots", "DOCKERFILE_SYNTAX", 'MEMORY: "lots" is not a size'],
    ["CPUS 1.5", "DOCKERFILE_SYNTAX", "CPUS 1.5 is not a number of virtual CPUs"],
    ["SECRET A requird", "DOCKERFILE_SYNTAX", 'SECRET has no place for "requird"'],
    ["RESTART alway", "DOCKERFILE_SYNTAX", "RESTART alway is not a restart policy"],
    ["WORKSPACE work", "DOCKERFILE_SYNTAX", 'WORKSPACE needs an absolute path, not "work"'],
    [
      "RENDER --tmpfs /x <<E\na\nE",
      "DOCKERFILE_SYNTAX",
      "--tmpfs takes the file's directory, and this one has none but the root",
    ],
    ["RENDER /x", "DOCKERFILE_SYNTAX", "RENDER needs a here-document with the file's content"],
    ['RENDER /x <<E\n{{ secrte "A" }}\nE', "DOCKERFILE_SYNTAX", "a template has no function secrte"],
  ])("refuses %j", (line, code, message) => {
    expect(aegis(line)).toThrow(expect.objectContaining({ code, message: expect.stringContaining(message) }));
  });
});

describe("a template", () => {
  const scope = {
    secret: (name: string) => ({ KEY: 'a"b' })[name],
    env: (name: string) => ({ PORT: "80", EMPTY: "" })[name],
  };

  test("puts values in, filtered, and chooses by what is set", () => {
    const text =
      'k={{ secret "KEY" | json }} p={{ env "NO" | default "1" }}{{ if env "EMPTY" }}x{{ else if env "PORT" }}y{{ end }}';
    expect(renderTemplate(text, scope)).toBe('k="a\\"b" p=1y');
    expect(templateReferences(text)).toEqual({ secrets: ["KEY"], env: ["NO", "EMPTY", "PORT"] });
  });

  test("names what is not set", () => {
    expect(() => renderTemplate('{{ secret "MISSING" }}', scope)).toThrow(
      expect.objectContaining({ code: "RENDER_UNSET", hint: "set it with aegis secret set MISSING" }),
    );
  });
});
