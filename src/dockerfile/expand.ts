/** Raw instructions to plain values: what the reference expands for each kind, and nothing else. */
import { Fault, type FaultOptions, located } from "./errors.js";
import { checkAegis } from "./instructions/aegis.js";
import { expandMount } from "./instructions/mounts.js";
import { lexWord, lexWords } from "./shell-lexer.js";
import type {
  AegisInstruction,
  EscapeCharacter,
  Heredoc,
  Instruction,
  KeyValue,
  Lookup,
  SourceFile,
  Stage,
} from "./types.js";

export interface ExpandOptions {
  readonly escape?: EscapeCharacter;
  /** Gives messages their excerpt. */
  readonly file?: SourceFile;
  /** Told of every variable that is read, set or not. */
  readonly onVariable?: (name: string, isSet: boolean) => void;
  /** Told when a word's variables have all been read. */
  readonly onWord?: () => void;
}

/** Image and platform of a FROM, expanded in the scope of the ARGs before the first FROM. */
export function expandFrom(
  stage: Stage,
  lookup: Lookup,
  options: ExpandOptions = {},
): { readonly image: string; readonly platform?: string } {
  return located(options.file, stage.range, () => {
    const image = lexWord(stage.image, lookup, options);
    if (image === "") throw new Fault(`FROM ${stage.image} names no image`, { ...blank, at: stage.image });
    if (stage.platform === undefined) return { image };
    const platform = lexWord(stage.platform, lookup, options);
    if (platform === "")
      throw new Fault(`--platform=${stage.platform} names no platform`, { ...blank, at: stage.platform });
    return { image, platform };
  });
}

const blank: FaultOptions = {
  code: "DOCKERFILE_EXPANSION",
  hint: "only ARGs before the first FROM have values here: give the ARG a default, or pass --build-arg",
};

/**
 * The same instruction with all its words expanded in `lookup`'s scope: one scope for the whole instruction, so `ENV a=1 b=$a` gives `b`
 * the value that `a` had before. Only of ARG each definition sees those before it on the line, so it is expanded one definition at a time.
 * @throws AegisError DOCKERFILE_EXPANSION, DOCKERFILE_SYNTAX
 */
export function expandInstruction(instruction: Instruction, lookup: Lookup, options: ExpandOptions = {}): Instruction {
  const word = (text: string): string => {
    const expanded = lexWord(text, lookup, options);
    options.onWord?.();
    return expanded;
  };
  const optional = <K extends string>(key: K, text: string | undefined) =>
    (text === undefined ? {} : { [key]: word(text) }) as { readonly [P in K]?: string };
  return located(options.file, instruction.range, (): Instruction => {
    switch (instruction.kind) {
      case "ENV":
      case "LABEL":
        return { ...instruction, pairs: instruction.pairs.map((pair) => expandPair(pair, word)) };
      case "ARG":
        return {
          ...instruction,
          args: instruction.args.map((arg) => ({ ...arg, ...optional("value", arg.value) })),
        };
      case "COPY":
        return {
          ...instruction,
          ...optional("chown", instruction.chown),
          ...optional("chmod", instruction.chmod),
          ...expandTransfer(instruction, word, lookup, options),
        };
      case "ADD":
        return {
          ...instruction,
          ...optional("chown", instruction.chown),
          ...optional("chmod", instruction.chmod),
          ...optional("checksum", instruction.checksum),
          ...expandTransfer(instruction, word, lookup, options),
        };
      case "RUN":
        return {
          ...instruction,
          mounts: instruction.mounts.map((mount) => expandMount(mount.spec, word)),
          devices: instruction.devices.map(word),
        };
      case "EXPOSE":
        return { ...instruction, ports: instruction.ports.flatMap((port) => lexWords(port, lookup, options)) };
      case "VOLUME":
        return { ...instruction, paths: instruction.paths.map(word) };
      case "USER":
        return { ...instruction, user: word(instruction.user) };
      case "WORKDIR":
        return { ...instruction, path: word(instruction.path) };
      case "STOPSIGNAL":
        return { ...instruction, signal: word(instruction.signal) };
      case "CMD":
      case "ENTRYPOINT":
      case "SHELL":
      case "HEALTHCHECK":
      case "MAINTAINER":
      case "ONBUILD":
        return instruction;
      default:
        return expandAegis(instruction, word, optional);
    }
  });
}

function expandPair(pair: KeyValue, word: (text: string) => string): KeyValue {
  return { key: word(pair.key), value: word(pair.value) };
}

function expandTransfer(
  instruction: {
    readonly sources: readonly string[];
    readonly destination: string;
    readonly heredocs: readonly Heredoc[];
  },
  word: (text: string) => string,
  lookup: Lookup,
  options: ExpandOptions,
) {
  // In a body quotes are text, and the escape is the backslash whatever the directive says.
  const body = { ...options, escape: "\\", literalQuotes: true } as const;
  return {
    sources: instruction.sources.map(word),
    destination: word(instruction.destination),
    heredocs: instruction.heredocs.map((heredoc) => {
      if (!heredoc.expand) return heredoc;
      const content = lexWord(heredoc.content, lookup, body);
      options.onWord?.();
      return { ...heredoc, content };
    }),
  };
}

type AegisPart = Extract<Instruction, AegisInstruction>;

function expandAegis(
  instruction: AegisPart,
  word: (text: string) => string,
  optional: <K extends string>(key: K, text: string | undefined) => { readonly [P in K]?: string },
): Instruction {
  const expanded = ((): AegisPart => {
    switch (instruction.kind) {
      case "MEMORY":
      case "DISK":
        return { ...instruction, size: word(instruction.size) };
      case "CPUS":
        return { ...instruction, count: word(instruction.count) };
      case "IDLE":
        return { ...instruction, after: word(instruction.after) };
      case "RESTART":
        return { ...instruction, policy: word(instruction.policy) };
      case "WORKSPACE":
        return { ...instruction, path: word(instruction.path) };
      case "ERRORLOG":
        return { ...instruction, glob: word(instruction.glob), ...optional("field", instruction.field) };
      case "SECRET":
        return {
          ...instruction,
          name: word(instruction.name),
          ...optional("env", instruction.env),
          ...optional("target", instruction.target),
        };
      case "RENDER":
        // The template is evaluated at boot, so `$` in it is nobody's variable here.
        return {
          ...instruction,
          path: word(instruction.path),
          ...optional("mode", instruction.mode),
          ...optional("chown", instruction.chown),
        };
    }
  })();
  checkAegis(expanded);
  return expanded;
}
