import { Option } from "clipanion";
import { AegisCommand } from "../command.js";
import { completions } from "../completions.js";

/** What the scripts of `completion` call: the words of the line so far, the last one unfinished. */
export default class CompleteCommand extends AegisCommand {
  static override paths = [["__complete"]];
  static override passThrough = true;

  words = Option.Rest();

  override async execute() {
    this.context.stdout.write((await completions(this.words, () => this.home)).map((word) => `${word}\n`).join(""));
  }
}
