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

// Two programs for all processes: starting one for each takes seconds in an emulated guest.
const marker = "@aegis-top@";
const script = `cat /proc/[0-9]*/status 2>/dev/null; echo ${marker}; head -c 4096 /proc/[0-9]*/cmdline 2>/dev/null; true`;

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
  const [statuses = "", cmdlines = ""] = text.split(`${marker}\n`);
  const commands = new Map(
    cmdlines.split(/^==> \/proc\//m).map((block) => {
      const [, pid, words = ""] = /^(\d+)\/cmdline <==\n([\s\S]*)$/.exec(block) ?? [];
      return [Number(pid), words.replaceAll("\0", " ").replace(/\s+/g, " ").trim()] as const;
    }),
  );
  return statuses
    .split(/^(?=Name:)/m)
    .filter((block) => block.startsWith("Name:"))
    .map((block) => {
      const field = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, "m").exec(block)?.[1] ?? "";
      const pid = Number(field("Pid"));
      return {
        pid,
        ppid: Number(field("PPid")),
        uid: Number.parseInt(field("Uid"), 10),
        state: field("State").slice(0, 1),
        residentBytes: Number.parseInt(field("VmRSS") || "0", 10) * 1024,
        command: commands.get(pid) || `[${field("Name")}]`,
      };
    })
    .filter((row) => !row.command.includes(marker) && !/^cat \/proc\/\d+\/status/.test(row.command))
    .sort((a, b) => a.pid - b.pid);
}
