/**
 * What an Aegisfile says about the machine, as labels of the image: they travel through any registry, and other tools
 * ignore them. Lists are JSON; everything else is the word as it was written.
 */
import { AegisError } from "./errors.js";

export interface MachineSecret {
  readonly name: string;
  /** Environment variable; the name itself when neither `env` nor `target` is given. */
  readonly env?: string | undefined;
  /** File in the guest. */
  readonly target?: string | undefined;
  readonly required: boolean;
}

export interface MachineRender {
  readonly path: string;
  /** Octal. */
  readonly mode?: string | undefined;
  /** `user[:group]` */
  readonly chown?: string | undefined;
  readonly tmpfs?: boolean | undefined;
  readonly template: string;
}

export interface MachineErrorLog {
  readonly glob: string;
  /** JSON field whose value is shown. */
  readonly field?: string | undefined;
}

export interface MachineSettings {
  readonly memory?: string | undefined;
  readonly cpus?: string | undefined;
  readonly disk?: string | undefined;
  readonly idle?: string | undefined;
  readonly restart?: string | undefined;
  readonly workspace?: string | undefined;
  readonly secrets: readonly MachineSecret[];
  readonly renders: readonly MachineRender[];
  readonly errorLogs: readonly MachineErrorLog[];
}

type Labels = Readonly<Record<string, string>>;

const prefix = "dev.aegis.";
const words = ["memory", "cpus", "disk", "idle", "restart", "workspace"] as const;

/** Labels for settings; what is unset or empty has none. */
export function machineLabels(settings: MachineSettings): Labels {
  const labels: Record<string, string> = {};
  for (const word of words) if (settings[word] !== undefined) labels[prefix + word] = settings[word];
  if (settings.secrets.length > 0) labels[`${prefix}secrets`] = JSON.stringify(settings.secrets);
  if (settings.renders.length > 0) labels[`${prefix}renders`] = JSON.stringify(settings.renders);
  if (settings.errorLogs.length > 0) labels[`${prefix}errorlogs`] = JSON.stringify(settings.errorLogs);
  return labels;
}

/** @throws AegisError MACHINE_LABELS_INVALID */
export function readMachineLabels(labels: Labels | undefined): MachineSettings {
  const word = (name: (typeof words)[number]) => labels?.[prefix + name];
  return {
    memory: word("memory"),
    cpus: word("cpus"),
    disk: word("disk"),
    idle: word("idle"),
    restart: word("restart"),
    workspace: word("workspace"),
    secrets: list<MachineSecret>(labels, "secrets", {
      name: "string",
      env: "string?",
      target: "string?",
      required: "boolean",
    }),
    renders: list<MachineRender>(labels, "renders", {
      path: "string",
      mode: "string?",
      chown: "string?",
      tmpfs: "boolean?",
      template: "string",
    }),
    errorLogs: list<MachineErrorLog>(labels, "errorlogs", { glob: "string", field: "string?" }),
  };
}

function list<T>(
  labels: Labels | undefined,
  name: string,
  shape: Readonly<Record<keyof T & string, string>>,
): readonly T[] {
  const text = labels?.[prefix + name];
  if (text === undefined) return [];
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalid(name, error);
  }
  if (!Array.isArray(value) || !value.every((item) => hasShape(item, shape))) throw invalid(name, undefined);
  return value as readonly T[];
}

function hasShape(item: unknown, shape: Readonly<Record<string, string>>): boolean {
  if (typeof item !== "object" || item === null) return false;
  const fields = item as Readonly<Record<string, unknown>>;
  return Object.entries(shape).every(([key, type]) =>
    fields[key] === undefined ? type.endsWith("?") : typeof fields[key] === type.replace("?", ""),
  );
}

const invalid = (name: string, cause: unknown) =>
  new AegisError("MACHINE_LABELS_INVALID", `the image's label ${prefix}${name} can't be read`, {
    hint: "build the image again from its Aegisfile",
    cause,
  });
