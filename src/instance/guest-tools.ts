/** Tools that the harness brings along (harness/src/tools.h), so that nothing is asked of the image. */
import type { ExecRequest } from "./messages.js";

/** A command beside the app; being privileged is what lets it open the program of process 1. */
export const guestTool = (argv: readonly string[]): ExecRequest => ({
  argv: ["/proc/1/exe", ...argv],
  env: [],
  user: "0:0",
  cwd: "/",
  size: undefined,
  privileged: true,
});
