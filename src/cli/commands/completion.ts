import { Command, Option } from "clipanion";
import { AegisError } from "../../support/errors.js";
import { AegisCommand } from "../command.js";

const shells = ["bash", "zsh", "fish"] as const;

export default class CompletionCommand extends AegisCommand {
  static override paths = [["completion"]];
  static override usage = Command.Usage({
    details:
      "The script asks aegis itself for words, so it knows the commands, options and instances of the version in use.",
    examples: [
      ["For this bash", 'eval "$($0 completion bash)"'],
      ["For every fish", "$0 completion fish > ~/.config/fish/completions/aegis.fish"],
    ],
  });

  shell = Option.String({ required: true });

  override async execute() {
    const shell = shells.find((name) => name === this.shell);
    if (!shell) {
      throw new AegisError("BAD_SHELL", `there is no completion for "${this.shell}"`, {
        hint: `it is ${shells.join(", ")}`,
      });
    }
    this.print({ script: scripts[shell] }, ({ script }) => script);
  }
}

const scripts: Readonly<Record<(typeof shells)[number], string>> = {
  bash: `_aegis() {
  local IFS=$'\\n'
  COMPREPLY=($(compgen -W "$(aegis __complete "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _aegis aegis
`,
  zsh: `#compdef aegis
_aegis() {
  local -a words_
  words_=("\${(@f)$(aegis __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  compadd -a words_ || _files
}
compdef _aegis aegis
`,
  fish: `complete -c aegis -a '(set -l words (commandline -opc) (commandline -ct); aegis __complete $words[2..] 2>/dev/null)'
`,
};
