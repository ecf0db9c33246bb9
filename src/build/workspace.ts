/** What one run holds and gives back at its end, however it ends: a temporary directory of its own, open files, locks. */
import { mkdir, rm } from "node:fs/promises";
import path from "node:path";
import { sweepTemporary, temporaryPath } from "../support/files.js";
import type { AegisHome } from "../support/home.js";

export class Workspace implements AsyncDisposable {
  readonly #resources: Disposable[] = [];
  #directory: Promise<string> | undefined;
  #count = 0;

  constructor(readonly home: AegisHome) {}

  /** A fresh path; the directory is made when the first is asked for. */
  async temporary(name: string): Promise<string> {
    this.#directory ??= this.#create();
    return path.join(await this.#directory, `${++this.#count}-${name}`);
  }

  closeAtEnd(resource: Disposable): void {
    this.#resources.push(resource);
  }

  /** What a killed run left goes first. */
  async #create(): Promise<string> {
    const { tmp } = this.home;
    await sweepTemporary(tmp);
    const directory = temporaryPath(tmp, "build");
    await mkdir(directory, { mode: 0o700 });
    return directory;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const resource of this.#resources.splice(0)) resource[Symbol.dispose]();
    if (this.#directory) await rm(await this.#directory, { recursive: true, force: true });
  }
}
