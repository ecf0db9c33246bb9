/**
 * The supervisor: one detached process per instance, for as long as the instance is up. It owns the machine and its network,
 * writes the log and the state, and answers commands on its socket. When it dies, however it dies, so does the machine.
 */
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { GuestEvent, GuestProcess } from "../../guest/types.js";
import { createRedactor } from "../../secrets/redact.js";
import type { InstanceId } from "../../support/brands.js";
import { deferred } from "../../support/deferred.js";
import { AegisError } from "../../support/errors.js";
import { type AegisHome, removeSocketDirectory } from "../../support/home.js";
import { acquireLock, type HeldLock } from "../../support/locks.js";
import type { ExitStory } from "../exits.js";
import { type LogWriter, openLogWriter } from "../log.js";
import type { ExecRequest, LaunchEvent, LaunchPayload, StatsReply, TerminalSize } from "../messages.js";
import { toWireError } from "../messages.js";
import { nextRestart } from "../restart.js";
import { deleteInstance, filesOf, type InstanceFiles, readInstance } from "../store.js";
import type { InstanceConfig } from "../types.js";
import { lockVolume } from "../volumes.js";
import { execSpec, type SecretValues } from "./boot.js";
import { AttachedClients } from "./clients.js";
import { type IdleWatch, idleWatch } from "./idle.js";
import type { Parts } from "./parts.js";
import { RecordedState } from "./recorded-state.js";
import { type AttachedClient, type Controls, serve } from "./server.js";
import { type LiveMachine, runSession } from "./session.js";

export interface SuperviseOptions {
  readonly payload: LaunchPayload;
  readonly parts: Parts;
  /** Tells the command that launched this; its death is no reason to stop. */
  readonly report: (event: LaunchEvent) => void;
  /** Resolves when the launching command is gone: nobody will attach any more. */
  readonly launcherGone: Promise<void>;
  /** Aborts when the host wants this process to end. */
  readonly terminate: AbortSignal;
}

/** Runs an instance to its end. Never throws for what the instance does; that is recorded. */
export async function supervise(home: AegisHome, id: InstanceId, options: SuperviseOptions): Promise<void> {
  const files = filesOf(home, id);
  const lock = await acquireLock(files.runLock);
  try {
    const instance = await readInstance(home, id);
    if (!instance) throw new AegisError("INSTANCE_UNKNOWN", `there is no instance ${id}`);
    await new Supervisor(home, instance.config, files, options).run();
  } catch (error) {
    options.report({ type: "failed", error: toWireError(error) });
  } finally {
    lock.release();
  }
}

/** INT, QUIT, KILL, TERM: sent by hand they mean that the app shall not come back. */
const endingSignals: ReadonlySet<number> = new Set([2, 3, 9, 15]);

class Supervisor implements Controls {
  readonly #secrets: SecretValues;
  readonly #log: LogWriter;
  readonly #clients = new AttachedClients();
  readonly #state: RecordedState;
  readonly #abort = new AbortController();
  #live: LiveMachine | undefined;
  #idle: IdleWatch | undefined;
  #stopping = false;
  /** What ended it when it was stopped before its app ran. */
  #endedBy = 9;
  #uses = 0;
  #lastUse = Date.now();
  #foreground = deferred<TerminalSize | undefined>();
  #ended = deferred<void>();
  #wakeRestart: (() => void) | undefined;
  #inputEnded = false;
  /** Resolves when the app of this boot runs, or never will. */
  #begun = deferred<void>();

  constructor(
    readonly home: AegisHome,
    readonly config: InstanceConfig,
    readonly files: InstanceFiles,
    readonly options: SuperviseOptions,
  ) {
    const secrets = options.payload.secrets.map(({ name, base64 }) => ({ name, value: Buffer.from(base64, "base64") }));
    this.#secrets = new Map(secrets.map(({ name, value }) => [name, value]));
    this.#state = new RecordedState(home, config.id);
    this.#log = openLogWriter(files.log, createRedactor(secrets));
    if (!options.payload.attach) this.#foreground.resolve(undefined);
    void options.launcherGone.then(() => this.#foreground.resolve(undefined));
  }

  get memoryBytes(): number {
    return this.config.memoryBytes;
  }

  async run(): Promise<void> {
    const volumeLocks: HeldLock[] = [];
    let story: ExitStory | undefined;
    const server = await serve(this.files, this);
    const terminate = () => void this.stop({}).catch(() => undefined);
    this.options.terminate.addEventListener("abort", terminate, { once: true });
    try {
      await this.#state.change({ startedAt: new Date().toISOString() });
      this.options.report({ type: "listening" });
      for (const volume of this.config.volumes) {
        if (volume.kind === "volume") volumeLocks.push(await lockVolume(this.home, volume.name));
      }
      story = await this.#runUntilDown();
    } catch (error) {
      story = await this.#failed(error);
    } finally {
      this.options.terminate.removeEventListener("abort", terminate);
      for (const lock of volumeLocks) lock.release();
      this.#log.flush();
      await this.#end(story);
      server.close();
      await this.#cleanUp();
      const { error } = this.#state.now;
      this.#clients.reply(
        story ? { exit: story } : { error: { exitCode: 125, message: "", code: "INTERNAL", ...error } },
      );
      this.#begun.resolve();
      this.#ended.resolve();
      this.#log.close();
    }
  }

