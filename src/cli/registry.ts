/**
 * Every command's words and where it lives. Only the module that the arguments name is loaded, so `aegis ps` does not pay
 * for the builder.
 */
import type { CommandClass } from "clipanion";

type Loader = () => Promise<{ readonly default: CommandClass }>;

export const commands: Readonly<Record<string, Loader>> = {
  version: () => import("./commands/version.js"),
};

/** Loaders whose words are a prefix of `argv` (the longest), or all of them for help and for mistakes. */
export function loadersFor(argv: readonly string[]): readonly Loader[] {
  const words = argv.filter((word) => !word.startsWith("-"));
  for (let length = Math.min(3, words.length); length > 0; length--) {
    const loader = commands[words.slice(0, length).join(" ")];
    if (loader) return [loader];
  }
  return Object.values(commands);
}
