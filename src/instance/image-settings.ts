/** The machine that an image asks for, from its `dev.aegis.*` labels to values. */
import { checkSecretName, variableFor } from "../secrets/spec.js";
import { parseDuration } from "../support/durations.js";
import { AegisError } from "../support/errors.js";
import { readMachineLabels } from "../support/machine-labels.js";
import { parseSize } from "../support/sizes.js";
import { parseRestart } from "./restart.js";
import type { ImageSettings } from "./settings.js";

/** @throws AegisError MACHINE_LABELS_INVALID, and what the values' own readers throw */
export function imageSettings(labels: Readonly<Record<string, string>> | undefined): ImageSettings {
  const machine = readMachineLabels(labels);
  return {
    memoryBytes: machine.memory === undefined ? undefined : parseSize(machine.memory),
    cpus: machine.cpus === undefined ? undefined : parseCpus(machine.cpus),
    diskBytes: machine.disk === undefined ? undefined : parseSize(machine.disk),
    idleMs: machine.idle === undefined || machine.idle === "off" ? undefined : parseDuration(machine.idle),
    restart: machine.restart === undefined ? undefined : parseRestart(machine.restart),
    workspace: machine.workspace,
    secrets: machine.secrets.map(({ name, env, target, required }) => ({
      name: checkSecretName(name),
      source: { kind: "store" },
      delivery:
        target === undefined
          ? { kind: "env", variable: env ?? variableFor(name) }
          : { kind: "file", path: target, mode: 0o400 },
      required,
    })),
    renders: machine.renders.map(({ path, mode, chown, template }) => ({
      path,
      mode: mode === undefined ? 0o600 : Number.parseInt(mode, 8),
      owner: chown,
      template,
    })),
    errorLogs: machine.errorLogs,
  };
}

/** @throws AegisError BAD_CPUS */
export function parseCpus(text: string): number {
  const count = Number(text);
  if (text.trim() !== "" && Number.isFinite(count) && count > 0) return Math.ceil(count);
  throw new AegisError("BAD_CPUS", `"${text}" is not a number of processors`, { hint: "write --cpus 2" });
}
