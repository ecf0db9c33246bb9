/** Draws what a pull or push tells: one line a blob on a terminal, one line a change elsewhere. */
import type { Writable } from "node:stream";
import { formatPlatform } from "../../oci/platforms.js";
import type { BlobEvent, Report } from "../../oci/registry/progress.js";
import { formatSize } from "../../support/sizes.js";

export interface TransferReporter {
  readonly report: Report;
  /** Leaves the last state on the screen. */
  end(): void;
}

const words: Readonly<Record<BlobEvent["status"], string>> = {
  waiting: "fetched by another process",
  downloading: "downloading",
  uploading: "uploading",
  retrying: "trying again",
  exists: "already there",
  mounted: "mounted",
  done: "done",
};

const frameMs = 100;

export function transferReporter(stream: Writable, options: { readonly quiet: boolean }): TransferReporter {
  if (options.quiet) return { report: () => undefined, end: () => undefined };
  const isTerminal = "isTTY" in stream && stream.isTTY === true;
  const blobs = new Map<string, BlobEvent>();
  const notes: string[] = [];
  let drawn = 0;
  let lastFrame = 0;

  function draw(): void {
    const up = drawn > 0 ? `\x1b[${drawn}A` : "";
    const fresh = notes.splice(0).map((note) => `\x1b[2K${note}\n`);
    const lines = [...blobs.values()].map((blob) => `\x1b[2K${lineOf(blob)}\n`);
    stream.write(up + fresh.join("") + lines.join(""));
    drawn = lines.length;
  }

  function onBlob(event: BlobEvent): void {
    const before = blobs.get(event.digest);
    blobs.set(event.digest, event);
    if (!isTerminal) {
      if (before?.status !== event.status) stream.write(`${lineOf(event, false)}\n`);
    } else if (before?.status !== event.status || Date.now() - lastFrame > frameMs) {
      lastFrame = Date.now();
      draw();
    }
  }

  function note(text: string): void {
    if (!isTerminal) stream.write(`${text}\n`);
    else notes.push(text);
  }

  return {
    report(event) {
      if (event.type === "blob") onBlob(event);
      if (event.type === "resolved") note(`${event.name}: ${event.target.digest}`);
      if (event.type === "partial") note(`only ${formatPlatform(event.platform)} is in the store; pushing that alone`);
    },
    end() {
      if (isTerminal && (notes.length > 0 || blobs.size > 0)) draw();
    },
  };
}

function lineOf({ digest, status, done, total }: BlobEvent, withAmount = true): string {
  const id = digest.slice("sha256:".length, "sha256:".length + 12);
  const moving = status === "downloading" || status === "uploading" || status === "waiting";
  const amount = moving && withAmount ? ` ${bar(done, total)} ${formatSize(done)}/${formatSize(total)}` : "";
  return `${id}: ${words[status]}${amount}`;
}

function bar(done: number, total: number): string {
  const width = 24;
  const filled = total === 0 ? width : Math.min(width, Math.floor((done / total) * width));
  return `[${"#".repeat(filled)}${" ".repeat(width - filled)}]`;
}
