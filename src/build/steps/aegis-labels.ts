/** Instructions for the machine become labels of the image. */
import type { AegisInstruction } from "../../dockerfile/types.js";
import { type MachineSettings, machineLabels, readMachineLabels } from "../../support/machine-labels.js";

/** The labels with one more instruction of an Aegisfile in them. The same name or path again replaces what was said before. */
export function aegisLabels(
  instruction: AegisInstruction,
  labels: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  return machineLabels(applied(instruction, readMachineLabels(labels)));
}

function applied(instruction: AegisInstruction, settings: MachineSettings): MachineSettings {
  switch (instruction.kind) {
    case "MEMORY":
      return { ...settings, memory: instruction.size };
    case "CPUS":
      return { ...settings, cpus: instruction.count };
    case "DISK":
      return { ...settings, disk: instruction.size };
    case "IDLE":
      return { ...settings, idle: instruction.after };
    case "RESTART":
      return { ...settings, restart: instruction.policy };
    case "WORKSPACE":
      return { ...settings, workspace: instruction.path };
    case "SECRET": {
      const { name, env, target, required } = instruction;
      return { ...settings, secrets: replaced(settings.secrets, { name, env, target, required }, (it) => it.name) };
    }
    case "RENDER": {
      const { path, mode, chown, tmpfs, template } = instruction;
      return {
        ...settings,
        renders: replaced(settings.renders, { path, mode, chown, tmpfs, template }, (it) => it.path),
      };
    }
    case "ERRORLOG": {
      const { glob, field } = instruction;
      return { ...settings, errorLogs: replaced(settings.errorLogs, { glob, field }, (it) => it.glob) };
    }
  }
}

const replaced = <T>(items: readonly T[], item: T, key: (item: T) => string): readonly T[] => [
  ...items.filter((it) => key(it) !== key(item)),
  item,
];
