import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type EvaluationMethod, evaluateDockerfile } from "../../../src/build/evaluate.js";
import { buildRequest } from "../../../src/build/request.js";
import { buildCall } from "../../../src/build/request-call.js";
import { evaluationJson, evaluationText } from "../../../src/cli/render/evaluation.js";
import { BuildSandbox, noFlags } from "../../helpers/build-sandbox.js";

let sandbox: BuildSandbox;
beforeEach(() => {
  sandbox = new BuildSandbox();
});
afterEach(() => sandbox[Symbol.dispose]());

async function evaluate(dockerfile: string, method: EvaluationMethod, flags: Partial<typeof noFlags> = {}) {
  sandbox.write({ Dockerfile: dockerfile });
  const stdout = async () => undefined;
  const { request } = buildRequest({ ...noFlags, path: sandbox.context, ...flags }, {}, { stdout });
  return await evaluateDockerfile(sandbox.home, request, method);
}

/** What the reference (buildx 0.29) prints for it is written below. */
const sample = `# app_version the version of the app
ARG VERSION=1
ARG BASE=scratch
FROM $BASE AS base
ENV A b
MAINTAINER me
# OTHER is described
ARG OTHER=3
ARG noval
RUN --mount=type=secret,id=tok,required --mount=type=secret,id=opt --mount=type=ssh --mount=type=cache,target=/x true
# final the last one
FROM base AS final
LABEL a=$X \\
  b=2
ARG VERSION
`;

describe("--call=check", () => {
  it("shows each warning with its rule, its page and the lines around it", async () => {
    expect(evaluationText(await evaluate(sample, "check"))).toBe(`Check complete, 3 warnings have been found!

WARNING: LegacyKeyValueFormat - https://docs.docker.com/go/dockerfile/rule/legacy-key-value-format/
"ENV key=value" should be used instead of legacy "ENV key value" format
Dockerfile:5
--------------------
   3 |     ARG BASE=scratch
   4 |     FROM $BASE AS base
   5 | >>> ENV A b
   6 |     MAINTAINER me
   7 |     # OTHER is described
--------------------

WARNING: MaintainerDeprecated - https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/
Maintainer instruction is deprecated in favor of using label
Dockerfile:6
--------------------
   4 |     FROM $BASE AS base
   5 |     ENV A b
   6 | >>> MAINTAINER me
   7 |     # OTHER is described
   8 |     ARG OTHER=3
--------------------

WARNING: UndefinedVar - https://docs.docker.com/go/dockerfile/rule/undefined-var/
Usage of undefined variable '$X' (did you mean $A?)
Dockerfile:13
--------------------
  12 |     FROM base AS final
  13 | >>> LABEL a=$X \\
  14 | >>>   b=2
  15 |     ARG VERSION
--------------------
`);
  });

  it("says so when there is nothing to say", async () => {
    const evaluation = await evaluate("FROM scratch\n", "check");
    expect(evaluationText(evaluation)).toBe("Check complete, no warnings found.\n");
    expect(evaluationJson(evaluation)).toEqual({
      warnings: null,
      sources: [{ filename: "Dockerfile", data: "RlJPTSBzY3JhdGNoCg==", language: "Dockerfile" }],
    });
  });

  it("gives rule, description, page, words and place as JSON", async () => {
    const evaluation = await evaluate("FROM scratch\nEXPOSE 80/TCP\n", "check");
    expect(evaluationJson(evaluation)).toMatchObject({
      warnings: [
        {
          ruleName: "ExposeProtoCasing",
          description: "Protocol in EXPOSE instruction should be lowercase",
          url: "https://docs.docker.com/go/dockerfile/rule/expose-proto-casing/",
          detail: "Defined protocol '80/TCP' in EXPOSE instruction should be lowercase",
          location: { ranges: [{ start: { line: 2 }, end: { line: 2 } }] },
        },
      ],
    });
  });

  it("tells what it found before a word that can't be expanded, and that", async () => {
    const evaluation = await evaluate("FROM scratch\nLABEL a=${a:?x}\n", "check");
    expect(evaluationJson(evaluation)).toMatchObject({
      warnings: [{ ruleName: "UndefinedVar" }],
      buildError: { location: { ranges: [{ start: { line: 2 }, end: { line: 2 } }] } },
    });
  });

  it("leaves the last word to what keeps a build from beginning", async () => {
    const failing = await evaluate("FROM scratch\nLABEL a=${b!}\n", "check");
    expect(evaluationText(failing)).toBe("");
    const both = await evaluate("FROM scratch\nENV A b\nLABEL a=${b!}\n", "check");
    expect(evaluationText(both)).toMatch(/^Check complete, 1 warning has been found!\n.*-\n\n$/s);
  });

  it("is of all stages, or of those that the target needs", async () => {
    const text = "FROM scratch AS a\nENV A b\nFROM scratch AS b\nLABEL c=$D\nFROM a AS last\n";
    const rules = async (flags: Partial<typeof noFlags>) => {
      const result = await evaluate(text, "check", flags);
      return result.method === "check" ? result.warnings.map(({ rule }) => rule) : undefined;
    };
    expect(await rules({})).toEqual(["LegacyKeyValueFormat", "UndefinedVar"]);
    expect(await rules({ target: "b" })).toEqual(["UndefinedVar"]);
    expect(await rules({ target: "last" })).toEqual(["LegacyKeyValueFormat"]);
  });

  it("leaves rules out as the directive or the build argument asks", async () => {
    const buildArgs = ["BUILDKIT_DOCKERFILE_CHECK=skip=LegacyKeyValueFormat"];
    const text = "# check=skip=MaintainerDeprecated\nFROM scratch\nENV A b\nMAINTAINER me\n";
    const rules = async (flags: Partial<typeof noFlags>) => {
      const evaluation = await evaluate(text, "check", flags);
      return evaluation.method === "check" && evaluation.warnings.map(({ rule }) => rule);
    };
    expect(await rules({})).toEqual(["LegacyKeyValueFormat"]);
    expect(await rules({ buildArgs })).toEqual(["MaintainerDeprecated"]);
  });
});

