/** `build --check`: warnings by rule, message and line. */
import type { ConformanceCase } from "../lib/case.js";

const base = "FROM conformance-base:1";

const files: Readonly<Record<string, string>> = {
  StageNameCasing: "FROM scratch AS Foo\nLABEL a=1\n",
  FromAsCasing: "FROM scratch as foo\nLABEL a=1\n",
  "FromAsCasing the other way": "from scratch AS foo\nlabel a=1\n",
  "FromAsCasing both lower": "from scratch as foo\nlabel a=1\n",
  "FromAsCasing mixed": "From scratch As foo\nLABEL a=1\n",
  NoEmptyContinuation: "FROM scratch\nLABEL a=1 \\\n\n  b=2\nLABEL c=3\n",
  ConsistentInstructionCasing: "FROM scratch\nLABEL a=1\nlabel b=2\n",
  "ConsistentInstructionCasing to lower": "from scratch\nlabel a=1\nLABEL b=2\n",
  "ConsistentInstructionCasing mixed": "From scratch\nLabel a=1\nLABEL b=2\n",
  "ConsistentInstructionCasing even": "FROM scratch\nlabel a=1\n",
  "ConsistentInstructionCasing of global ARG": "arg A=1\nFROM scratch\nLABEL a=1\n",
  "ConsistentInstructionCasing in two stages": "FROM scratch AS a\nlabel a=1\nFROM scratch\nlabel b=1\nLABEL c=1\n",
  "ConsistentInstructionCasing of ONBUILD's trigger": "FROM scratch\nLABEL a=1\nONBUILD label b=2\n",
  DuplicateStageName: "FROM scratch AS a\nLABEL a=1\nFROM scratch AS a\nLABEL a=1\n",
  "DuplicateStageName three times":
    "FROM scratch AS a\nLABEL a=1\nFROM scratch AS A\nLABEL a=1\nFROM scratch AS a\nLABEL b=1\n",
  ReservedStageName: "FROM scratch AS scratch\nLABEL a=1\nFROM scratch AS context\nLABEL a=1\n",
  JSONArgsRecommended: "FROM scratch\nENTRYPOINT a b\nCMD c\n",
  "JSONArgsRecommended not with SHELL": 'FROM scratch\nSHELL ["/x"]\nENTRYPOINT a b\nCMD c\n',
  "JSONArgsRecommended not with an inherited SHELL": 'FROM scratch AS a\nSHELL ["/x"]\nFROM a\nCMD c\n',
  "JSONArgsRecommended of HEALTHCHECK": "FROM scratch\nHEALTHCHECK CMD c\n",
  MaintainerDeprecated: "FROM scratch\nMAINTAINER me\n",
  UndefinedArgInFrom: "ARG FOO=scratch\nFROM $FO\nLABEL a=1\n",
  "UndefinedArgInFrom with a default": "FROM ${X:-scratch}\nLABEL a=1\n",
  "UndefinedArgInFrom in platform": "FROM --platform=$BUILDPLATFROM scratch\nLABEL a=1\n",
  "UndefinedArgInFrom twice": "FROM ${X}${Y}scratch\nLABEL a=1\n",
  UndefinedVar: "FROM scratch\nLABEL a=$FOO\n",
  "UndefinedVar near another": "FROM scratch\nARG VERSION=1\nLABEL a=$VERSIO b=$version\n",
  "UndefinedVar near PATH": "FROM scratch\nENV PATH=$PAHT:/x\n",
  "UndefinedVar with a default is none": "FROM scratch\nLABEL a=${FOO:-x} b=${BAR-} c=${BAZ+y} d=${Q:+z}\n",
  "UndefinedVar with a modifier": "FROM scratch\nLABEL a=${FOO#x} b=${BAR%y} c=${BAZ/x/y}\n",
  "UndefinedVar of a declared ARG without value": "FROM scratch\nARG FOO\nLABEL a=$FOO\n",
  "UndefinedVar of a global ARG": "ARG FOO=1\nFROM scratch\nLABEL a=$FOO\n",
  "UndefinedVar in its own ENV": "FROM scratch\nENV A=$A\n",
  "UndefinedVar in ENV of the same line": "FROM scratch\nENV A=1 B=$A\n",
  "UndefinedVar of a base's environment": `${base}\nLABEL a=$PATH b=$HOME\n`,
  "UndefinedVar inherited": "FROM scratch AS a\nARG X=1\nENV Y=2\nFROM a\nLABEL a=$X$Y$Z\n",
  "UndefinedVar in COPY, WORKDIR, USER": "FROM scratch\nCOPY $A /$B/\nWORKDIR /$C\nUSER $D\n",
  "UndefinedVar in EXPOSE": "FROM scratch\nEXPOSE 80$P\n",
  "UndefinedVar in VOLUME and STOPSIGNAL": "FROM scratch\nVOLUME /$V\nSTOPSIGNAL SIGTERM$S\n",
  "UndefinedVar in a here-document": "FROM scratch\nCOPY <<EOF /f\n$A\n${B:-c}\nEOF\n",
  "UndefinedVar in a mount": `${base}\nRUN --mount=type=cache,target=/$A true\n`,
  "UndefinedVar in ARG": "FROM scratch\nARG A=$B\nLABEL a=$A\n",
  "UndefinedVar in RUN is the shell's": `${base}\nRUN echo $FOO\n`,
  "UndefinedVar of platform ARGs": "FROM scratch\nLABEL a=$TARGETOS\n",
  "UndefinedVar of proxies": "FROM scratch\nLABEL a=$HTTP_PROXY\n",
  "UndefinedVar of a special parameter": "FROM scratch\nLABEL a=$@ b=$1\n",
  "UndefinedVar twice in one line": "FROM scratch\nLABEL a=$X b=$X c=$Y\n",
  WorkdirRelativePath: "FROM scratch\nWORKDIR a\nWORKDIR b\n",
  "WorkdirRelativePath after an absolute one": "FROM scratch\nWORKDIR /x\nWORKDIR a\n",
  "WorkdirRelativePath of a variable": "FROM scratch\nENV A=/x\nWORKDIR $A\nWORKDIR y\n",
  "WorkdirRelativePath from a base": `${base}\nWORKDIR a\n`,
  "WorkdirRelativePath inherited": "FROM scratch AS a\nWORKDIR /x\nFROM a\nWORKDIR b\n",
  MultipleInstructionsDisallowed:
    'FROM scratch\nCMD ["a"]\nCMD ["b"]\nENTRYPOINT ["a"]\nENTRYPOINT ["b"]\nHEALTHCHECK NONE\nHEALTHCHECK NONE\n',
  "MultipleInstructionsDisallowed three times": 'FROM scratch\nCMD ["a"]\nCMD ["b"]\nCMD ["c"]\n',
  "MultipleInstructionsDisallowed in two stages": 'FROM scratch AS a\nCMD ["a"]\nFROM a\nCMD ["b"]\n',
  InvalidDefaultArgInFrom: "ARG TAG\nFROM busybox:$TAG\nLABEL a=1\n",
  "InvalidDefaultArgInFrom of an empty name": "ARG BASE\nFROM $BASE\nLABEL a=1\n",
  "InvalidDefaultArgInFrom with a default": "ARG TAG=1\nFROM conformance-base:$TAG\nLABEL a=1\n",
  "InvalidDefaultArgInFrom where a tag is optional": "ARG VARIANT\nFROM conformance-base:1$VARIANT\nLABEL a=1\n",
  FromPlatformFlagConstDisallowed: "FROM --platform=linux/amd64 scratch\nLABEL a=1\n",
  "FromPlatformFlagConstDisallowed of a named stage":
    "FROM --platform=linux/amd64 scratch AS build_amd64\nLABEL a=1\nFROM --platform=linux/arm64 scratch AS build-arm64\nLABEL b=1\nFROM build_amd64\n",
  RedundantTargetPlatform: "FROM --platform=$TARGETPLATFORM scratch\nLABEL a=1\n",
  "RedundantTargetPlatform in braces": "FROM --platform=${TARGETPLATFORM} scratch\nLABEL a=1\n",
  LegacyKeyValueFormat: "FROM scratch\nENV A b\nLABEL C d e\n",
  SecretsUsedInArgOrEnv:
    "FROM scratch\nARG AWS_SECRET_ACCESS_KEY\nENV API_KEY=x TOKEN=y\nENV PASSWORD=1\nARG GIT_AUTH=1\nENV MY_CREDENTIALS=a\n",
  "SecretsUsedInArgOrEnv that are none":
    "FROM scratch\nENV PUBLIC_KEY=x KEYBOARD=1 MONKEY=2 TOKENIZER=3 KEY=4 PASS=5 passwd=6 SSH_PUBLIC_TOKEN=7 AUTHOR=8 APIKEY=9 authToken=10 X_PWD=11\n",
  "SecretsUsedInArgOrEnv before FROM": "ARG MY_SECRET\nFROM scratch\nLABEL a=1\n",
  ExposeProtoCasing: "FROM scratch\nEXPOSE 80/TCP 81/udp 82/Tcp\n",
  ExposeInvalidFormat: "FROM scratch\nEXPOSE 127.0.0.1:80:80 8080:80\n",
  CopyIgnoredFile: "FROM scratch\nCOPY ignored /\nADD ignored /x\nCOPY kept /\n",
  InvalidDefinitionDescription:
    "# bar the value\nARG foo=1\nFROM scratch AS base\n# other thing\nARG b=1\n# b is right\nARG b=2\n# wrong\nFROM scratch AS x\nLABEL a=1\n",
  "InvalidDefinitionDescription behind an empty line": "# bar the value\n\nARG foo=1\nFROM scratch\nLABEL a=1\n",
  "check=skip of one": "# check=skip=LegacyKeyValueFormat\nFROM scratch\nENV A b\nMAINTAINER x\n",
  "check=skip of several":
    "# check=skip=LegacyKeyValueFormat, MaintainerDeprecated ;error=false\nFROM scratch\nENV A b\nMAINTAINER x\n",
  "check=skip of all": "# check=skip=all\nFROM scratch\nENV A b\nMAINTAINER x\n",
  "check=experimental": "# check=experimental=all\n# bar the value\nARG foo=1\nFROM scratch AS base\nLABEL a=1\n",
  "experimental CopyIgnoredFile":
    "# check=experimental=CopyIgnoredFile\nFROM scratch\nCOPY ignored /\nADD ignored /x\nCOPY kept /\nCOPY ./ignored kept /y/\nCOPY dir/ignored2 /\nCOPY ignored* /\n# x\nARG a\n",
  "experimental CopyIgnoredFile from a stage":
    "# check=experimental=CopyIgnoredFile\nFROM scratch AS a\nLABEL a=1\nFROM scratch\nCOPY --from=a ignored /\n",
  "experimental InvalidDefinitionDescription":
    "# check=experimental=InvalidDefinitionDescription\n# bar the value\nARG foo=1\nFROM scratch AS base\n# other thing\nARG b=1\n# b is right\nARG b=2\n# wrong\nFROM scratch AS x\nLABEL a=1\n# wrong\n# b is right\nARG b=3\n# wrong\n\nARG c\n# wrong\n#\nARG c\n#c\nARG c\n# c d\nARG d c\n# no\nFROM scratch\nLABEL a=1\n",
  "experimental of another": "# check=experimental=Foo\n# bar the value\nARG foo=1\nFROM scratch AS base\nLABEL a=1\n",
  "the same words in an ARG of two values": "FROM scratch\nARG A=$X B=$X$Y$X\nENV Q=$X R=$Y\nLABEL $X=1 a$Y=2\n",
  "the nearest of several":
    "FROM scratch\nENV FOOBAR=1 FOOBAZ=2 FOBA=3\nLABEL a=$FOOBA b=$FOBAR c=$fooba d=$XYZ e=$OOBAZ\n",
  "the nearest ARG in FROM":
    "ARG FOOBAR=1\nARG FOOBAZ=2\nFROM ${FOOBA:-scratch}\nLABEL a=1\nFROM --platform=${TARGETPLATFOR:-linux/amd64} scratch\nLABEL a=1\n",
  "SecretsUsedInArgOrEnv by word":
    "FROM scratch\nENV key_a=1 a_key_b=1 akey=1 PWORD=1 PASSPHRASE=1 secrets=1 SECRETS_X=1 token=1 tokens=1 auth=1 oauth=1 CRED=1 CREDENTIAL=1 private=1 PUBLIC_SECRET=1 publickey=1 my_apikey=1\n",
  "UndefinedVar in ADD flags": "FROM scratch\nCOPY --chown=$A --chmod=7${B}55 kept /\nADD --checksum=$C kept /\n",
  "ONBUILD fires": "FROM scratch AS a\nONBUILD ENV A b\nONBUILD LABEL c=$D\nFROM a\nLABEL x=1\n",
  "an unused stage is looked at too": "FROM scratch AS a\nLABEL a=$X\nFROM scratch\nLABEL b=1\n",
  "nothing to say": 'FROM scratch AS base\nLABEL a=1\nCMD ["x"]\n',
};

export const lint: readonly ConformanceCase[] = Object.entries(files).map(([name, dockerfile]) => ({
  name,
  dockerfile,
  context: { ".dockerignore": "ignored\n", ignored: "x", kept: "x" },
  check: true,
}));
