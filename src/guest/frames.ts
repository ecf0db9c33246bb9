/** Frames of the control channel (harness/PROTOCOL.md, "Frames"): their numbers, and bytes to frames and back. */
import { MalformedMessage } from "./fields.js";

export const PROTOCOL_VERSION = 1;
export const FRAME_HEADER = 12;
export const MAX_PAYLOAD = 64 * 1024;
/** Longest boot configuration or process specification that the guest takes. */
export const MAX_MESSAGE = 8 * 1024 * 1024;
/** Bytes of output that a guest may send per stream and channel before it is granted more. */
export const OUTPUT_WINDOW = 256 * 1024;
/** Bytes of input that the host may send per stream before it is granted more. */
export const INPUT_WINDOW = 64 * 1024;

export const ToGuest = {
  boot: 0x10,
  exec: 0x11,
  signal: 0x12,
  resize: 0x13,
  stdin: 0x14,
  stdinEnd: 0x15,
  credit: 0x16,
  stats: 0x20,
  clock: 0x21,
  sync: 0x22,
  shutdown: 0x23,
} as const;

export const FromGuest = {
  hello: 0x80,
  ok: 0x81,
  error: 0x82,
  output: 0x83,
  outputEnd: 0x84,
  exit: 0x85,
  stdinCredit: 0x86,
  event: 0x87,
  connect: 0x88,
} as const;

/** Streams that the guest opens have this bit. */
export const GUEST_STREAM = 0x8000_0000;

const moreFlag = 1;

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export function encodeFrame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(FRAME_HEADER + payload.length);
  frame.writeUInt8(type, 0);
  frame.writeUInt8(flags, 1);
  frame.writeUInt16LE(0, 2);
  frame.writeUInt32LE(stream, 4);
  frame.writeUInt32LE(payload.length, 8);
  frame.set(payload, FRAME_HEADER);
  return frame;
}

/** A message that may be longer than a frame (boot, exec): all but its last frame say that more follows. */
export function encodeMessage(type: number, stream: number, payload: Uint8Array): Buffer[] {
  const frames: Buffer[] = [];
  let at = 0;
  do {
    const end = Math.min(at + MAX_PAYLOAD, payload.length);
    frames.push(encodeFrame(type, end < payload.length ? moreFlag : 0, stream, payload.subarray(at, end)));
    at = end;
  } while (at < payload.length);
  return frames;
}

/** Takes bytes as they arrive, gives whole frames; holds at most one frame's bytes. */
export class FrameReader {
  #pending: Buffer = Buffer.alloc(0);

  /** @throws MalformedMessage when the bytes are no frame of this protocol */
  *push(chunk: Buffer): Generator<Frame> {
    let bytes = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    while (bytes.length >= FRAME_HEADER) {
      const length = bytes.readUInt32LE(8);
      if (bytes.readUInt16LE(2) !== 0 || length > MAX_PAYLOAD)
        throw new MalformedMessage("a frame's header is invalid");
      if (bytes.length < FRAME_HEADER + length) break;
      yield {
        type: bytes[0]!,
        flags: bytes[1]!,
        stream: bytes.readUInt32LE(4),
        payload: bytes.subarray(FRAME_HEADER, FRAME_HEADER + length),
      };
      bytes = bytes.subarray(FRAME_HEADER + length);
    }
    this.#pending = bytes.length === 0 ? bytes : Buffer.from(bytes);
  }
}
