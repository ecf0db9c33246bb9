import { describe, expect, test } from "vitest";
import { checkPositionals, normaliseArgv } from "../../../src/cli/argv.js";
import type { CommandShape, DeclaredOption } from "../../../src/cli/shape.js";

const option = (names: string, takesValue: boolean): DeclaredOption => ({
  names: names.split(","),
  takesValue,
  description: undefined,
  hidden: false,
  many: false,
});
const run: CommandShape = {
  options: [
    option("-p,--publish", true),
    option("-e,--env", true),
    option("-i,--interactive", false),
    option("-t,--tty", false),
    option("-d,--detach", false),
    option("--pull", true),
    option("--rm", false),
    option("-h,--hostname", true),
  ],
  required: [],
  optional: [],
  rest: "command",
  passThrough: true,
};
const stop: CommandShape = { ...run, required: ["names"], rest: "names", passThrough: false };
const normalise = (line: string, shape = run) => {
  const { options, ...rest } = normaliseArgv(line.split(" "), shape, "run");
  return { ...rest, options: options.map(({ name, value }) => (value === true ? name : `${name}=${value}`)) };
};

describe("what people type is brought into one form", () => {
  test.each([
    ["-p8080:80 image", ["--publish=8080:80"], ["image"]],
    ["-p 8080:80 image", ["--publish=8080:80"], ["image"]],
    ["-p=8080:80 image", ["--publish=8080:80"], ["image"]],
    ["-eX=1 image", ["--env=X=1"], ["image"]],
    ["-e -1 image", ["--env=-1"], ["image"]],
    ["--env --flag image", ["--env=--flag"], ["image"]],
    ["-it image", ["--interactive", "--tty"], ["image"]],
    ["-itp 80 image", ["--interactive", "--tty", "--publish=80"], ["image"]],
    ["-dp80 image", ["--detach", "--publish=80"], ["image"]],
    ["-d=false image", ["--detach=false"], ["image"]],
    ["--rm=true image", ["--rm"], ["image"]],
    ["--rm=false image", ["--rm=false"], ["image"]],
    ["--no-rm image", ["--rm=false"], ["image"]],
    ["--pull=false image", ["--pull=false"], ["image"]],
    ["-h box image", ["--hostname=box"], ["image"]],
    ["--env= image", ["--env="], ["image"]],
    ["-- image -p 80", [], ["image", "-p", "80"]],
    ["--rm - cat", ["--rm"], ["-", "cat"]],
  ])("%s", (line, options, positionals) => {
    expect(normalise(line)).toEqual({ options, positionals, help: false });
  });

  test("everything from the image on is the program's", () => {
    const { options, positionals } = normalise("--rm image sh -c exit --rm -p 80 -- -x");
    expect(options).toEqual(["--rm"]);
    expect(positionals).toEqual(["image", "sh", "-c", "exit", "--rm", "-p", "80", "--", "-x"]);
  });

  test("options may follow the positionals of an ordinary command", () => {
    expect(normalise("web -d db --rm", stop)).toEqual({
      options: ["--detach", "--rm"],
      positionals: ["web", "db"],
      help: false,
    });
  });

  test("-h asks for help only where it is nothing else", () => {
    expect(normalise("--help").help).toBe(true);
    expect(normaliseArgv(["-h"], { ...run, options: [] }, "ps").help).toBe(true);
  });
});

describe("mistakes are told with what was meant", () => {
  test.each([
    ["--publsh 80", /unknown option --publsh/, /did you mean --publish\?/],
    ["-itz image", /unknown option -z in -itz/, /run --help/],
    ["-p", /-p needs a value/, /run --help/],
    ["--rm=perhaps image", /--rm is a switch/, /run --help/],
    ["--no-publish image", /unknown option --no-publish/, /run --help/],
  ])("%s", (line, message, hint) => {
    expect(() => normalise(line)).toThrow(expect.objectContaining({ code: "USAGE", exitCode: 125 }));
    expect(() => normalise(line)).toThrow(message);
    expect(() => normalise(line)).toThrow(expect.objectContaining({ hint: expect.stringMatching(hint) }));
  });

  test("too few and too many positionals", () => {
    expect(() => checkPositionals([], stop, "stop")).toThrow('"aegis stop" needs NAMES');
    expect(() => checkPositionals(["a", "b"], { ...stop, rest: undefined }, "port")).toThrow('"b" is one too many');
  });
});
