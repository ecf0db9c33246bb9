import { Command, Option } from "clipanion";
import { formatPort } from "../../instance/ports.js";
import { listInstances } from "../../instance/store.js";
import { type Instance, isActive } from "../../instance/types.js";
import { AegisCommand } from "../command.js";
import { instanceFilter } from "../filters.js";
import { formatAge, statusLine } from "../render/instance.js";

export default class PsCommand extends AegisCommand {
  static override paths = [["ps"]];
  static override usage = Command.Usage({
    details: "Filters: name, id, status, label, ancestor, exited.",
    examples: [["All that failed", "$0 ps -a --filter status=exited"]],
  });

  all = Option.Boolean("-a,--all", false, { description: "also those that are down" });
  quiet = Option.Boolean("-q,--quiet", false, { description: "only ids" });
  filter = Option.Array("-f,--filter", [], { description: "key=value (repeatable)" });
  last = Option.Boolean("-l,--latest", false, { description: "only the one created last" });
  noTrunc = Option.Boolean("--no-trunc", false, { description: "whole commands" });

  override async execute() {
    const { matches, asksForDown } = instanceFilter(this.filter);
    const found = (await listInstances(this.home))
      .filter((instance) => this.all || this.last || asksForDown || isActive(instance.state.status))
      .filter(matches)
      .reverse();
    const shown = this.last ? found.slice(0, 1) : found;
    if (this.quiet) {
      this.print(
        shown.map(({ config }) => config.id),
        (ids) => ids.join("\n"),
      );
    } else if (this.json) {
      this.print(shown.map(summary), () => "");
    } else {
      this.printTable(shown, {
        columns: [
          { title: "NAME", value: ({ config }) => config.name },
          { title: "IMAGE", value: ({ config }) => config.image.reference },
          { title: "COMMAND", value: ({ config }) => this.#command(config.process.argv) },
          { title: "CREATED", value: ({ config }) => `${formatAge(config.createdAt)} ago` },
          { title: "STATUS", value: statusLine },
          { title: "PORTS", value: ({ config }) => config.ports.map(formatPort).join(", ") },
        ],
      });
    }
  }

  #command(argv: readonly string[]): string {
    const text = JSON.stringify(argv.join(" "));
    return this.noTrunc || text.length <= 24 ? text : `${text.slice(0, 22)}…"`;
  }
}

const summary = ({ config, state }: Instance) => ({
  id: config.id,
  name: config.name,
  image: config.image.reference,
  command: config.process.argv,
  createdAt: config.createdAt,
  status: state.status,
  exitCode: state.exitCode,
  startedAt: state.startedAt,
  finishedAt: state.finishedAt,
  ports: config.ports,
  labels: config.labels,
});
