/** A cache has promised a layer and can't give it: what was built on the promise has to be built again. */
export class CacheUnusable extends Error {
  /** The cache, as messages call it. */
  readonly title: string;
  /** The cache never claimed to hold the layer. */
  readonly unheld: boolean;

  constructor(
    message: string,
    options: { readonly title: string; readonly unheld?: boolean; readonly cause?: unknown },
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.title = options.title;
    this.unheld = options.unheld ?? false;
  }

  /** The one that `error` is, or that caused it. */
  static in(error: unknown): CacheUnusable | undefined {
    for (let at = error; at instanceof Error; at = at.cause) if (at instanceof CacheUnusable) return at;
    return undefined;
  }
}