  /** Boots, and boots again as the restart policy says. */
  async #runUntilDown(): Promise<ExitStory> {
    let history = { count: 0, delayMs: 0 };
    for (;;) {
      const began = Date.now();
      const story = await this.#boot();
      this.#log.flush();
      if (story.reason) this.#say(story.reason);
      const stoppedByUser = this.#stopping;
      const next = nextRestart(
        this.config.restart,
        { exitCode: story.exitCode, ranMs: Date.now() - began, stoppedByUser },
        history,
      );
      if (!next) return story;
      history = next;
      this.#say(`restarting in ${next.delayMs / 1000} s (exit status ${story.exitCode}, restart ${next.count})`);
      await this.#state.change({
        status: "starting",
        restartCount: next.count,
        exitCode: story.exitCode,
        reason: story.reason,
      });
      await this.#pauseBeforeRestart(next.delayMs);
      if (this.#stopping) return story;
    }
  }

  async #pauseBeforeRestart(delayMs: number): Promise<void> {
    const cancelled = new Promise<void>((resolve) => {
      this.#wakeRestart = resolve;
    });
    const timer = new AbortController();
    await Promise.race([sleep(delayMs, undefined, { signal: timer.signal }).catch(() => undefined), cancelled]);
    timer.abort();
    this.#wakeRestart = undefined;
  }

  async #boot(): Promise<ExitStory> {
    let output: Promise<unknown> = Promise.resolve();
    try {
      return await runSession(
        this.home,
        this.config,
        this.#secrets,
        this.options.parts,
        {
          ready: () => this.#foreground.promise,
          started: async (machine) => {
            await this.#state.change({ vmmPid: machine.pid, driver: machine.driver });
          },
          live: async (live) => {
            this.#live = live;
            output = Promise.all([
              this.#clients.pump(live.app.stdout, "stdout", this.#log),
              this.#clients.pump(live.app.stderr, "stderr", this.#log),
            ]);
            live.app.stdin.on("error", () => undefined);
            if (!this.config.process.openStdin || this.#inputEnded) live.app.stdin.end();
            await this.#state.change({ status: "running", startedAt: new Date().toISOString() });
            this.options.report({ type: "running" });
            this.#begun.resolve();
            this.#idle = idleWatch(this.config, live, this.#idleControls());
          },
          event: (event) => this.#guestEvent(event),
        },
        this.#abort.signal,
      );
    } finally {
      this.#idle?.end();
      this.#idle = undefined;
      this.#live = undefined;
      this.#begun.resolve();
      this.#begun = deferred();
      await output.catch(() => undefined);
    }
  }

  #guestEvent(event: GuestEvent): void {
    if (event.type === "errorlog") this.#say(`${event.path}: ${event.line}`);
    else if (event.type === "warning") this.#say(event.message);
    else if (event.type === "oom")
      this.#say(`the guest's kernel killed ${event.name} (pid ${event.pid}): out of memory`);
  }

  #say(text: string): void {
    this.#log.say(text);
  }

  async #failed(error: unknown): Promise<ExitStory | undefined> {
    // A stop while it was booting is no failure.
    if (this.#stopping) {
      const exitCode = 128 + this.#endedBy;
      const stopped = new AegisError("STOPPED", `${this.config.name} was stopped while it booted`, { exitCode });
      this.options.report({ type: "failed", error: toWireError(stopped) });
      return { exitCode, oomKilled: false };
    }
    const { code, message, hint } = toWireError(error);
    this.#say(`${message} [AEGIS_E_${code}]`);
    if (!(error instanceof AegisError))
      process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
    await this.#state.change({ exitCode: 125, error: { code, message, hint } });
    this.options.report({ type: "failed", error: toWireError(error) });
    return undefined;
  }

  async #end(story: ExitStory | undefined): Promise<void> {
    await this.#state.change({
      status: "exited",
      finishedAt: new Date().toISOString(),
      supervisorPid: undefined,
      vmmPid: undefined,
      pausedBy: undefined,
      stoppedByUser: this.#stopping || undefined,
      ...(story ? { exitCode: story.exitCode, oomKilled: story.oomKilled || undefined, reason: story.reason } : {}),
    });
  }

  async #cleanUp(): Promise<void> {
    if (this.config.autoRemove) await deleteInstance(this.home, this.config.id);
    removeSocketDirectory(this.files.socketDir);
  }

  // Controls: what commands ask for.

  attach(client: AttachedClient): () => void {
    const detach = this.#clients.add(client);
    if (client.foreground) this.#foreground.resolve(client.size);
    else if (client.size) this.resize(client.size);
    return detach;
  }

  async exec(request: ExecRequest): Promise<GuestProcess> {
    const { guest } = this.#running();
    if (this.#state.now.pausedBy === "hand") throw this.#paused();
    await this.#wake();
    return await guest.exec(execSpec(this.config, this.#secrets, request));
  }

  async stop(options: { readonly signal?: number | undefined; readonly graceMs?: number | undefined }): Promise<void> {
    this.#stopping = true;
    this.#wakeRestart?.();
    this.#foreground.resolve(undefined);
    const live = this.#live;
    if (!live) this.#abort.abort(new AegisError("STOPPED", `${this.config.name} was stopped while it booted`));
    else {
      await this.#state.change({ status: "stopping" });
      if (this.#state.now.pausedBy) await live.machine.resume();
      const graceMs = options.graceMs ?? this.config.stopGraceMs;
      // A guest that does not obey loses its power.
      const cut = setTimeout(() => void live.machine.kill().catch(() => undefined), graceMs + 15_000);
      void this.#ended.promise.then(() => clearTimeout(cut));
      void live.guest.shutdown({ signal: options.signal ?? this.config.stopSignal, graceMs }).catch(() => undefined);
    }
    await this.#ended.promise;
  }

  async kill(signal: number): Promise<void> {
    const ends = endingSignals.has(signal) || signal === this.config.stopSignal;
    if (ends) {
      this.#stopping = true;
      this.#endedBy = signal;
      this.#wakeRestart?.();
    }
    if (!ends) await this.#begun.promise;
    if (this.#live) {
      await this.#wake();
      this.#live?.app.kill(signal);
    } else if (ends) {
      this.#abort.abort(new AegisError("STOPPED", `${this.config.name} was killed while it booted`));
    }
  }

  async pause(): Promise<void> {
    const { machine } = this.#running();
    await machine.pause();
    await this.#state.change({ status: "paused", pausedBy: "hand" });
  }

  async resume(): Promise<void> {
    const { machine, guest } = this.#running();
    await machine.resume();
    await guest.setClock().catch(() => undefined);
    this.#lastUse = Date.now();
    await this.#state.change({ status: "running", pausedBy: undefined });
    await this.#idle?.release();
  }

  /** Work for a paused guest starts it again. */
  async #wake(): Promise<void> {
    if (this.#state.now.pausedBy) await this.resume();
  }

  async stats(): Promise<StatsReply> {
    const { guest, machine } = this.#running();
    if (this.#state.now.pausedBy) throw this.#paused();
    const status = await readFile(`/proc/${machine.pid}/status`, "utf8").catch(() => "");
    const resident = Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
    return {
      ...(await guest.stats()),
      memoryBytes: this.config.memoryBytes,
      cpus: this.config.cpus,
      hostBytes: resident,
    };
  }

  /** One that was paused by hand stands still already, with what it has not written yet. */
  async hold(): Promise<() => Promise<void>> {
    const { guest } = this.#running();
    if (this.#state.now.pausedBy === "hand") return async () => undefined;
    const idle = this.busy();
    try {
      await this.#wake();
      await guest.sync();
      await this.pause();
    } finally {
      idle();
    }
    return async () => {
      if (this.#live && this.#state.now.pausedBy) await this.resume();
    };
  }

  async writeStdin(chunk: Buffer): Promise<void> {
    await this.#begun.promise;
    const stdin = this.#live?.app.stdin;
    if (!stdin || !this.config.process.openStdin || stdin.destroyed) return;
    if (!stdin.write(chunk)) await new Promise((resolve) => stdin.once("drain", resolve).once("close", resolve));
  }

  endStdin(): void {
    this.#inputEnded = true;
    this.#live?.app.stdin.end();
  }

  resize({ rows, cols }: TerminalSize): void {
    this.#live?.app.resize(rows, cols);
  }

  busy(): () => void {
    this.#uses++;
    return () => {
      this.#uses--;
      this.#lastUse = Date.now();
    };
  }

  #paused(): AegisError {
    return new AegisError("PAUSED", `${this.config.name} is paused`, { hint: `aegis resume ${this.config.name}` });
  }

  #running(): LiveMachine {
    if (this.#live) return this.#live;
    throw new AegisError("NOT_RUNNING", `${this.config.name} is not running`, {
      hint: `aegis start ${this.config.name}`,
    });
  }

  #idleControls() {
    return {
      inUse: () => this.#uses > 0,
      lastUse: () => this.#lastUse,
      paused: () => this.#state.now.pausedBy,
      pause: async () => {
        await this.#running().machine.pause();
        await this.#state.change({ status: "paused", pausedBy: "idle" });
      },
      resume: () => this.#wake(),
      say: (text: string) => this.#say(text),
    };
  }
}
