export { capabilityMask } from "./capabilities.js";
export { connectGuest } from "./connect.js";
export type * from "./types.js";
