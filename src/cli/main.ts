/** Entry point: picks the command, runs it, and is the one place that prints errors and decides the exit status. */
import { Builtins, Cli } from "clipanion";
import { loadersFor } from "./registry.js";
import { exitCodeOf, renderError } from "./render/error.js";

export async function run(argv: readonly string[]): Promise<void> {
  const cli = new Cli({ binaryName: "aegis", binaryLabel: "aegis" });
  cli.register(Builtins.HelpCommand);
  for (const loaded of await Promise.all(loadersFor(argv).map((load) => load()))) cli.register(loaded.default);
  try {
    const command = cli.process([...argv], { stdin: process.stdin, stdout: process.stdout, stderr: process.stderr });
    process.exitCode = await cli.run(command);
  } catch (error) {
    process.stderr.write(renderError(error, { json: argv.includes("json"), debug: Boolean(process.env.AEGIS_DEBUG) }));
    process.exitCode = exitCodeOf(error);
  }
}
