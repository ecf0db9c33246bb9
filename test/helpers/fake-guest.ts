/** The guest's end of a control channel, played by a test: says what it is told to, remembers what it hears. */
import { Duplex } from "node:stream";
import { FieldWriter } from "../../src/guest/fields.js";
import { encodeFrame, type Frame, FrameReader, FromGuest, PROTOCOL_VERSION } from "../../src/guest/frames.js";

export class FakeGuest {
  /** For connectGuest. */
  readonly control: Duplex;
  readonly heard: Frame[] = [];
  readonly #reader = new FrameReader();
  #waiting: (() => void)[] = [];

  constructor() {
    this.control = new Duplex({
      read: () => {},
      write: (chunk: Buffer, _encoding, done) => {
        for (const frame of this.#reader.push(chunk))
          this.heard.push({ ...frame, payload: Buffer.from(frame.payload) });
        for (const wake of this.#waiting.splice(0)) wake();
        done();
      },
    });
  }

  say(type: number, stream: number, payload: Uint8Array = new Uint8Array(), flags = 0): void {
    this.control.push(encodeFrame(type, flags, stream, payload));
  }

  raw(bytes: Uint8Array): void {
    this.control.push(bytes);
  }

  hello(version = PROTOCOL_VERSION): void {
    const payload = new FieldWriter()
      .u32(1, version)
      .text(2, "test")
      .text(3, "6.12")
      .u64(4, 2 ** 30)
      .u32(5, 2)
      .finish();
    this.say(FromGuest.hello, 0, payload);
  }

  /** The machine ends. */
  leave(): void {
    this.control.push(null);
  }

  /** The next frame of a type that the host sends, or has sent and nobody took. */
  async hear(type: number): Promise<Frame> {
    for (;;) {
      const at = this.heard.findIndex((frame) => frame.type === type);
      if (at >= 0) return this.heard.splice(at, 1)[0]!;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }
}
