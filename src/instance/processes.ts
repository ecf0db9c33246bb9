/** The processes of a guest, read from its /proc by the harness: images without `ps` are the rule. */
import { AegisError } from "../support/errors.js";
import type { AegisHome } from "../support/home.js";
import { interact } from "./client.js";
import { collect } from "./collect.js";
import { guestTool } from "./guest-tools.js";
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

const marker = "@aegis-top@";

/** @throws AegisError TOP_FAILED, NOT_RUNNING */
export async function guestProcesses(home: AegisHome, config: InstanceConfig): Promise<readonly GuestProcessRow[]> {
  const stdout = collect();
  const process = guestTool(["processes", marker]);
  const { exited } = await interact(home, config, { op: "exec", stdin: false, process }, { stdout: stdout.stream });
  const { exitCode, reason } = await exited;
  if (exitCode !== 0) {
    throw new AegisError(
      "TOP_FAILED",
      `the processes of ${config.name} can't be read: ${reason ?? `status ${exitCode}`}`,
      {
        hint: `"aegis stats ${config.name}" counts them`,
      },
    );
  }
  return parseProcesses(stdout.bytes().toString("utf8"), marker);
}

/** What the harness's tool `processes` prints; its own row, which has the marker in it, is left out. */
export function parseProcesses(text: string, between: string): readonly GuestProcessRow[] {
  const [statuses = "", cmdlines = ""] = text.split(`${between}\n`);
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
    .filter((row) => !row.command.includes(between))
    .sort((a, b) => a.pid - b.pid);
}
