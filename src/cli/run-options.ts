/** The words of `run`'s options as values. */
import { readFile } from "node:fs/promises";
import { AegisError, hasErrno } from "../support/errors.js";

/**
 * `NAME=value`, and `NAME` alone as it is in this environment (left out when it is not set), as Docker does.
 * @throws AegisError BAD_ENV
 */
export function environmentOf(pairs: readonly string[], env: NodeJS.ProcessEnv): readonly string[] {
  return pairs.flatMap((pair) => {
    const name = pair.split("=", 1)[0]!;
    if (name === "" || /\s/.test(name)) {
      throw new AegisError("BAD_ENV", `"${pair}" does not set an environment variable`, {
        hint: "write -e NAME=value",
      });
    }
    if (pair.includes("=")) return [pair];
    const value = env[name];
    return value === undefined ? [] : [`${name}=${value}`];
  });
}

/** Lines `NAME=value` or `NAME`; `#` starts a comment; values are taken as they are. @throws AegisError ENV_FILE, BAD_ENV */
export async function environmentFile(file: string, env: NodeJS.ProcessEnv): Promise<readonly string[]> {
  const text = await readFile(file, "utf8").catch((cause) => {
    if (!hasErrno(cause, "ENOENT", "EACCES", "EISDIR")) throw cause;
    throw new AegisError("ENV_FILE", `--env-file ${file} can't be read`, { hint: "check the path", cause });
  });
  const lines = text
    .replace(/^\uFEFF/, "")
    .split(/\r?\n/)
    .map((line) => line.trimStart())
    .filter((line) => line !== "" && !line.startsWith("#"));
  return environmentOf(lines, env);
}

/** `key=value` pairs; a key alone has an empty value. */
export const parseLabels = (pairs: readonly string[]): Readonly<Record<string, string>> =>
  Object.fromEntries(
    pairs.map((pair) => {
      const equals = pair.indexOf("=");
      return equals < 0 ? [pair, ""] : [pair.slice(0, equals), pair.slice(equals + 1)];
    }),
  );
