export declare class BaseImageError extends Error {
  readonly code: string;
  readonly hint: string;
}
export declare function defaultCacheDir(env?: NodeJS.ProcessEnv): string;
export declare function ensureBaseImage(ref: string, options?: { cacheDir?: string | undefined }): Promise<string>;
