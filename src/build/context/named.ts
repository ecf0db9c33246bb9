/** Names of contexts: those of images, for which they stand in. */
import { familiarName, normaliseReference } from "../../oci/references.js";
import { AegisError } from "../../support/errors.js";
import type { BuildRequest, NamedContext } from "../types.js";

/** `docker.io/library/node:latest` and `node` are one name. @throws AegisError BAD_REFERENCE */
export const contextName = (text: string): string => familiarName(normaliseReference(text)).replace(/:latest$/, "");

/** The context that stands in for an image or a stage of this name. */
export function namedContext({ contexts }: Pick<BuildRequest, "contexts">, name: string): NamedContext | undefined {
  if (Object.keys(contexts).length === 0) return undefined;
  try {
    return contexts[contextName(name)];
  } catch (error) {
    // What can't be an image's name is no context's either; who needs an image says so.
    if (error instanceof AegisError && error.code === "BAD_REFERENCE") return undefined;
    throw error;
  }
}
