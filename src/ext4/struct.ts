/** On-disk structures as tables of fields, so that a layout can be laid beside the kernel's documentation. */

type Kind = "u8" | "u16" | "u32" | "be32";

interface NumberField {
  readonly kind: Kind;
  readonly offset: number;
}
interface BytesField {
  readonly kind: "bytes";
  readonly offset: number;
  readonly length: number;
}
type Field = NumberField | BytesField;

const number = (kind: Kind) => (offset: number) => ({ kind, offset }) as const;

export const u8 = number("u8");
export const u16 = number("u16");
export const u32 = number("u32");
/** Big-endian, as jbd2 stores its integers. */
export const be32 = number("be32");
export const bytes = (offset: number, length: number) => ({ kind: "bytes", offset, length }) as const;

export type Decoded<F extends Readonly<Record<string, Field>>> = {
  [K in keyof F]: F[K] extends BytesField ? Uint8Array : number;
};

export interface Struct<F extends Readonly<Record<string, Field>>> {
  /** Fields of the structure that starts at `at`; byte fields are copies. */
  decode(buffer: Buffer, at?: number): Decoded<F>;
  /** Writes the given fields; what isn't given stays as it is. */
  encode(values: Partial<Decoded<F>>, buffer: Buffer, at?: number): void;
}

export function struct<const F extends Readonly<Record<string, Field>>>(fields: F): Struct<F> {
  const entries = Object.entries(fields);
  return {
    decode(buffer, at = 0) {
      const values: Record<string, number | Uint8Array> = {};
      for (const [name, field] of entries) values[name] = get(buffer, at, field);
      return values as Decoded<F>;
    },
    encode(values, buffer, at = 0) {
      for (const [name, value] of Object.entries(values)) set(buffer, at, fields[name]!, value as number | Uint8Array);
    },
  };
}

function get(buffer: Buffer, at: number, field: Field): number | Uint8Array {
  const offset = at + field.offset;
  switch (field.kind) {
    case "u8":
      return buffer.readUInt8(offset);
    case "u16":
      return buffer.readUInt16LE(offset);
    case "u32":
      return buffer.readUInt32LE(offset);
    case "be32":
      return buffer.readUInt32BE(offset);
    case "bytes":
      return Uint8Array.from(buffer.subarray(offset, offset + field.length));
  }
}

function set(buffer: Buffer, at: number, field: Field, value: number | Uint8Array): void {
  const offset = at + field.offset;
  if (typeof value !== "number") {
    if (field.kind !== "bytes" || value.length > field.length) throw new RangeError("value does not fit its field");
    buffer.set(value, offset);
    return;
  }
  switch (field.kind) {
    case "u8":
      buffer.writeUInt8(value, offset);
      break;
    case "u16":
      buffer.writeUInt16LE(value, offset);
      break;
    case "u32":
      buffer.writeUInt32LE(value, offset);
      break;
    case "be32":
      buffer.writeUInt32BE(value, offset);
      break;
    case "bytes":
      throw new RangeError("a byte field takes bytes");
  }
}
