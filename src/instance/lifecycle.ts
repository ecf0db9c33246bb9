/** What commands do to instances that exist. */
import { setTimeout as sleep } from "node:timers/promises";
import { AegisError } from "../support/errors.js";
import type { AegisHome } from "../support/home.js";
import { control } from "./client.js";
import type { StatsReply } from "./messages.js";
import { checkInstanceName } from "./names.js";
import {
  deleteInstance,
  findByName,
  findInstance,
  isSupervised,
  lockForChange,
  readInstance,
  withNames,
  writeConfig,
} from "./store.js";
import { type Instance, isActive } from "./types.js";

/** Stops an instance and waits until nothing of it runs; false when it was down already. */
export async function stopInstance(
  home: AegisHome,
  nameOrId: string,
  options: { readonly signal?: number | undefined; readonly graceMs?: number | undefined } = {},
): Promise<boolean> {
  const { config, state } = await findInstance(home, nameOrId);
  if (!isActive(state.status)) return false;
  await orGone(control(home, config, { op: "stop", ...options }));
  await untilDown(home, config.id);
  return true;
}

/** Sends a signal to the app; SIGKILL also ends an instance whose guest does not answer. @throws AegisError NOT_RUNNING */
export async function killInstance(home: AegisHome, nameOrId: string, signal: number): Promise<void> {
  const { config } = await findInstance(home, nameOrId);
  await control(home, config, { op: "kill", signal });
  if (signal === 9) await untilDown(home, config.id);
}

/** Waits for an instance to be down; its exit status. */
export async function waitForExit(home: AegisHome, nameOrId: string): Promise<Instance> {
  const { config } = await findInstance(home, nameOrId);
  let last = await readInstance(home, config.id);
  while (last && isActive(last.state.status)) {
    await sleep(100);
    // An ephemeral instance is gone once it has ended: the last state that was seen is what is left.
    last = (await readInstance(home, config.id)) ?? { ...last, state: { ...last.state, status: "exited" } };
  }
  return last ?? (await findInstance(home, config.id));
}

/** @throws AegisError NOT_RUNNING */
export async function pauseInstance(home: AegisHome, nameOrId: string): Promise<void> {
  const { config } = await findInstance(home, nameOrId);
  await control(home, config, { op: "pause" });
}

/** @throws AegisError NOT_RUNNING */
export async function resumeInstance(home: AegisHome, nameOrId: string): Promise<void> {
  const { config } = await findInstance(home, nameOrId);
  await control(home, config, { op: "resume" });
}

/** @throws AegisError NOT_RUNNING, PAUSED */
export async function instanceStats(home: AegisHome, instance: Instance): Promise<StatsReply> {
  const { stats } = await control(home, instance.config, { op: "stats" });
  if (!stats) throw new AegisError("WIRE", "the supervisor answered without statistics");
  return stats;
}

/** Removes an instance with its disks. @throws AegisError STILL_RUNNING */
export async function removeInstance(home: AegisHome, nameOrId: string, force: boolean): Promise<void> {
  const { config } = await findInstance(home, nameOrId);
  for (;;) {
    const change = await lockForChange(home, config.id);
    try {
      const current = await readInstance(home, config.id);
      if (!current) return;
      if (!isActive(current.state.status)) {
        await untilDown(home, config.id);
        await deleteInstance(home, config.id);
        return;
      }
    } finally {
      change.release();
    }
    if (!force) {
      throw new AegisError("STILL_RUNNING", `${config.name} is running`, {
        hint: `stop it first (aegis stop ${config.name}), or remove it all the same: aegis rm -f ${config.name}`,
      });
    }
    await orGone(control(home, config, { op: "stop", signal: 9, graceMs: 0 }));
    await untilDown(home, config.id);
  }
}

/** @throws AegisError NAME_TAKEN, INSTANCE_NAME */
export async function renameInstance(home: AegisHome, nameOrId: string, name: string): Promise<void> {
  checkInstanceName(name);
  await withNames(home, async () => {
    const { config } = await findInstance(home, nameOrId);
    const other = await findByName(home, name);
    if (other && other.config.id !== config.id) {
      throw new AegisError("NAME_TAKEN", `there is an instance ${name} already`, {
        hint: `remove it first: aegis rm ${name}`,
      });
    }
    await writeConfig(home, { ...config, name });
  });
}

/** Until the supervisor has let go of everything. */
async function untilDown(home: AegisHome, id: Instance["config"]["id"]): Promise<void> {
  for (let pause = 5; await isSupervised(home, id); pause = Math.min(pause * 1.5, 100)) await sleep(pause);
}

/** A supervisor that ends before it answers has done what was asked. */
async function orGone(asked: Promise<unknown>): Promise<void> {
  await asked.catch((error: unknown) => {
    if (!(error instanceof AegisError) || (error.code !== "NOT_RUNNING" && error.code !== "SUPERVISOR_DIED"))
      throw error;
  });
}