describe("--call=outline", () => {
  it("lists the arguments, secrets and agents that the target takes", async () => {
    expect(evaluationText(await evaluate(sample, "outline"))).toBe(
      [
        "TARGET:      final",
        "DESCRIPTION: the last one",
        "",
        "BUILD ARG   VALUE     DESCRIPTION",
        "VERSION     1         ",
        "BASE        scratch   ",
        "OTHER       3         is described",
        "noval                 ",
        "",
        "SECRET   REQUIRED",
        "tok      true",
        "opt      ",
        "",
        "SSH       REQUIRED",
        "default   ",
        "",
        "",
      ].join("\n"),
    );
  });

  it("leaves out what the target does not use, and takes values from the command line", async () => {
    const text = `ARG UNUSED=1
FROM scratch AS a
ARG LOCAL=1
FROM scratch AS other
ARG HIDDEN=1
FROM scratch AS tgt
ARG TARGETOS
COPY --from=a / /
ENV V=1
ARG W=$V
`;
    const evaluation = await evaluate(text, "outline", { buildArgs: ["LOCAL=over"] });
    expect(evaluationJson(evaluation)).toMatchObject({
      name: "tgt",
      args: [
        { name: "LOCAL", value: "over" },
        { name: "W", value: "1" },
      ],
    });
  });
});

describe("--call=targets", () => {
  it("lists the stages and which of them is the default", async () => {
    const evaluation = await evaluate(sample, "targets");
    expect(evaluationText(evaluation)).toBe(
      "TARGET          DESCRIPTION\nbase            \nfinal (default) the last one\n",
    );
    expect(evaluationJson(evaluation)).toMatchObject({
      targets: [
        { name: "base", base: "$BASE", location: { ranges: [{ start: { line: 4 } }] } },
        { name: "final", default: true, description: "the last one", base: "base" },
      ],
    });
  });
});

describe("the value of --call", () => {
  it("is a method with its fields", () => {
    expect(buildCall("check,format=json,ignorestatus=true")).toEqual({
      method: "check",
      json: true,
      ignoreStatus: true,
    });
    expect([buildCall(undefined), buildCall("build")]).toEqual([undefined, undefined]);
  });

  it.each(["foo", "check,foo=bar", "outline,format=xml"])("%s is refused", (word) => {
    expect(() => buildCall(word)).toThrow(expect.objectContaining({ code: "USAGE" }));
  });
});
