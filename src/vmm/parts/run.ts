/** Runs a program to its end, for what is asked once in a while: versions, package managers. */
import { execFile } from "node:child_process";

export interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Never rejects: a program that can't be started has code 127. */
export function runProgram(
  program: string,
  args: readonly string[],
  options: { readonly env?: NodeJS.ProcessEnv; readonly cwd?: string } = {},
): Promise<Output> {
  return new Promise((resolve) => {
    execFile(
      program,
      [...args],
      { ...options, encoding: "utf8", maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) => {
        const code = error ? (typeof error.code === "number" ? error.code : 127) : 0;
        resolve({ code, stdout, stderr: stderr || (error?.message ?? "") });
      },
    );
  });
}
