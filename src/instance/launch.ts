/** Starts a supervisor as a detached process and hears from it how far it has come. */
import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import type { ResolvedSecret } from "../secrets/resolve.js";
import type { InstanceId } from "../support/brands.js";
import { AegisError } from "../support/errors.js";
import type { AegisHome } from "../support/home.js";
import { fromWireError, type LaunchEvent, type LaunchPayload } from "./messages.js";
import { filesOf } from "./store.js";

/** Program and first arguments with which aegis can start itself. */
export type SelfCommand = readonly [string, ...string[]];

/** The hidden command that becomes a supervisor. */
export const superviseWord = "__supervise";

export interface Launched {
  /** Resolves when the app runs. @throws AegisError whatever kept it from running */
  readonly running: Promise<void>;
  /** Lets go of the supervisor, so that this process may end. */
  release(): void;
}

/**
 * Resolves when the supervisor holds the instance and listens. Secrets go through a pipe. The environment is cut down to what
 * the machine's parts need: an inherited variable may be a secret, and environments can be read in /proc.
 */
export async function launchSupervisor(
  home: AegisHome,
  id: InstanceId,
  self: SelfCommand,
  options: { readonly secrets: readonly ResolvedSecret[]; readonly attach: boolean },
): Promise<Launched> {
  const log = openSync(filesOf(home, id).supervisorLog, "w", 0o600);
  const [program, ...first] = self;
  const child = spawn(program, [...first, superviseWord, id], {
    detached: true,
    cwd: "/",
    env: { ...plainEnvironment(process.env), AEGIS_HOME: home.root },
    stdio: ["pipe", log, log, "pipe"],
  });
  closeSync(log);
  const payload: LaunchPayload = {
    attach: options.attach,
    secrets: options.secrets.map(({ request, value }) => ({ name: request.name, base64: value.toString("base64") })),
  };
  const events = child.stdio[3] as Readable;
  const heard = follow(events, child);
  child.stdin?.on("error", () => undefined);
  child.stdin?.end(JSON.stringify(payload));
  await heard.listening;
  return {
    running: heard.running,
    release() {
      child.unref();
      events.destroy();
    },
  };
}

function follow(events: Readable, child: ReturnType<typeof spawn>) {
  let settleListening: (error?: Error) => void = () => undefined;
  let settleRunning: (error?: Error) => void = () => undefined;
  const promise = (take: (settle: (error?: Error) => void) => void) =>
    new Promise<void>((resolve, reject) => take((error) => (error ? reject(error) : resolve())));
  const listening = promise((settle) => {
    settleListening = settle;
  });
  const running = promise((settle) => {
    settleRunning = settle;
  });
  running.catch(() => undefined);
  const fail = (error: Error) => {
    settleListening(error);
    settleRunning(error);
  };
  child.once("error", (cause) => fail(supervisorDied(`could not be started`, cause)));
  const lines = createInterface({ input: events });
  lines.on("line", (line) => {
    const event = JSON.parse(line) as LaunchEvent;
    if (event.type === "listening") settleListening();
    else if (event.type === "running") settleRunning();
    else fail(fromWireError(event.error));
  });
  lines.on("close", () => fail(supervisorDied("ended without a word")));
  events.on("error", () => undefined);
  return { listening, running };
}

const supervisorDied = (what: string, cause?: unknown) =>
  new AegisError("SUPERVISOR_DIED", `the instance's supervisor ${what}`, {
    hint: "its last words are in supervisor.log in the instance's directory (aegis inspect tells where)",
    cause,
  });

const kept =
  /^(PATH|HOME|USER|LOGNAME|LANG|LC_.*|TZ|TMPDIR|XDG_RUNTIME_DIR|LD_LIBRARY_PATH|DYLD_.*|NO_COLOR|AEGIS_.*)$/;

const plainEnvironment = (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(env).filter(([name]) => kept.test(name)));
