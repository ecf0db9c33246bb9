/** Rules about the instructions of a stage: they follow its variables, its SHELL and its WORKDIR. */
import { expandInstruction } from "../expand.js";
import { nearestVariable } from "../suggest.js";
import type { Dockerfile, Instruction, InstructionOf, LintWarning } from "../types.js";

/** What is known after a stage's instructions; a stage built from it goes on with it. */
export interface StageState {
  /** ARG and ENV in the order in which they came; undefined when the base image's are not known. */
  readonly variables: ReadonlyMap<string, string> | undefined;
  /** ARGs without a value too. */
  readonly declared: ReadonlySet<string>;
  readonly hasShell: boolean;
  readonly hasWorkdir: boolean;
  readonly triggers: readonly string[];
}

export interface StageScope {
  readonly dockerfile: Dockerfile;
  readonly globals: ReadonlyMap<string, string>;
  readonly buildArgs: ReadonlyMap<string, string>;
  /** Whether a path of the context is ignored. */
  readonly isIgnored?: ((path: string) => boolean) | undefined;
}

const single = new Set<Instruction["kind"]>(["CMD", "ENTRYPOINT", "HEALTHCHECK"]);

/** Goes through the instructions of one stage in their order. */
export class StageCheck {
  readonly warnings: LintWarning[] = [];
  private readonly variables: Map<string, string> | undefined;
  private readonly declared: Set<string>;
  private readonly triggers: string[] = [];
  private readonly last = new Map<Instruction["kind"], Instruction>();
  private hasShell: boolean;
  private hasWorkdir: boolean;

  constructor(
    base: StageState,
    private readonly scope: StageScope,
  ) {
    this.variables = base.variables && new Map(base.variables);
    this.declared = new Set(base.declared);
    this.hasShell = base.hasShell;
    this.hasWorkdir = base.hasWorkdir;
  }

  get state(): StageState {
    const { variables, declared, hasShell, hasWorkdir, triggers } = this;
    return { variables, declared, hasShell, hasWorkdir, triggers };
  }

  /** @throws AegisError DOCKERFILE_EXPANSION */
  visit(raw: Instruction): void {
    if (raw.kind === "ARG") {
      for (const arg of raw.args) this.arg({ ...raw, args: [arg] });
      return;
    }
    const instruction = this.expand(raw);
    if (single.has(raw.kind)) this.only(raw);
    if ((raw.kind === "CMD" || raw.kind === "ENTRYPOINT") && raw.command.form === "shell" && !this.hasShell) {
      const what = `JSON arguments recommended for ${raw.kind} to prevent unintended behavior related to OS signals`;
      this.warn("JSONArgsRecommended", what, raw);
    }
    if (instruction.kind === "SHELL") this.hasShell = true;
    else if (instruction.kind === "ONBUILD") this.triggers.push(instruction.expression);
    else if (instruction.kind === "ENV") this.env(instruction);
    else if (instruction.kind === "WORKDIR") this.workdir(instruction);
    else if (instruction.kind === "EXPOSE") this.expose(instruction);
    else if (instruction.kind === "COPY" || instruction.kind === "ADD") this.transfer(instruction);
  }

  private warn(rule: string, message: string, { range }: Instruction): void {
    this.warnings.push({ rule, message, range });
  }

  /** The expanded instruction; variables in it that are nowhere set are reported, those of EXPOSE excepted. */
  private expand(raw: Instruction): Instruction {
    const { variables } = this;
    if (variables === undefined) return expandInstruction(raw, () => "", this.scope.dockerfile);
    let unset = new Set<string>();
    const onWord = () => {
      for (const name of unset) this.undefinedVariable(name, raw, variables);
      unset = new Set();
    };
    const onVariable = (name: string, isSet: boolean) => {
      if (!isSet && !this.declared.has(name) && name !== "SOURCE_DATE_EPOCH") unset.add(name);
    };
    const { escape: escapeCharacter, file } = this.scope.dockerfile;
    const report = raw.kind === "EXPOSE" ? {} : { onVariable, onWord };
    try {
      return expandInstruction(raw, (name) => variables.get(name), { escape: escapeCharacter, file, ...report });
    } finally {
      // A word that can't be expanded has been read up to what is wrong with it.
      onWord();
    }
  }

