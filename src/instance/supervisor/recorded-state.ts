/** An instance's state as its supervisor knows it, and as it is on disk for everybody else. */
import type { InstanceId } from "../../support/brands.js";
import type { AegisHome } from "../../support/home.js";
import { writeState } from "../store.js";
import type { InstanceState } from "../types.js";

export class RecordedState {
  #state: InstanceState = { schema: 1, status: "starting", supervisorPid: process.pid };
  #saving: Promise<void> = Promise.resolve();

  constructor(
    readonly home: AegisHome,
    readonly id: InstanceId,
  ) {}

  get now(): InstanceState {
    return this.#state;
  }

  /** Counts at once; resolves when it is on disk. Writes are queued, so that the last one is the one that stays. */
  change(change: Partial<InstanceState>): Promise<void> {
    this.#state = { ...this.#state, ...change };
    const state = this.#state;
    this.#saving = this.#saving.then(() => writeState(this.home, this.id, state));
    return this.#saving;
  }
}
