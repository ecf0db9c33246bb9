/** What a supervisor needs from other rooms, as one value, so that its life can be tested without a hypervisor. */
import type { ConnectGuest } from "../../guest/types.js";
import type { AegisHome } from "../../support/home.js";
import type { Machine, MachineSpec, Network } from "../../vmm/types.js";
import type { InstanceConfig } from "../types.js";

export interface Parts {
  bootFiles(home: AegisHome): Promise<{ readonly kernel: string; readonly bootDisk: string }>;
  network(home: AegisHome, options: { readonly socketDir: string; readonly hostLoopback: boolean }): Promise<Network>;
  machine(home: AegisHome, spec: MachineSpec, driver: InstanceConfig["vmm"]): Promise<Machine>;
  readonly connectGuest: ConnectGuest;
  /** How long a guest may take to say hello. */
  readonly helloTimeoutMs: number;
  /** Makes sure that the image disks of an instance are there (they may have been pruned). */
  lowers(home: AegisHome, config: InstanceConfig): Promise<readonly string[]>;
  /** A new writable disk; `over` are the image disks that it will lie on, if any. */
  createDisk(file: string, sizeBytes: number, over: InstanceConfig["image"] | undefined): Promise<void>;
}
