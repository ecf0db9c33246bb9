/** Branded strings, so that values that look alike can't be mixed up. */

declare const brand: unique symbol;
type Branded<T, B extends string> = T & { readonly [brand]: B };

/** `sha256:<64 lower-case hex>`, the digest of stored bytes (OCI image spec, descriptor.md "Digests"). */
export type Digest = Branded<string, "Digest">;
/** Digest of a layer's uncompressed tar. */
export type DiffId = Branded<string, "DiffId">;
/** Identity of a stack of layers (OCI image spec, config.md "Layer ChainID"). */
export type ChainId = Branded<string, "ChainId">;
/** 12 lower-case hex digits. */
export type InstanceId = Branded<string, "InstanceId">;
/** Absolute path inside a guest or image root. */
export type GuestPath = Branded<string, "GuestPath">;

/**
 * Raw bytes carried in a string: each UTF-16 code unit is one byte (the latin1 view). File names on Linux are bytes, not
 * text; this keeps them exact, comparable and usable as map keys.
 */
export type ByteString = Branded<string, "ByteString">;

export const bytesOf = (text: ByteString): Buffer => Buffer.from(text, "latin1");
export const byteString = (bytes: Uint8Array): ByteString =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1") as ByteString;
/** UTF-8 text to its bytes. */
export const encodeText = (text: string): ByteString => Buffer.from(text, "utf8").toString("latin1") as ByteString;
/** Bytes to text for messages; invalid UTF-8 becomes U+FFFD. */
export const decodeText = (bytes: ByteString): string => Buffer.from(bytes, "latin1").toString("utf8");
