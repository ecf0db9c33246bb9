/**
 * The smallest builder that shows what the reader and the expander give: configuration and here-documents of Dockerfiles that need no file
 * system. It runs no step and reads no context.
 */
import { expandFrom, expandInstruction } from "../../../src/dockerfile/expand.js";
import { parseDockerfile, parseOnbuild } from "../../../src/dockerfile/parser.js";
import { baseStage, reachableStages, targetStage } from "../../../src/dockerfile/stages.js";
import type {
  Command,
  Dockerfile,
  HealthcheckSpec,
  Instruction,
  Lookup,
  Stage,
} from "../../../src/dockerfile/types.js";

export interface Evaluated {
  readonly env: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly cmd?: readonly string[] | undefined;
  readonly entrypoint?: readonly string[] | undefined;
  readonly shell?: readonly string[] | undefined;
  readonly onBuild: readonly string[];
  readonly ports: readonly string[];
  readonly volumes: readonly string[];
  readonly user?: string | undefined;
  readonly signal?: string | undefined;
  readonly author?: string | undefined;
  readonly health?: unknown;
  /** Contents of here-documents by path. */
  readonly files: Readonly<Record<string, string>>;
}

interface State {
  env: Map<string, string>;
  /** What ARG and ENV made, in the order in which they came. */
  variables: Map<string, string>;
  labels: Record<string, string>;
  cmd: readonly string[] | undefined;
  entrypoint: readonly string[] | undefined;
  shell: readonly string[] | undefined;
  onBuild: string[];
  ports: Set<string>;
  volumes: Set<string>;
  user: string | undefined;
  signal: string | undefined;
  author: string | undefined;
  health: unknown;
  files: Record<string, string>;
  cmdIsOwn: boolean;
}

const platform = { OS: "linux", ARCH: "amd64", VARIANT: "", PLATFORM: "linux/amd64" };
const predefined = new Map(
  ["TARGET", "BUILD"].flatMap((prefix) =>
    Object.entries(platform).map(([key, value]) => [prefix + key, value] as const),
  ),
);

export function evaluate(
  text: string,
  options: { readonly buildArgs?: ReadonlyMap<string, string>; readonly target?: string } = {},
): Evaluated {
  const file = parseDockerfile(text);
  const buildArgs = options.buildArgs ?? new Map<string, string>();
  const target = targetStage(file, options.target);
  const globals = new Map([...predefined, ["TARGETSTAGE", target.name ?? "default"]]);
  for (const instruction of file.globalArgs) {
    for (const arg of instruction.args) {
      const one = expandInstruction({ ...instruction, args: [arg] }, (name) => globals.get(name), file);
      if (one.kind !== "ARG") continue;
      const value = buildArgs.get(arg.name) ?? one.args[0]!.value;
      if (value !== undefined) globals.set(arg.name, value);
    }
  }
  const scope: Lookup = (name) => globals.get(name);
  const imageOf = (stage: Stage) => expandFrom(stage, scope, file).image;
  const states = new Map<Stage, State>();
  const needed = reachableStages(file, imageOf, { target: options.target });
  for (const stage of needed) {
    const base = baseStage(file, stage, imageOf(stage));
    states.set(stage, runStage(file, stage, base && states.get(base), { globals, buildArgs }));
  }
  const state = states.get(target)!;
  return {
    ...state,
    env: [...state.env].map(([key, value]) => `${key}=${value}`),
    ports: [...state.ports],
    volumes: [...state.volumes],
  };
}

interface Scope {
  readonly globals: ReadonlyMap<string, string>;
  readonly buildArgs: ReadonlyMap<string, string>;
}

function runStage(file: Dockerfile, stage: Stage, base: State | undefined, scope: Scope): State {
  const state: State = base
    ? {
        ...base,
        env: new Map(base.env),
        variables: new Map([...base.variables, ...base.env]),
        labels: { ...base.labels },
        ports: new Set(base.ports),
        volumes: new Set(base.volumes),
        files: { ...base.files },
        onBuild: [],
        cmdIsOwn: false,
      }
    : {
        env: new Map(),
        variables: new Map(),
        labels: {},
        cmd: undefined,
        entrypoint: undefined,
        shell: undefined,
        onBuild: [],
        ports: new Set(),
        volumes: new Set(),
        user: undefined,
        signal: undefined,
        author: undefined,
        health: undefined,
        files: {},
        cmdIsOwn: false,
      };
  const triggers = (base?.onBuild ?? []).map((expression) => parseOnbuild(expression, stage.range));
  for (const instruction of [...triggers, ...stage.instructions]) {
    const lookup: Lookup = (name) => state.variables.get(name);
    const pieces =
      instruction.kind === "ARG" ? instruction.args.map((arg) => ({ ...instruction, args: [arg] })) : [instruction];
    for (const piece of pieces) apply(state, expandInstruction(piece, lookup, file), scope);
  }
  return state;
}

function apply(state: State, instruction: Instruction, scope: Scope): void {
  const shell = state.shell ?? ["/bin/sh", "-c"];
  const argv = (command: Command) => (command.form === "exec" ? command.argv : [...shell, command.text]);
  switch (instruction.kind) {
    case "ENV":
      for (const { key, value } of instruction.pairs) {
        state.env.set(key, value);
        state.variables.set(key, value);
      }
      return;
    case "LABEL":
      for (const { key, value } of instruction.pairs) state.labels[key] = value;
      return;
    case "ARG":
      for (const { name, value } of instruction.args) {
        const given = scope.buildArgs.get(name) ?? value ?? scope.globals.get(name);
        if (given !== undefined) state.variables.set(name, given);
      }
      return;
    case "CMD":
      state.cmd = argv(instruction.command);
      state.cmdIsOwn = true;
      return;
    case "ENTRYPOINT":
      state.entrypoint = argv(instruction.command);
      if (!state.cmdIsOwn) state.cmd = undefined;
      return;
    case "SHELL":
      state.shell = instruction.argv;
      return;
    case "ONBUILD":
      state.onBuild.push(instruction.expression);
      return;
    case "EXPOSE":
      for (const port of instruction.ports) state.ports.add(port);
      return;
    case "VOLUME":
      for (const volume of instruction.paths) state.volumes.add(volume);
      return;
    case "USER":
      state.user = instruction.user;
      return;
    case "STOPSIGNAL":
      state.signal = instruction.signal;
      return;
    case "MAINTAINER":
      state.author = instruction.name;
      return;
    case "HEALTHCHECK":
      state.health = healthOf(instruction.check);
      return;
    case "COPY":
    case "ADD": {
      const into = instruction.destination.endsWith("/");
      for (const heredoc of instruction.heredocs) {
        const name = into ? instruction.destination + heredoc.name : instruction.destination;
        state.files[name.slice(1)] = heredoc.content;
      }
    }
  }
}

function healthOf(check: HealthcheckSpec): unknown {
  if (check.none) return { Test: ["NONE"] };
  const { command, retries } = check;
  const nanoseconds = {
    Interval: check.interval,
    Timeout: check.timeout,
    StartPeriod: check.startPeriod,
    StartInterval: check.startInterval,
  };
  const set = Object.entries(nanoseconds).filter(([, ms]) => ms !== undefined);
  return {
    Test: command.form === "exec" ? ["CMD", ...command.argv] : ["CMD-SHELL", command.text],
    ...Object.fromEntries(set.map(([key, ms]) => [key, ms! * 1e6])),
    ...(retries ? { Retries: retries } : {}),
  };
}
