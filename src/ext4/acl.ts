/**
 * POSIX access control lists: the form that the xattr system calls use (version 2, eight bytes an entry, linux
 * posix_acl_xattr.h) and the one on disk (version 1, no ids where the tag implies them, fs/ext4/acl.h).
 */

const DISK_VERSION = 1;
const XATTR_VERSION = 2;
const NO_ID = 0xffffffff;
/** ACL_USER and ACL_GROUP: the tags that name somebody. */
const named = (tag: number): boolean => tag === 0x02 || tag === 0x08;

/** From the system calls' form to the disk's; undefined when it is malformed. */
export function aclToDisk(value: Uint8Array): Buffer | undefined {
  const input = asBuffer(value);
  if (input.length < 4 || (input.length - 4) % 8 !== 0 || input.readUInt32LE(0) !== XATTR_VERSION) return undefined;
  const output = Buffer.alloc(input.length);
  output.writeUInt32LE(DISK_VERSION, 0);
  let to = 4;
  for (let from = 4; from < input.length; from += 8) {
    input.copy(output, to, from, from + 4);
    to += 4;
    if (!named(input.readUInt16LE(from))) continue;
    input.copy(output, to, from + 4, from + 8);
    to += 4;
  }
  return output.subarray(0, to);
}

/** From the disk's form to the system calls'; undefined when it is malformed. */
export function aclFromDisk(value: Uint8Array): Buffer | undefined {
  const input = asBuffer(value);
  if (input.length < 4 || input.readUInt32LE(0) !== DISK_VERSION) return undefined;
  const output = Buffer.alloc(4 + (input.length - 4) * 2);
  output.writeUInt32LE(XATTR_VERSION, 0);
  let to = 4;
  for (let from = 4; from < input.length; to += 8) {
    if (from + 4 > input.length) return undefined;
    const hasId = named(input.readUInt16LE(from));
    input.copy(output, to, from, from + 4);
    from += 4;
    if (hasId && from + 4 > input.length) return undefined;
    output.writeUInt32LE(hasId ? input.readUInt32LE(from) : NO_ID, to + 4);
    if (hasId) from += 4;
  }
  return output.subarray(0, to);
}

const asBuffer = (value: Uint8Array): Buffer => Buffer.from(value.buffer, value.byteOffset, value.byteLength);
