import type { SelfCommand } from "../instance/launch.js";

/** How this very aegis is started again, for supervisors. */
export const selfCommand = (): SelfCommand => [process.execPath, process.argv[1]!];
