import type { BuildOptions } from "esbuild";
export declare function bundle(options: BuildOptions): Promise<void>;
