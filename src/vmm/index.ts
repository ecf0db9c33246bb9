/** Virtual machines: both drivers behind one interface, their network, and what they boot. */
export { type BootFiles, ensureBootFiles } from "./boot-files.js";
export { chooseDriver, type DriverName, startMachine } from "./choose.js";
export { type KvmVerdict, kvmVerdict } from "./kvm.js";
export { type NetworkOptions, startNetwork } from "./network.js";
export type { DiskSpec, Driver, Machine, MachineExit, MachineSpec, Network, PortForward, ShareSpec } from "./types.js";
