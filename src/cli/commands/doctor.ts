import { Command, Option } from "clipanion";
import type { Check, Diagnosis } from "../../vmm/doctor/types.js";
import { AegisCommand } from "../command.js";

export default class DoctorCommand extends AegisCommand {
  static override paths = [["doctor"]];
  static override usage = Command.Usage({
    details:
      "Lists what aegis relies on, with the command that mends what is missing. Ends with status 1 when nothing can boot.",
    examples: [
      ["Look", "$0 doctor"],
      ["Mend what can be mended: packages as root, private parts, C programs", "$0 doctor --fix"],
    ],
  });

  fix = Option.Boolean("--fix", false, { description: "install, fetch and build what is missing" });

  override async execute() {
    const { diagnose } = await import("../../vmm/doctor/diagnose.js");
    let diagnosis = await diagnose(this.home);
    if (this.fix) {
      const { fix } = await import("../../vmm/doctor/fix.js");
      await fix(this.home, diagnosis, { onStep: (step) => this.context.stderr.write(`${step}\n`) });
      diagnosis = await diagnose(this.home);
    }
    this.print(diagnosis, render);
    return diagnosis.blocking.length === 0 ? 0 : 1;
  }
}

const marks: Readonly<Record<Check["state"], string>> = { ok: "ok", missing: "MISSING", unusable: "no" };

function render(diagnosis: Diagnosis): string {
  const width = Math.max(...diagnosis.checks.map((check) => check.title.length));
  const lines = diagnosis.checks.flatMap((check) => [
    `${marks[check.state].padEnd(8)}${check.title.padEnd(width + 2)}${[check.version, check.detail ?? check.path].filter(Boolean).join("  ")}`.trimEnd(),
    ...(check.state !== "ok" && check.command ? [`${"".padEnd(8)}  mend it with: ${check.command}`] : []),
  ]);
  return [...lines, "", summary(diagnosis)].join("\n");
}

function summary({ driver, accelerated, isolation, blocking }: Diagnosis): string {
  if (blocking.length > 0) return `Nothing can boot here yet: ${blocking.join(", ")} missing.`;
  const vmm = driver === "krun" ? "libkrun" : `QEMU ${accelerated ? "with KVM" : "by emulation"}`;
  const steps = isolation === "container" ? "in containers" : `in ${accelerated ? "" : "emulated "}VMs`;
  return `Machines run by ${vmm}; RUN steps of builds run ${steps}.`;
}
