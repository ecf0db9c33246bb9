import { Command, Option } from "clipanion";
import { resolveSecrets } from "../../../secrets/resolve.js";
import { checkSecretName, parseSecretFlag } from "../../../secrets/spec.js";
import { openSecretStore } from "../../../secrets/store.js";
import { AegisError } from "../../../support/errors.js";
import { AegisCommand } from "../../command.js";
import { promptHidden, readAll } from "../../input.js";

export default class SecretSetCommand extends AegisCommand {
  static override paths = [["secret", "set"]];
  static override usage = Command.Usage({
    details: `The value is read from standard input, or asked for on a terminal. It is never an argument: arguments are
      visible to every process of the machine. One newline at the end is dropped.`,
    examples: [
      ["Ask for the value", "$0 secret set OPENAI_API_KEY"],
      ["From a pipe", "pass show openai | $0 secret set OPENAI_API_KEY"],
      ["From a variable of this shell", "$0 secret set --from-env OPENAI_API_KEY OPENAI_API_KEY"],
    ],
  });

  name = Option.String({ required: true });
  fromFile = Option.String("--from-file", { description: "read the value from this file, byte for byte" });
  fromEnv = Option.String("--from-env", { description: "take the value of this environment variable" });

  override async execute() {
    const created = await openSecretStore(this.home.secrets).set(this.name, await this.#value());
    this.print({ name: this.name, created }, (it) => `${it.name} ${it.created ? "stored" : "replaced"}`);
  }

  async #value(): Promise<Buffer> {
    checkSecretName(this.name);
    const source = this.fromFile
      ? ({ kind: "file", path: this.fromFile } as const)
      : this.fromEnv
        ? ({ kind: "env", variable: this.fromEnv } as const)
        : undefined;
    if (source) {
      const store = openSecretStore(this.home.secrets);
      const [resolved] = await resolveSecrets([{ ...parseSecretFlag(this.name), source }], { store, env: process.env });
      return resolved!.value;
    }
    const value = process.stdin.isTTY
      ? Buffer.from(await promptHidden(`value of ${this.name}: `))
      : withoutNewline(await readAll(process.stdin));
    if (value.length > 0) return value;
    throw new AegisError("SECRET_EMPTY", `no value came for ${this.name}`, {
      hint: "type it at the prompt, or pipe it in",
    });
  }
}

const withoutNewline = (value: Buffer) =>
  value.at(-1) === 0x0a ? value.subarray(0, value.at(-2) === 0x0d ? -2 : -1) : value;
