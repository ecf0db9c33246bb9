import { createInterface } from "node:readline/promises";
import { Command, Option } from "clipanion";
import { AegisError } from "../../support/errors.js";
import { AegisCommand } from "../command.js";
import { registryOptions } from "../images.js";
import { promptHidden, readAll } from "../input.js";

export default class LoginCommand extends AegisCommand {
  static override paths = [["login"]];
  static override usage = Command.Usage({
    details:
      "The credentials are tried first, then kept where Docker keeps them: the credential helper, or config.json.",
    examples: [
      ["Docker Hub, asking for everything", "$0 login"],
      ["From a script", "$0 login -u me --password-stdin ghcr.io < token"],
    ],
  });

  server = Option.String({ required: false });
  username = Option.String("-u,--username", { description: "user name" });
  password = Option.String("-p,--password", { description: "password; better: --password-stdin" });
  passwordStdin = Option.Boolean("--password-stdin", false, { description: "read the password from standard input" });

  override async execute() {
    const { login, registryDomain } = await import("../../oci/registry/login.js");
    const domain = registryDomain(this.server);
    if (this.password !== undefined && this.passwordStdin) {
      throw new AegisError("USAGE", "--password and --password-stdin exclude each other");
    }
    if (this.passwordStdin && this.username === undefined) {
      throw new AegisError("USAGE", "--password-stdin needs --username");
    }
    if (this.password !== undefined) this.note("aegis: other users can see --password; use --password-stdin");
    const username = this.username ?? (await this.#ask(`User name for ${domain}: `));
    const password = await this.#password(username);
    if (username === "" || password === "") throw new AegisError("USAGE", "user name and password must not be empty");
    const where = await login(domain, { kind: "basic", username, password }, registryOptions(this.home));
    this.print({ registry: domain, username, stored: where }, () => `Login succeeded; kept in ${where}`);
  }

  async #password(username: string): Promise<string> {
    if (this.password !== undefined) return this.password;
    if (this.passwordStdin) return (await readAll(this.context.stdin)).toString("utf8").replace(/\r?\n$/, "");
    this.#needTerminal();
    return await promptHidden(`Password of ${username}: `);
  }

  async #ask(question: string): Promise<string> {
    this.#needTerminal();
    const lines = createInterface({ input: process.stdin, output: process.stderr });
    try {
      return (await lines.question(question)).trim();
    } finally {
      lines.close();
    }
  }

  #needTerminal(): void {
    if (process.stdin.isTTY) return;
    throw new AegisError("USAGE", "there is no terminal to ask on", { hint: "use --username and --password-stdin" });
  }
}
