/** The two ways in which a filesystem can be refused. */
import { AegisError } from "../support/errors.js";

/** The bytes contradict the format or themselves. */
export function corrupt(what: string, details?: Readonly<Record<string, unknown>>): AegisError {
  return new AegisError("EXT4_CORRUPT", `the filesystem is damaged: ${what}`, {
    hint: "e2fsck -fn tells more",
    ...(details ? { details } : {}),
  });
}

/** The format is right but this reader doesn't know that part of it. */
export function unsupported(what: string): AegisError {
  return new AegisError("EXT4_UNSUPPORTED", `the filesystem uses ${what}, which can't be read`);
}