  private undefinedVariable(name: string, raw: Instruction, variables: ReadonlyMap<string, string>): void {
    const suggested = nearestVariable(name, [...variables.keys()]);
    const hint = suggested === undefined ? "" : ` (did you mean $${suggested}?)`;
    this.warn("UndefinedVar", `Usage of undefined variable '$${name}'${hint}`, raw);
  }

  private arg(raw: InstructionOf<"ARG">): void {
    const { name } = raw.args[0]!;
    this.secret("ARG", name, raw);
    const expanded = this.expand(raw);
    const own = expanded.kind === "ARG" ? expanded.args[0]!.value : undefined;
    const value = this.scope.buildArgs.get(name) ?? own ?? this.scope.globals.get(name);
    this.declared.add(name);
    if (value !== undefined) this.variables?.set(name, value);
  }

  private env(instruction: InstructionOf<"ENV">): void {
    for (const { key, value } of instruction.pairs) {
      this.secret("ENV", key, instruction);
      this.variables?.set(key, value);
    }
  }

  private secret(kind: "ARG" | "ENV", name: string, instruction: Instruction): void {
    if (!isSecretName(name)) return;
    const message = `Do not use ARG or ENV instructions for sensitive data (${kind} ${JSON.stringify(name)})`;
    this.warn("SecretsUsedInArgOrEnv", message, instruction);
  }

  /** Of several, all but the last are for nothing. */
  private only(instruction: Instruction): void {
    const { kind } = instruction;
    const before = this.last.get(kind);
    this.last.set(kind, instruction);
    if (before === undefined) return;
    const message = `Multiple ${kind} instructions should not be used in the same stage because only the last one will be used`;
    this.warn("MultipleInstructionsDisallowed", message, before);
  }

  private workdir(instruction: InstructionOf<"WORKDIR">): void {
    if (!this.hasWorkdir && !instruction.path.startsWith("/")) {
      const path = JSON.stringify(instruction.path);
      const message = `Relative workdir ${path} can have unexpected results if the base image changes`;
      this.warn("WorkdirRelativePath", message, instruction);
    }
    this.hasWorkdir = true;
  }

  private expose(instruction: InstructionOf<"EXPOSE">): void {
    for (const port of instruction.ports) {
      if (port.includes(":")) {
        const message = `EXPOSE instruction should not define an IP address or host-port mapping, found '${port}'`;
        this.warn("ExposeInvalidFormat", message, instruction);
      }
      const protocol = port.split("/")[1];
      if (protocol !== undefined && protocol !== protocol.toLowerCase()) {
        this.warn(
          "ExposeProtoCasing",
          `Defined protocol '${port}' in EXPOSE instruction should be lowercase`,
          instruction,
        );
      }
    }
  }

  private transfer(instruction: InstructionOf<"COPY"> | InstructionOf<"ADD">): void {
    const { isIgnored } = this.scope;
    if (isIgnored === undefined || (instruction.kind === "COPY" && instruction.from !== undefined)) return;
    const verb = instruction.kind === "COPY" ? "Copy" : "Add";
    for (const source of instruction.sources) {
      if (/^[a-z][a-z0-9+.-]*:\/\//i.test(source) || !isIgnored(source)) continue;
      const message = `Attempting to ${verb} file ${JSON.stringify(source)} that is excluded by .dockerignore`;
      this.warn("CopyIgnoredFile", message, instruction);
    }
  }
}

/** Names of which one word says that the value is a secret, and none that it is public. */
function isSecretName(name: string): boolean {
  const words = name.toLowerCase().split("_");
  const telling = [
    "apikey",
    "auth",
    "credential",
    "credentials",
    "key",
    "password",
    "pword",
    "passwd",
    "secret",
    "token",
  ];
  return !words.includes("public") && words.some((word) => telling.includes(word));
}
