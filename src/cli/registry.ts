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
  __complete: {
    category: "System",
    summary: "Words that may follow",
    load: () => import("./commands/complete.js"),
    hidden: true,
  },
  __supervise: {
    category: "System",
    summary: "Be the supervisor of an instance",
    load: () => import("./commands/supervise.js"),
    hidden: true,
  },
  completion: {
    category: "System",
    summary: "Print a completion script for bash, zsh or fish",
    load: () => import("./commands/completion.js"),
  },
  cp: {
    category: "Run",
    summary: "Copy files into and out of a running instance",
    load: () => import("./commands/cp.js"),
  },
  commit: {
    category: "Images",
    summary: "Make an image of what an instance has changed",
    load: () => import("./commands/commit.js"),
  },
  diff: {
    category: "Inspect",
    summary: "List the files that an instance has changed",
    load: () => import("./commands/diff.js"),
  },
  export: {
    category: "Images",
    summary: "Write an instance's or image's files as a tar or a disk",
    load: () => import("./commands/export.js"),
  },
  top: { category: "Inspect", summary: "List the processes in an instance", load: () => import("./commands/top.js") },
  build: {
    category: "Build",
    summary: "Build an image from a Dockerfile or Aegisfile",
    load: () => import("./commands/build.js"),
  },
  doctor: {
    category: "System",
    summary: "Show what aegis relies on, and mend it",
    load: () => import("./commands/doctor.js"),
  },
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
  prune: {
    category: "Images",
    summary: "Remove images and content that nothing needs",
    load: () => import("./commands/prune.js"),
  },
  pull: { category: "Images", summary: "Pull an image from a registry", load: () => import("./commands/pull.js") },
  push: { category: "Images", summary: "Push an image to a registry", load: () => import("./commands/push.js") },
  rmi: { category: "Images", summary: "Remove images", load: () => import("./commands/rmi.js") },
  save: { category: "Images", summary: "Save images to an archive", load: () => import("./commands/save.js") },
  attach: {
    category: "Run",
    summary: "Show the output of a running instance and pass input on",
    load: () => import("./commands/attach.js"),
  },
  exec: { category: "Run", summary: "Run a command in a running instance", load: () => import("./commands/exec.js") },
  kill: { category: "Run", summary: "Send a signal to an instance's app", load: () => import("./commands/kill.js") },
  pause: {
    category: "Run",
    summary: "Stop an instance's virtual processors",
    load: () => import("./commands/pause.js"),
  },
  rename: { category: "Run", summary: "Give an instance another name", load: () => import("./commands/rename.js") },
  restart: { category: "Run", summary: "Stop and start instances", load: () => import("./commands/restart.js") },
  resume: { category: "Run", summary: "Continue paused instances", load: () => import("./commands/resume.js") },
  rm: { category: "Run", summary: "Remove instances with their disks", load: () => import("./commands/rm.js") },
  run: { category: "Run", summary: "Boot an image as a microVM", load: () => import("./commands/run.js") },
  start: { category: "Run", summary: "Start instances that are down", load: () => import("./commands/start.js") },
  stop: { category: "Run", summary: "Stop running instances", load: () => import("./commands/stop.js") },
  wait: {
    category: "Run",
    summary: "Wait for instances to end and print their exit status",
    load: () => import("./commands/wait.js"),
  },
  inspect: {
    category: "Inspect",
    summary: "Everything about instances, as JSON",
    load: () => import("./commands/inspect.js"),
  },
  logs: { category: "Inspect", summary: "What an instance's app printed", load: () => import("./commands/logs.js") },
  port: { category: "Inspect", summary: "Published ports of an instance", load: () => import("./commands/port.js") },
  ps: { category: "Inspect", summary: "List instances", load: () => import("./commands/ps.js") },
  stats: {
    category: "Inspect",
    summary: "Processor, memory, network and disk use of running instances",
    load: () => import("./commands/stats.js"),
  },
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
  "system df": {
    category: "System",
    summary: "Show what images, disks and instances take on disk",
    load: () => import("./commands/system/df.js"),
  },
  "volume create": {
    category: "Secrets and volumes",
    summary: "Create a volume",
    load: () => import("./commands/volume/create.js"),
  },
  "volume inspect": {
    category: "Secrets and volumes",
    summary: "Show volumes as JSON",
    load: () => import("./commands/volume/inspect.js"),
  },
  "volume ls": {
    category: "Secrets and volumes",
    summary: "List volumes",
    load: () => import("./commands/volume/ls.js"),
  },
  "volume prune": {
    category: "Secrets and volumes",
    summary: "Remove volumes that no instance mounts",
    load: () => import("./commands/volume/prune.js"),
  },
  "volume rm": {
    category: "Secrets and volumes",
    summary: "Remove volumes with their content",
    load: () => import("./commands/volume/rm.js"),
  },
  tag: { category: "Images", summary: "Give an image another name", load: () => import("./commands/tag.js") },
  version: { category: "System", summary: "Print the version", load: () => import("./commands/version.js") },
};

/** What people coming from Docker type, and what it is called here. */
const aliases: Readonly<Record<string, string>> = {
  "--version": "version",
  "-v": "version",
  unpause: "resume",
  "image history": "history",
  "image import": "import",
  "image load": "load",
  "image ls": "images",
  "image prune": "prune",
  "image pull": "pull",
  "image push": "push",
  "image rm": "rmi",
  "image save": "save",
  "image tag": "tag",
};

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
