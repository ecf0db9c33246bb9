/** The processes of a guest, read from its /proc by its own shell: images without `ps` are the rule. */
import { AegisError } from "../support/errors.js";
import type { AegisHome } from "../support/home.js";
import { interact } from "./client.js";
import { collect } from "./collect.js";
import type { InstanceConfig } from "./types.js";

export interface GuestProcessRow {
  readonly pid: number;
  readonly ppid: number;
  readonly uid: number;
  /** One letter, as in proc(5). */
  readonly state: string;
  readonly residentBytes: number;
  readonly command: string;
}

// Only what every shell has built in, and cat.
const marker = "aegis-top";
const script = `: ${marker}; for d in /proc/[0-9]*; do
  [ -r "$d/status" ] || continue
  echo "@$d"; cat "$d/status" 2>/dev/null; echo "="; cat "$d/cmdline" 2>/dev/null; echo
done`;

/** @throws AegisError NO_SHELL, NOT_RUNNING */
export async function guestProcesses(home: AegisHome, config: InstanceConfig): Promise<readonly GuestProcessRow[]> {
  const stdout = collect();
  const process = {
    argv: ["/bin/sh", "-c", script],
    env: [],
    user: "0:0",
    cwd: "/",
    size: undefined,
    privileged: false,
  };
  const { exited } = await interact(home, config, { op: "exec", stdin: false, process }, { stdout: stdout.stream });
  const { exitCode } = await exited;
  if (exitCode === 127) {
    throw new AegisError("NO_SHELL", `${config.name} has no /bin/sh to look at its processes with`, {
      hint: `"aegis stats ${config.name}" counts them without`,
    });
  }
  return parseProcesses(stdout.bytes().toString("utf8"));
}

export function parseProcesses(text: string): readonly GuestProcessRow[] {
  return text
    .split(/^@\/proc\//m)
    .slice(1)
    .map((block) => {
      const [status = "", cmdline = ""] = block.split(/^=\n/m);
      const field = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, "m").exec(status)?.[1] ?? "";
      const command = cmdline.split("\0").join(" ").replace(/\s+/g, " ").trim();
      return {
        pid: Number.parseInt(block, 10),
        ppid: Number(field("PPid")),
        uid: Number.parseInt(field("Uid"), 10),
        state: field("State").slice(0, 1),
        residentBytes: Number.parseInt(field("VmRSS") || "0", 10) * 1024,
        command: command === "" ? `[${field("Name")}]` : command,
      };
    })
    .filter((row) => !row.command.includes(`: ${marker}; for d`))
    .sort((a, b) => a.pid - b.pid);
}
