/**
 * Every command's words, its line in the overview, and where it lives. Only the module that the arguments name is loaded, so
 * `aegis ps` does not pay for the builder, nor `aegis --help` for anything.
 */
import type { CommandClass } from "clipanion";

export interface CommandEntry {
  readonly category: "Build" | "Run" | "Inspect" | "Images" | "Secrets and volumes" | "System";
  /** One line, for the overview and the head of the command's own help. */
  readonly summary: string;
  readonly load: () => Promise<{ readonly default: CommandClass }>;
  /** Not shown in the overview. */
  readonly hidden?: boolean;
}

export const commands: Readonly<Record<string, CommandEntry>> = {
  history: { category: "Images", summary: "Show how an image came to be", load: () => import("./commands/history.js") },
  "image inspect": {
    category: "Images",
    summary: "Show an image's config and manifest",
    load: () => import("./commands/image/inspect.js"),
  },
  images: { category: "Images", summary: "List images", load: () => import("./commands/images.js") },
  import: {
    category: "Images",
    summary: "Make an image of a root filesystem's tarball",
    load: () => import("./commands/import.js"),
  },
  load: { category: "Images", summary: "Load images from an archive", load: () => import("./commands/load.js") },
  login: { category: "Images", summary: "Log in to a registry", load: () => import("./commands/login.js") },
  logout: { category: "Images", summary: "Forget the login to a registry", load: () => import("./commands/logout.js") },
  pull: { category: "Images", summary: "Pull an image from a registry", load: () => import("./commands/pull.js") },
  push: { category: "Images", summary: "Push an image to a registry", load: () => import("./commands/push.js") },
  rmi: { category: "Images", summary: "Remove images", load: () => import("./commands/rmi.js") },
  save: { category: "Images", summary: "Save images to an archive", load: () => import("./commands/save.js") },
  "secret ls": {
    category: "Secrets and volumes",
    summary: "List the names of stored secrets",
    load: () => import("./commands/secret/ls.js"),
  },
  "secret rm": {
    category: "Secrets and volumes",
    summary: "Remove stored secrets",
    load: () => import("./commands/secret/rm.js"),
  },
  "secret set": {
    category: "Secrets and volumes",
    summary: "Store a secret, read from the terminal or standard input",
    load: () => import("./commands/secret/set.js"),
  },
  tag: { category: "Images", summary: "Give an image another name", load: () => import("./commands/tag.js") },
  version: { category: "System", summary: "Print the version", load: () => import("./commands/version.js") },
};

/** What people coming from Docker type, and what it is called here. */
const aliases: Readonly<Record<string, string>> = { "--version": "version", "-v": "version" };

export interface FoundCommand {
  readonly words: readonly string[];
  readonly entry: CommandEntry;
  /** Arguments after the command's words. */
  readonly rest: readonly string[];
}

/** The command whose words `argv` begins with, the longest that fits. */
export function findCommand(argv: readonly string[]): FoundCommand | undefined {
  for (let length = Math.min(3, argv.length); length > 0; length--) {
    const typed = argv.slice(0, length).join(" ");
    const name = Object.hasOwn(aliases, typed) ? aliases[typed]! : typed;
    const entry = Object.hasOwn(commands, name) ? commands[name] : undefined;
    if (entry) return { words: name.split(" "), entry, rest: argv.slice(length) };
  }
  return undefined;
}

/** Commands that start with `words`: `aegis secret` alone leads to all of `secret ...`. */
export function commandsUnder(words: readonly string[]): readonly string[] {
  const prefix = words.length === 0 ? "" : `${words.join(" ")} `;
  return Object.keys(commands).filter((name) => name.startsWith(prefix) && !commands[name]!.hidden);
}
