/**
 * Frames between a command and a supervisor on its unix socket: 4 bytes length (big-endian, of what follows), 1 byte channel,
 * payload. Channel 0 carries JSON messages, the others the bytes of the process's streams. One connection is one operation.
 */
import type { Duplex } from "node:stream";
import { AegisError } from "../support/errors.js";

export const channels = { message: 0, stdin: 1, stdout: 2, stderr: 3 } as const;

/** An empty frame on `stdin` means its end. */
export interface Frame {
  readonly channel: number;
  readonly payload: Buffer;
}

const headBytes = 5;
const maxPayload = 1 << 20;

export function encodeFrame(channel: number, payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(headBytes + payload.length);
  frame.writeUInt32BE(payload.length + 1, 0);
  frame[4] = channel;
  frame.set(payload, headBytes);
  return frame;
}

export const encodeMessage = (message: object): Buffer =>
  encodeFrame(channels.message, Buffer.from(JSON.stringify(message)));

/** Reassembles frames from chunks of any size. */
export class FrameDecoder {
  #held: Buffer = Buffer.alloc(0);

  /** @throws AegisError WIRE for a frame longer than any that is sent */
  *push(chunk: Buffer): Generator<Frame> {
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    while (this.#held.length >= headBytes) {
      const length = this.#held.readUInt32BE(0);
      if (length < 1 || length > maxPayload + 1)
        throw new AegisError("WIRE", `a frame of ${length} bytes on the control socket`);
      if (this.#held.length < 4 + length) return;
      const frame = { channel: this.#held[4]!, payload: this.#held.subarray(headBytes, 4 + length) };
      this.#held = this.#held.subarray(4 + length);
      yield frame;
    }
  }
}

/** Writes one stream's bytes as frames; false when the socket asks for a pause. */
export function writeChunk(socket: Duplex, channel: number, chunk: Uint8Array): boolean {
  let room = true;
  for (let at = 0; at < chunk.length; at += maxPayload) {
    room = socket.write(encodeFrame(channel, chunk.subarray(at, at + maxPayload)));
  }
  return room;
}

export const parseMessage = <T>(frame: Frame): T => JSON.parse(frame.payload.toString("utf8")) as T;
