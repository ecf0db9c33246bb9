/**
 * What the reader makes of a Dockerfile or Aegisfile: stages of instructions, one precise type each. Words are raw (quotes,
 * escapes and `$x` as written) until `expandInstruction` turns them into plain values for a given scope.
 */

/** Larger files are refused: what is read here comes from strangers. Who gets one need not read more than a byte beyond this. */
export const maxDockerfileBytes = 16 * 2 ** 20;

/** Lines are 1-based and inclusive; columns 1-based. */
export interface SourceRange {
  readonly startLine: number;
  readonly endLine: number;
  readonly column?: number;
}

/** The text that ranges refer to, for excerpts in messages. */
export interface SourceFile {
  /** As messages call it, e.g. `Dockerfile`. */
  readonly name: string;
  /** Without line ends. */
  readonly lines: readonly string[];
}

export interface Heredoc {
  readonly name: string;
  /** Body as it is fed, tabs already removed for `<<-`. */
  readonly content: string;
  /** Body as it is written. */
  readonly raw: string;
  /** Variables are expanded in it (COPY, ADD): the name was not quoted. */
  readonly expand: boolean;
  readonly fileDescriptor: number;
}

export type Command =
  | { readonly form: "shell"; readonly text: string }
  | { readonly form: "exec"; readonly argv: readonly string[] };

export interface KeyValue {
  readonly key: string;
  readonly value: string;
}

/**
 * One `--mount` of RUN. Everything but `from` may contain variables, so an instruction that is not expanded yet has only `spec` and
 * `from`, and type `bind`.
 */
export interface RunMount {
  /** The flag's value as written. */
  readonly spec: string;
  readonly type: "bind" | "cache" | "tmpfs" | "secret" | "ssh";
  readonly target?: string;
  readonly source?: string;
  readonly from?: string;
  /** As asked for, or the type's default: false for cache and tmpfs, true otherwise. */
  readonly readOnly: boolean;
  readonly id?: string;
  readonly sharing?: "shared" | "private" | "locked";
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly size?: number;
  readonly required: boolean;
  /** secret: name of the environment variable. */
  readonly env?: string;
}

export interface ArgDefinition {
  readonly name: string;
  readonly value?: string;
  /** From a comment line right above that starts with the name. */
  readonly description?: string;
}

interface Located {
  readonly range: SourceRange;
  /** The instruction as written, continuation lines joined (history, messages). */
  readonly source: string;
}

export type Instruction = Located &
  (
    | { readonly kind: "ARG"; readonly args: readonly ArgDefinition[] }
    | { readonly kind: "ENV"; readonly pairs: readonly KeyValue[] }
    | { readonly kind: "LABEL"; readonly pairs: readonly KeyValue[] }
    | {
        readonly kind: "RUN";
        readonly command: Command;
        readonly heredocs: readonly Heredoc[];
        readonly mounts: readonly RunMount[];
        readonly network: "default" | "none" | "host";
        readonly security: "sandbox" | "insecure";
        readonly devices: readonly string[];
      }
    | {
        readonly kind: "COPY";
        readonly sources: readonly string[];
        readonly heredocs: readonly Heredoc[];
        readonly destination: string;
        readonly from?: string;
        readonly chown?: string;
        readonly chmod?: string;
        readonly link: boolean;
        readonly parents: boolean;
        readonly exclude: readonly string[];
      }
    | {
        readonly kind: "ADD";
        readonly sources: readonly string[];
        readonly heredocs: readonly Heredoc[];
        readonly destination: string;
        readonly chown?: string;
        readonly chmod?: string;
        readonly link: boolean;
        readonly exclude: readonly string[];
        readonly checksum?: string;
        readonly keepGitDir: boolean;
        readonly unpack?: boolean;
      }
    | { readonly kind: "CMD"; readonly command: Command }
    | { readonly kind: "ENTRYPOINT"; readonly command: Command }
    | { readonly kind: "SHELL"; readonly argv: readonly string[] }
    | { readonly kind: "EXPOSE"; readonly ports: readonly string[] }
    | { readonly kind: "VOLUME"; readonly paths: readonly string[] }
    | { readonly kind: "USER"; readonly user: string }
    | { readonly kind: "WORKDIR"; readonly path: string }
    | { readonly kind: "STOPSIGNAL"; readonly signal: string }
    | { readonly kind: "MAINTAINER"; readonly name: string }
    | { readonly kind: "HEALTHCHECK"; readonly check: HealthcheckSpec }
    | { readonly kind: "ONBUILD"; readonly expression: string }
    | AegisInstruction
  );

/** Durations in milliseconds; unset fields take the image's or Docker's defaults. */
export type HealthcheckSpec =
  | { readonly none: true }
  | {
      readonly none: false;
      readonly command: Command;
      readonly interval?: number;
      readonly timeout?: number;
      readonly startPeriod?: number;
      readonly startInterval?: number;
      readonly retries?: number;
    };

/** Instructions of an Aegisfile; they end up as `dev.aegis.*` labels. */
export type AegisInstruction =
  | { readonly kind: "MEMORY"; readonly size: string }
  | { readonly kind: "CPUS"; readonly count: string }
  | { readonly kind: "DISK"; readonly size: string }
  | {
      readonly kind: "SECRET";
      readonly name: string;
      readonly env?: string;
      readonly target?: string;
      readonly required: boolean;
    }
  | { readonly kind: "IDLE"; readonly after: string }
  | { readonly kind: "RESTART"; readonly policy: string }
  | {
      readonly kind: "RENDER";
      readonly path: string;
      readonly mode?: string;
      readonly chown?: string;
      /** The file's directory is in memory too, so that the app can replace the file. */
      readonly tmpfs?: boolean;
      readonly template: string;
    }
  | { readonly kind: "WORKSPACE"; readonly path: string }
  | { readonly kind: "ERRORLOG"; readonly glob: string; readonly field?: string };

export type InstructionOf<K extends Instruction["kind"]> = Extract<Instruction, { readonly kind: K }>;

export interface Stage {
  readonly index: number;
  /** Lower-cased. */
  readonly name?: string;
  /** Raw word of FROM. */
  readonly image: string;
  readonly platform?: string;
  /** From a comment line right above that starts with the stage's name. */
  readonly description?: string;
  readonly range: SourceRange;
  readonly source: string;
  readonly instructions: readonly Instruction[];
}

export type Dialect = "dockerfile" | "aegisfile";
export type EscapeCharacter = "\\" | "`";

/** Parser directives given at the top of the file. */
export interface Directives {
  readonly syntax?: string;
  readonly escape?: string;
  readonly check?: string;
}

export interface Dockerfile {
  readonly dialect: Dialect;
  /** Where it came from, for messages. */
  readonly file: SourceFile;
  readonly escape: EscapeCharacter;
  readonly directives: Directives;
  /** ARGs before the first FROM. */
  readonly globalArgs: readonly InstructionOf<"ARG">[];
  readonly stages: readonly Stage[];
  readonly warnings: readonly LintWarning[];
}

export interface LintWarning {
  /** The reference's rule name, e.g. `JSONArgsRecommended`. */
  readonly rule: string;
  readonly message: string;
  readonly range: SourceRange;
}

/** A variable's value in scope, or undefined when it is unset. */
export type Lookup = (name: string) => string | undefined;
