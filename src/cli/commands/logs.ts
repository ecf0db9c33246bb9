import { Command, Option } from "clipanion";
import { type LogLine, readLog } from "../../instance/log.js";
import { filesOf, findInstance, isSupervised } from "../../instance/store.js";
import { usageError } from "../argv.js";
import { AegisCommand } from "../command.js";
import { parseMoment } from "../moments.js";

export default class LogsCommand extends AegisCommand {
  static override paths = [["logs"]];
  static override usage = Command.Usage({
    details: "What the app printed, and lines of aegis's own about it (marked). Secrets are redacted.",
    examples: [["The last ten lines, and what comes", "$0 logs -f --tail 10 web"]],
  });

  name = Option.String({ required: true });
  follow = Option.Boolean("-f,--follow", false, { description: "go on as long as it runs" });
  tail = Option.String("-n,--tail", "all", { description: "how many of the last lines (default all)" });
  since = Option.String("--since", {
    description: "from this moment on: 2026-01-31T10:00:00Z, a unix time, or 10m ago",
  });
  until = Option.String("--until", { description: "up to this moment" });
  timestamps = Option.Boolean("-t,--timestamps", false, { description: "show when each line was printed" });

  override async execute() {
    if (!/^(all|\d+)$/.test(this.tail)) throw usageError(`--tail is a number or all, not "${this.tail}"`, "logs");
    const { config } = await findInstance(this.home, this.name);
    const lines = readLog(filesOf(this.home, config.id).log, {
      tail: this.tail === "all" ? undefined : Number(this.tail),
      since: this.since === undefined ? undefined : parseMoment(this.since),
      until: this.until === undefined ? undefined : parseMoment(this.until),
      follow: this.follow ? () => isSupervised(this.home, config.id) : undefined,
    });
    for await (const line of lines) this.#show(line);
  }

  #show(line: LogLine): void {
    const { stdout, stderr } = this.context;
    if (this.json) {
      stdout.write(`${JSON.stringify(line)}\n`);
      return;
    }
    const stamp = this.timestamps ? `${line.time} ` : "";
    const end = line.partial ? "" : "\n";
    if (line.stream === "aegis") stderr.write(`${stamp}aegis: ${line.text}${end}`);
    else (line.stream === "stdout" ? stdout : stderr).write(`${stamp}${line.text}${end}`);
  }
}
