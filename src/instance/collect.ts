import { Writable } from "node:stream";
import { AegisError } from "../support/errors.js";

export interface Collector {
  readonly stream: Writable;
  bytes(): Buffer;
}

/** Keeps what is written, up to a bound: it comes from a guest. */
export function collect(maxBytes = 8 << 20): Collector {
  const chunks: Buffer[] = [];
  let size = 0;
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      size += chunk.length;
      if (size > maxBytes) return done(new AegisError("TOO_MUCH_OUTPUT", `the guest sent more than ${maxBytes} bytes`));
      chunks.push(chunk);
      done();
    },
  });
  stream.on("error", () => undefined);
  return { stream, bytes: () => Buffer.concat(chunks) };
}
