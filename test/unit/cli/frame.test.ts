import { Writable } from "node:stream";
import { expect, test } from "vitest";
import { execute } from "../../../src/cli/main.js";

async function aegis(...argv: string[]) {
  const sink = () => {
    const chunks: string[] = [];
    const stream = new Writable({
      write(chunk, _encoding, done) {
        chunks.push(String(chunk));
        done();
      },
    }) as unknown as NodeJS.WriteStream;
    return { stream, text: () => chunks.join("") };
  };
  const [stdout, stderr] = [sink(), sink()];
  const code = await execute(argv, { stdin: process.stdin, stdout: stdout.stream, stderr: stderr.stream });
  return { code, stdout: stdout.text(), stderr: stderr.text() };
}

test("without arguments, and for help, the overview goes to standard output by category", async () => {
  for (const argv of [[], ["help"], ["--help"], ["-h"]]) {
    const result = await aegis(...argv);
    expect(result).toMatchObject({ code: 0, stderr: "" });
    expect(result.stdout).toMatch(/^usage: aegis COMMAND/);
    expect(result.stdout).toMatch(/System:\n(.*\n)*? {2}version +Print the version/);
  }
});

test("a command's help lists its options with what they mean", async () => {
  for (const argv of [
    ["version", "--help"],
    ["help", "version"],
  ]) {
    const { code, stdout } = await aegis(...argv);
    expect(code).toBe(0);
    expect(stdout).toMatch(/usage: aegis version \[OPTIONS\]/);
    expect(stdout).toMatch(/--format VALUE +text \(default\) or json/);
  }
});

test("a mistyped command is a usage error that names the nearest one", async () => {
  const { code, stderr, stdout } = await aegis("verzion");
  expect({ code, stdout }).toEqual({ code: 125, stdout: "" });
  expect(stderr).toContain('"verzion" is not a command of aegis [AEGIS_E_USAGE]');
  expect(stderr).toContain('did you mean "aegis version"?');
});

test("an unknown option, an argument too many and an unknown format are usage errors", async () => {
  expect(await aegis("version", "--colour")).toMatchObject({ code: 125 });
  expect((await aegis("version", "--colour")).stderr).toContain("unknown option --colour [AEGIS_E_USAGE]");
  expect((await aegis("version", "x")).stderr).toContain("takes no arguments");
  expect((await aegis("version", "--format", "xml")).stderr).toContain('--format is text or json, not "xml"');
});

test("with --format json the error is one JSON object on standard error", async () => {
  const { stderr, code } = await aegis("version", "--format", "json", "--colour");
  expect(code).toBe(125);
  expect(JSON.parse(stderr)).toMatchObject({
    error: { code: "AEGIS_E_USAGE", message: "unknown option --colour", hint: expect.any(String) },
  });
});

test("--version and -v print the version", async () => {
  expect((await aegis("--version")).stdout).toMatch(/^aegis \d/);
  expect(JSON.parse((await aegis("-v", "--format=json")).stdout)).toEqual({ version: expect.any(String) });
});
