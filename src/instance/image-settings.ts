/** The machine that an image asks for, from its `dev.aegis.*` labels to values. */
import { templateReferences } from "../dockerfile/template.js";
import { checkSecretName, type SecretDelivery, type SecretRequest, variableFor } from "../secrets/spec.js";
import { parseDuration } from "../support/durations.js";
import { AegisError } from "../support/errors.js";
import { type MachineSettings, readMachineLabels } from "../support/machine-labels.js";
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
    idleMs: machine.idle === undefined || machine.idle === "off" ? machine.idle : parseDuration(machine.idle),
    restart: machine.restart === undefined ? undefined : parseRestart(machine.restart),
    workspace: machine.workspace,
    secrets: secretsOf(machine),
    renders: machine.renders.map(({ path, mode, chown, tmpfs, template }) => ({
      path,
      mode: mode === undefined ? 0o600 : Number.parseInt(mode, 8),
      owner: chown,
      tmpfs,
      template,
    })),
    errorLogs: machine.errorLogs,
  };
}

/** What SECRET declares, and what RENDER reads without a declaration. */
function secretsOf(machine: MachineSettings): readonly SecretRequest[] {
  const declared = machine.secrets.map(({ name, env, target, required }): SecretRequest => {
    const delivery: SecretDelivery =
      target === undefined
        ? { kind: "env", variable: env ?? variableFor(name) }
        : { kind: "file", path: target, mode: 0o400 };
    return { name: checkSecretName(name), source: { kind: "store" }, delivery, required };
  });
  const names = new Set(declared.map(({ name }) => name));
  const read = new Set(machine.renders.flatMap(({ template }) => templateReferences(template).secrets));
  // A default in the template may make up for it, so only rendering can tell whether it is needed.
  const undeclared = [...read].filter((name) => !names.has(name));
  return [
    ...declared,
    ...undeclared.map(
      (name): SecretRequest => ({
        name: checkSecretName(name),
        source: { kind: "store" },
        delivery: { kind: "render" },
        required: false,
      }),
    ),
  ];
}

/** @throws AegisError BAD_CPUS */
export function parseCpus(text: string): number {
  const count = Number(text);
  if (text.trim() !== "" && Number.isFinite(count) && count > 0) return Math.ceil(count);
  throw new AegisError("BAD_CPUS", `"${text}" is not a number of processors`, { hint: "write --cpus 2" });
}
