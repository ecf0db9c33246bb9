/** Tagged fields inside a message's payload (harness/PROTOCOL.md, "Fields"). Reading is bounded by the bytes at hand. */

/** Collects fields; nested ones are made with a writer of their own. */
export class FieldWriter {
  readonly #parts: Uint8Array[] = [];

  bytes(tag: number, value: Uint8Array): this {
    const header = Buffer.alloc(6);
    header.writeUInt16LE(tag, 0);
    header.writeUInt32LE(value.length, 2);
    this.#parts.push(header, value);
    return this;
  }

  text(tag: number, value: string): this {
    return this.bytes(tag, Buffer.from(value, "utf8"));
  }

  u32(tag: number, value: number): this {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    return this.bytes(tag, bytes);
  }

  u64(tag: number, value: bigint | number): this {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    return this.bytes(tag, bytes);
  }

  nested(tag: number, fill: (writer: FieldWriter) => void): this {
    const inner = new FieldWriter();
    fill(inner);
    return this.bytes(tag, inner.finish());
  }

  finish(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

/** What a guest sent is not what the protocol allows. */
export class MalformedMessage extends Error {
  override readonly name = "MalformedMessage";
}

/** The fields of one message; a tag that comes twice keeps its first value, unknown tags are left alone. */
export class Fields {
  readonly #values = new Map<number, Buffer>();

  /** @throws MalformedMessage when the bytes are not fields */
  constructor(payload: Buffer) {
    let at = 0;
    while (at < payload.length) {
      if (payload.length - at < 6) throw new MalformedMessage("a field is cut short");
      const tag = payload.readUInt16LE(at);
      const length = payload.readUInt32LE(at + 2);
      at += 6;
      if (length > payload.length - at) throw new MalformedMessage("a field is longer than its message");
      if (!this.#values.has(tag)) this.#values.set(tag, payload.subarray(at, at + length));
      at += length;
    }
  }

  has(tag: number): boolean {
    return this.#values.has(tag);
  }

  /** Text for people: cut at `limit` bytes, invalid UTF-8 replaced, control characters made harmless. */
  text(tag: number, limit = 4096): string | undefined {
    return this.#values
      .get(tag)
      ?.subarray(0, limit)
      .toString("utf8")
      .replaceAll(/[\x00-\x08\x0b-\x1f\x7f]/g, "\uFFFD");
  }

  u32(tag: number): number | undefined {
    const value = this.#values.get(tag);
    if (value === undefined) return undefined;
    if (value.length !== 4) throw new MalformedMessage("a 32-bit field has another width");
    return value.readUInt32LE();
  }

  /** A 64-bit count as a number; what is beyond 2^53 is taken as 2^53 - 1. */
  u64(tag: number): number | undefined {
    const value = this.#values.get(tag);
    if (value === undefined) return undefined;
    if (value.length !== 8) throw new MalformedMessage("a 64-bit field has another width");
    return Math.min(Number(value.readBigUInt64LE()), Number.MAX_SAFE_INTEGER);
  }

  nested(tag: number): Fields | undefined {
    const value = this.#values.get(tag);
    return value === undefined ? undefined : new Fields(value);
  }
}
