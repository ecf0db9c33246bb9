/** Who is attached to an instance: each sees the app's output, which the log keeps. */
import type { Readable } from "node:stream";
import type { LogWriter } from "../log.js";
import type { Reply } from "../messages.js";
import { channels } from "../wire.js";
import type { AttachedClient } from "./server.js";

export class AttachedClients {
  readonly #clients = new Set<AttachedClient>();

  /** What is returned detaches it. */
  add(client: AttachedClient): () => void {
    this.#clients.add(client);
    return () => void this.#clients.delete(client);
  }

  /** Hands a stream of the app's on to its end. A foreground client that reads slowly holds the app up, as a terminal would. */
  async pump(stream: Readable, name: "stdout" | "stderr", log: LogWriter): Promise<void> {
    for await (const chunk of stream) {
      log.write(name, chunk as Buffer);
      for (const client of this.#clients) {
        if (client.output && !client.send(channels[name], chunk as Buffer) && client.foreground) await client.drained();
      }
    }
  }

  reply(reply: Reply): void {
    for (const client of this.#clients) client.reply(reply);
  }
}
