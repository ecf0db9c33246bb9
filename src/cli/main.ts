/** Entry point: picks the command, runs it, and is the one place that prints errors and decides the exit status. */
import { hasErrno } from "../support/errors.js";
import { checkPositionals, normaliseArgv, usageError } from "./argv.js";
import { commandsUnder, findCommand } from "./registry.js";
import { exitCodeOf, renderError } from "./render/error.js";

export interface Streams {
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
}

/** Runs one command line and leaves its status in `process.exitCode`. */
export async function run(argv: readonly string[]): Promise<void> {
  // A reader that went away (`aegis logs -f | head`) ends us as SIGPIPE would.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error) => process.exit(hasErrno(error, "EPIPE") ? 141 : 125));
  }
  process.exitCode = await execute(argv, process);
}

/** The exit status of one command line. */
export async function execute(argv: readonly string[], streams: Streams): Promise<number> {
  try {
    return await dispatch(argv, streams);
  } catch (error) {
    const json = / --format[= ]json( |$)/.test(` ${argv.join(" ")}`);
    streams.stderr.write(renderError(error, { json, debug: Boolean(process.env.AEGIS_DEBUG) }));
    return exitCodeOf(error);
  }
}

async function dispatch(argv: readonly string[], streams: Streams): Promise<number> {
  const asked = argv[0] === "help" || argv[0] === "--help" || argv[0] === "-h";
  const words = asked ? argv.slice(1) : argv;
  const found = findCommand(words);
  if (!found) return await overview(words, asked || argv.length === 0, streams);

  const name = found.words.join(" ");
  const [{ default: commandClass }, { commandWith, shapeOf }] = await Promise.all([
    found.entry.load(),
    import("./shape.js"),
  ]);
  const shape = shapeOf(commandClass);
  const { options, positionals, help } = normaliseArgv(found.rest, shape, name);
  if (asked || help) {
    const { commandHelp } = await import("./render/help.js");
    streams.stdout.write(commandHelp(name, found.entry, commandClass, shape));
    return 0;
  }
  checkPositionals(positionals, shape, name);
  const context = { ...streams, env: process.env, colorDepth: 1 };
  const command = commandWith(commandClass, { options, positionals, shape }, context);
  if ("format" in command && !["text", "json", undefined].includes(command.format as string | undefined)) {
    throw usageError(`--format is text or json, not "${command.format}"`, name);
  }
  return (await command.execute()) ?? 0;
}

async function overview(words: readonly string[], asked: boolean, streams: Streams): Promise<number> {
  const { groupHelp } = await import("./render/help.js");
  const typed = words.filter((word) => !word.startsWith("-"));
  const below = typed.length === 0 ? [] : commandsUnder(typed.slice(0, 1));
  if (below.length > 0 && (asked || typed.length === 1)) {
    streams.stdout.write(groupHelp(typed.slice(0, 1)));
    return asked || words.some((word) => word === "--help" || word === "-h") ? 0 : 125;
  }
  if (typed.length === 0 && (asked || words.length === 0)) {
    streams.stdout.write(groupHelp([]));
    return 0;
  }
  if (typed.length === 0 || words[0] !== typed[0]) throw usageError(`unknown option ${words[0]}`, "");
  const { nearest } = await import("./suggest.js");
  const wanted = typed.slice(0, below.length > 0 ? 2 : 1).join(" ");
  const close = nearest(wanted, commandsUnder([]));
  throw usageError(`"${wanted}" is not a command of aegis`, "", close && `did you mean "aegis ${close}"?`);
}
