/** Words that may come next on a command line. */
import { listInstances } from "../instance/store.js";
import { isActive } from "../instance/types.js";
import type { AegisHome } from "../support/home.js";
import { commandsUnder, findCommand } from "./registry.js";
import { shapeOf } from "./shape.js";

const forRunning = ["attach", "exec", "kill", "pause", "port", "resume", "restart", "stats", "stop", "top", "wait"];
const forAny = ["inspect", "logs", "rename", "rm", "start", "commit", "diff", "export", "cp"];
const forImages = ["run", "rmi", "tag", "push", "save", "history", "image inspect"];

/** @param words the line after `aegis`; the last word is being typed */
export async function completions(words: readonly string[], home: () => AegisHome): Promise<readonly string[]> {
  const typed = words.at(-1) ?? "";
  const before = words.slice(0, -1);
  const found = findCommand(before);
  if (!found) {
    // One word of a command's name at a time: `secret`, then `set`.
    const names = commandsUnder(before).map((name) => name.split(" ")[before.length]);
    return starting(typed, [...new Set(names.filter((name) => name !== undefined))]);
  }
  const { default: commandClass } = await found.entry.load();
  if (typed.startsWith("-")) {
    const options = shapeOf(commandClass).options.filter((option) => !option.hidden);
    return starting(typed, [...options.flatMap((option) => option.names.filter((n) => n.startsWith("--"))), "--help"]);
  }
  const name = found.words.join(" ");
  if (forRunning.includes(name) || forAny.includes(name)) {
    const instances = await listInstances(home());
    const fit = instances.filter(({ state }) => forAny.includes(name) || isActive(state.status));
    return starting(
      typed,
      fit.map(({ config }) => config.name),
    );
  }
  if (name === "secret rm") {
    const { openSecretStore } = await import("../secrets/store.js");
    const secrets = await openSecretStore(home().secrets).list();
    return starting(
      typed,
      secrets.map((secret) => secret.name),
    );
  }
  if (!forImages.includes(name)) return [];
  const [{ withStore }, { familiarName }] = await Promise.all([import("./images.js"), import("../oci/references.js")]);
  const images = await withStore(home(), (store) => store.list());
  return starting(
    typed,
    images.flatMap((image) => image.names.map((each) => familiarName(each))),
  );
}

const starting = (typed: string, words: readonly string[]) => words.filter((word) => word.startsWith(typed)).sort();
