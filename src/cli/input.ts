/** What commands read from the person or the pipe in front of them. */
import { Readable } from "node:stream";
import { maxDockerfileBytes } from "../dockerfile/types.js";
import { AegisError } from "../support/errors.js";

/** What comes on a stream; no more than `most` bytes of it and what came with the last of them, where that is told. */
export async function readAll(stream: Readable, most = Number.POSITIVE_INFINITY): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stream) {
    chunks.push(Buffer.from(chunk));
    length += chunks.at(-1)!.length;
    if (length > most) break;
  }
  return Buffer.concat(chunks);
}

/** What `build` was handed on standard input: a Dockerfile, or a context in a tar, told by its beginning. */
export async function buildInput(
  wanted: "dockerfile" | "either" | undefined,
  stdin: Readable,
): Promise<{ readonly text?: Uint8Array; readonly archive?: AsyncIterable<Uint8Array> }> {
  if (wanted === undefined) return {};
  if (wanted === "dockerfile") return { text: await readAll(stdin, maxDockerfileBytes) };
  const [{ peek }, { sniffCompression }] = await Promise.all([
    import("../oci/archive/source.js"),
    import("../oci/compression/decompress.js"),
  ]);
  const { head, all } = await peek(stdin, 512);
  if (sniffCompression(head) !== "none" || head.includes(0)) return { archive: all };
  return { text: await readAll(Readable.from(all), maxDockerfileBytes) };
}

/** Asks on the terminal without echo. @throws AegisError INTERRUPTED on Ctrl-C */
export async function promptHidden(question: string): Promise<string> {
  const { stdin, stderr } = process;
  stderr.write(question);
  stdin.setRawMode(true);
  let line = "";
  try {
    for await (const chunk of stdin) {
      for (const character of String(chunk)) {
        if (character === "\r" || character === "\n" || character === "\u0004") return line;
        if (character === "\u0003") throw new AegisError("INTERRUPTED", "interrupted", { exitCode: 130 });
        line = character === "\u007f" || character === "\b" ? line.slice(0, -1) : line + character;
      }
    }
    return line;
  } finally {
    stdin.setRawMode(false);
    stderr.write("\n");
  }
}

/** Asks a question on the terminal that "y" agrees to. @throws AegisError USAGE where nobody can be asked */
export async function confirm(question: string): Promise<boolean> {
  const { stdin, stderr } = process;
  if (!stdin.isTTY) {
    throw new AegisError("USAGE", "there is no terminal to ask on", { hint: "say that you mean it with --force" });
  }
  const { createInterface } = await import("node:readline/promises");
  const lines = createInterface({ input: stdin, output: stderr });
  try {
    return /^y(es)?$/i.test((await lines.question(`${question} [y/N] `)).trim());
  } finally {
    lines.close();
  }
}
