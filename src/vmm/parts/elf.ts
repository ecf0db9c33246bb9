/**
 * Wraps a raw kernel into an ELF64 file that boots two ways: libkrun enters at e_entry, QEMU at the address in the PVH note
 * (Xen's xen/include/public/elfnote.h, XEN_ELFNOTE_PHYS32_ENTRY).
 */

export interface RawKernel {
  readonly bytes: Uint8Array;
  /** Physical address of its first byte. */
  readonly load: bigint;
  /** 64-bit entry point. */
  readonly entry: bigint;
}

const HEADER_SIZE = 64;
const PROGRAM_HEADER_SIZE = 56;
const ET_EXEC = 2;
const EM_X86_64 = 62;
const PT_LOAD = 1;
const PT_NOTE = 4;
const READ_WRITE_EXECUTE = 7;
const READ = 4;
const XEN_ELFNOTE_PHYS32_ENTRY = 18;
/** Where the kernel starts in the file: page aligned, as loaders that map it expect. */
const CONTENT_OFFSET = 4096;

/** Headers and kernel of the ELF file, to be written one after the other. */
export function wrapKernel(kernel: RawKernel): readonly [Buffer, Uint8Array] {
  const head = Buffer.alloc(CONTENT_OFFSET);
  head.set([0x7f, 0x45, 0x4c, 0x46, 2 /* 64-bit */, 1 /* little-endian */, 1 /* version */]);
  head.writeUInt16LE(ET_EXEC, 16);
  head.writeUInt16LE(EM_X86_64, 18);
  head.writeUInt32LE(1, 20);
  head.writeBigUInt64LE(kernel.entry, 24);
  head.writeBigUInt64LE(BigInt(HEADER_SIZE), 32);
  head.writeUInt16LE(HEADER_SIZE, 52);
  head.writeUInt16LE(PROGRAM_HEADER_SIZE, 54);
  head.writeUInt16LE(2, 56);

  // The PVH entry is the 32-bit one, which a kernel built for it has at its very start.
  const note = pvhNote(kernel.load);
  const noteOffset = HEADER_SIZE + 2 * PROGRAM_HEADER_SIZE;
  writeProgramHeader(head, HEADER_SIZE, {
    type: PT_LOAD,
    flags: READ_WRITE_EXECUTE,
    offset: CONTENT_OFFSET,
    address: kernel.load,
    size: kernel.bytes.length,
    align: CONTENT_OFFSET,
  });
  writeProgramHeader(head, HEADER_SIZE + PROGRAM_HEADER_SIZE, {
    type: PT_NOTE,
    flags: READ,
    offset: noteOffset,
    address: 0n,
    size: note.length,
    align: 4,
  });
  head.set(note, noteOffset);
  return [head, kernel.bytes];
}

function pvhNote(entry: bigint): Buffer {
  const note = Buffer.alloc(24);
  note.writeUInt32LE(4, 0);
  note.writeUInt32LE(8, 4);
  note.writeUInt32LE(XEN_ELFNOTE_PHYS32_ENTRY, 8);
  note.write("Xen\0", 12, "latin1");
  note.writeBigUInt64LE(entry, 16);
  return note;
}

interface ProgramHeader {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly address: bigint;
  readonly size: number;
  readonly align: number;
}

function writeProgramHeader(out: Buffer, at: number, header: ProgramHeader): void {
  out.writeUInt32LE(header.type, at);
  out.writeUInt32LE(header.flags, at + 4);
  out.writeBigUInt64LE(BigInt(header.offset), at + 8);
  out.writeBigUInt64LE(header.address, at + 16);
  out.writeBigUInt64LE(header.address, at + 24);
  out.writeBigUInt64LE(BigInt(header.size), at + 32);
  out.writeBigUInt64LE(BigInt(header.size), at + 40);
  out.writeBigUInt64LE(BigInt(header.align), at + 48);
}
