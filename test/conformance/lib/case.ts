/** A conformance case: a Dockerfile, what is beside it, and what the reference builder made of it. */

/** One thing in a build context; a text stands for a file of mode 0644. */
export type ContextEntry =
  | string
  | { readonly content: string; readonly mode?: number; readonly xattrs?: Xattrs }
  | { readonly base64: string; readonly mode?: number }
  | { readonly directory: true; readonly mode?: number }
  | { readonly symlink: string }
  | { readonly hardlink: string }
  /** A file of this many bytes, all of them a hole. */
  | { readonly hole: number }
  | { readonly fifo: true; readonly mode?: number }
  | { readonly device: readonly [major: number, minor: number]; readonly mode?: number }
  /** A tar archive of these entries, compressed as told. */
  | { readonly tar: Readonly<Record<string, TarEntry>>; readonly compression?: "gzip" | "bzip2" | "xz" | "zstd" };

/** Values in hex. */
type Xattrs = Readonly<Record<string, string>>;

export interface TarEntry {
  readonly content?: string;
  readonly type?: "file" | "directory" | "symlink" | "link" | "character-device" | "fifo" | "contiguous-file";
  readonly linkname?: string;
  /** Latin-1 text. */
  readonly xattrs?: Readonly<Record<string, string>>;
  readonly mode?: number;
  /** Seconds. */
  readonly mtime?: number;
  readonly device?: readonly [major: number, minor: number];
  readonly uid?: number;
  readonly gid?: number;
}

export interface ConformanceCase {
  /** A sentence of behaviour, unique in its file. */
  readonly name: string;
  readonly dockerfile: string;
  /** By path; all get owner 1000:1000 and a fixed mtime, of which a builder must drop the one and keep the other. */
  readonly context?: Readonly<Record<string, ContextEntry>>;
  /** Flags for `build` besides the context: `--target x`, `--build-arg a=b`. */
  readonly flags?: readonly string[];
  /** Not built but checked: its result is warnings. */
  readonly check?: true;
  /** Environment of the build command. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Whether building it runs anything: what the executor is matters to no other case. */
export const runsCommands = ({ dockerfile }: ConformanceCase): boolean => /^\s*(onbuild\s+)?run\s/im.test(dockerfile);

/** Whether the times in its image are told: then they are recorded too. */
export const hasFixedTimes = (item: ConformanceCase): boolean =>
  JSON.stringify([item.flags, item.env]).includes("SOURCE_DATE_EPOCH");

/** What came out, with everything left out that differs from build to build. */
export type Recorded =
  | { readonly error: string }
  /** Rule, message and line of each warning, in order. */
  | {
      readonly warnings: readonly (readonly [rule: string, message: string, line: number])[];
      readonly failure?: string;
    }
  | {
      readonly config: Readonly<Record<string, unknown>>;
      readonly history: readonly {
        /** Only where it is fixed. */
        readonly created?: string;
        readonly created_by?: string;
        readonly comment?: string;
        readonly empty_layer?: boolean;
      }[];
      /** Number of layers on top of the base image. */
      readonly layers: number;
      /** The root file system, one line an entry; lines of the base image left out, those it lacks in front with `-`. */
      readonly tree: readonly string[];
    };

/** The name of the base image that cases with RUN start from; `lib/base.ts` makes it. */
export const baseImage = "conformance-base:1";
/** Modification time of everything in a context, in seconds. */
export const contextTime = 981_173_106;
/** A recorder adds up to this to it, lest a builder takes one case's files for another's. */
export const timeSpread = 1_000_000;
