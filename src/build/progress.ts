/** Numbers the steps of a build and times them, so that reporters only draw. */
import { CacheUnusable } from "./cache/unusable.js";
import type { BuildEvent, Report } from "./types.js";

export interface StepHandle {
  readonly step: number;
  output(stream: "stdout" | "stderr", chunk: Uint8Array): void;
  note(text: string): void;
  /** `cached`: what it would have done was there already. */
  done(cached?: boolean): void;
  failed(error: unknown): void;
}

export class Progress {
  #steps = 0;
  #cached = 0;

  constructor(readonly report: Report) {}

  /** Steps of the Dockerfile that made a layer, and how many of them came from the cache. */
  get counts(): { readonly steps: number; readonly cached: number } {
    return { steps: this.#layers, cached: this.#cached };
  }
  #layers = 0;

  readonly #warned = new Set<string>();

  /** Once for each warning, however often a build starts over. */
  warn(warning: Omit<Extract<BuildEvent, { type: "warning" }>, "type">): void {
    const text = JSON.stringify(warning);
    if (this.#warned.has(text)) return;
    this.#warned.add(text);
    this.report({ type: "warning", ...warning });
  }

  start(title: string, options: { readonly layer?: boolean } = {}): StepHandle {
    const step = ++this.#steps;
    const since = performance.now();
    if (options.layer) this.#layers++;
    this.report({ type: "started", step, title });
    return {
      step,
      output: (stream, chunk) => this.report({ type: "output", step, stream, chunk }),
      note: (text) => this.report({ type: "note", step, text }),
      done: (cached = false) => {
        if (cached && options.layer) this.#cached++;
        this.report({ type: "finished", step, cached, ms: performance.now() - since });
      },
      failed: (error) => {
        // A step that a cache let down is not lost: it is done again.
        const canceled =
          (error instanceof Error && error.name === "AbortError") || CacheUnusable.in(error) !== undefined;
        this.report({
          type: "failed",
          step,
          message: error instanceof Error ? error.message : String(error),
          canceled,
        });
      },
    };
  }

  /** Runs `body` as a step. */
  async during<T>(title: string, body: (step: StepHandle) => Promise<T>): Promise<T> {
    const step = this.start(title);
    try {
      const result = await body(step);
      step.done();
      return result;
    } catch (error) {
      step.failed(error);
      throw error;
    }
  }
}
