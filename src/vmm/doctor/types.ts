/** `missing` and `unusable` matter only for what `neededFor` says. */
export type CheckState = "ok" | "missing" | "unusable";

/** How `--fix` mends it; nothing when only the person can. */
export type Remedy =
  | { readonly kind: "package"; readonly name: string }
  | { readonly kind: "deb"; readonly name: "gvproxy" | "libkrunfw5" }
  | { readonly kind: "make"; readonly part: "harness" | "native" };

export interface Check {
  readonly id: string;
  /** For people: what it is. */
  readonly title: string;
  readonly state: CheckState;
  /** What does not work without it. */
  readonly neededFor: "boot" | "krun" | "qemu" | "build" | "shares" | "speed";
  readonly version?: string | undefined;
  readonly path?: string | undefined;
  /** Why, when there is more to say than the state. */
  readonly detail?: string | undefined;
  /** The exact command that mends it. */
  readonly command?: string | undefined;
  readonly remedy?: Remedy | undefined;
}

export interface Diagnosis {
  readonly checks: readonly Check[];
  /** The VMM that `aegis run` takes here. */
  readonly driver: "krun" | "qemu" | undefined;
  readonly accelerated: boolean;
  /** The executor of RUN steps that `aegis build` takes here. */
  readonly isolation: "vm" | "container" | undefined;
  /** Ids of the checks without which nothing boots; empty when a machine can boot. */
  readonly blocking: readonly string[];
}
