import { once } from "node:events";
import { constants } from "node:os";
import path from "node:path";
import { Command, Option } from "clipanion";
import { buildImage } from "../../build/build.js";
import { buildRequest, wantedInput } from "../../build/request.js";
import { type BuildCall, buildCall } from "../../build/request-call.js";
import type { BuildRequest } from "../../build/types.js";
import { AegisError } from "../../support/errors.js";
import { replaceFile, writingTo } from "../../support/files.js";
import { AegisCommand } from "../command.js";
import { buildInput } from "../input.js";
import { createReporter, type ProgressMode } from "../render/progress.js";

export default class BuildCommand extends AegisCommand {
  static override paths = [["build"]];
  static override usage = Command.Usage({
    details: `PATH is the build context: a directory, a tar (plain, gzip, bzip2, xz or zstd), a git repository
      (https://HOST/NAME.git#REF:DIRECTORY, git@HOST:NAME), the web address of a tar or of a Dockerfile, or - for a tar or a
      Dockerfile on standard input. The file is Aegisfile, or Dockerfile, in it. Progress goes to standard error; with -q only
      the image's id is printed.`,
    examples: [
      ["Build the current directory", "$0 build ."],
      ["Name the image", "$0 build -t web:1.2 ."],
      ["The Dockerfile from standard input, without a context", "$0 build - < Dockerfile"],
      [
        "Two platforms to a registry, zstd layers, provenance",
        "$0 build --platform linux/amd64,linux/arm64 -t ghcr.io/me/web:1 -o type=registry,compression=zstd --provenance=mode=max .",
      ],
      ["See what is amiss in a Dockerfile without building it", "$0 build --check ."],
      ["A directory of a git repository, at a tag", "$0 build https://git.example.com/app.git#v1.2:docker"],
      ["A context from a pipe", "git archive HEAD | $0 build -"],
      ["Another file, an argument, one stage", "$0 build -f deploy/Dockerfile --build-arg VERSION=3 --target test ."],
    ],
  });

  contextPath = Option.String({ required: false });
  file = Option.String("-f,--file", { description: "the Dockerfile or Aegisfile (PATH/Aegisfile, PATH/Dockerfile)" });
  tags = Option.Array("-t,--tag", [], { description: "name of the image, name:tag (repeatable)" });
  buildArgs = Option.Array("--build-arg", [], { description: "value of an ARG, NAME=value or NAME (repeatable)" });
  labels = Option.Array("--label", [], { description: "label of the image, key=value (repeatable)" });
  target = Option.String("--target", { description: "stage to build, the last one by default" });
  platforms = Option.Array("--platform", [], {
    description: "platforms of the image, linux/amd64,linux/arm64; this machine's by itself (repeatable)",
  });
  buildContexts = Option.Array("--build-context", [], {
    description:
      "another tree or image by name: name=DIR, a git or web address, docker-image://REF, oci-layout://DIR:TAG (repeatable)",
  });
  annotations = Option.Array("--annotation", [], {
    description:
      "annotation, key=value, of the manifest or of what stands before a colon: manifest[linux/arm64],index:key=value (repeatable)",
  });
  provenance = Option.String("--provenance", {
    description: "attach how the image was made: true, false, mode=min or mode=max (false)",
  });
  sbom = Option.String("--sbom", { description: "attach a list of what is in the image: only false is possible" });
  attest = Option.Array("--attest", [], { description: "attestation, type=provenance[,mode=max] (repeatable)" });
  noCacheFilter = Option.Array("--no-cache-filter", [], {
    description: "stages whose steps are run again (repeatable)",
  });
  metadataFile = Option.String("--metadata-file", { description: "write what was built to this file, as JSON" });
  pull = Option.Boolean("--pull", false, { description: "fetch base images even if they are in the store" });
  noCache = Option.Boolean("--no-cache", false, { description: "run every step again" });
  network = Option.String("--network", { description: "network of RUN steps: default, none or host" });
  addHost = Option.Array("--add-host", [], {
    description: "line of /etc/hosts in RUN steps, name:address (repeatable)",
  });
  allow = Option.Array("--allow", [], {
    description: "let RUN steps have more than a container's rights: network.host, security.insecure (repeatable)",
  });
  ulimits = Option.Array("--ulimit", [], { description: "limit of RUN steps, nofile=1024:2048 (repeatable)" });
  memory = Option.String("-m,--memory", { description: "memory of RUN steps that run in a machine" });
  shmSize = Option.String("--shm-size", { description: "size of /dev/shm in RUN steps" });
  secrets = Option.Array("--secret", [], {
    description: "secret for RUN steps, id=NAME[,src=FILE|env=VARIABLE] (repeatable)",
  });
  ssh = Option.Array("--ssh", [], { description: "SSH agent for RUN steps, default or ID=SOCKET (repeatable)" });
  check = Option.Boolean("--check", false, { description: "the same as --call=check" });
  call = Option.String("--call", {
    description:
      "build, or tell about the Dockerfile: check, outline or targets; with ,format=json as JSON, with ,ignorestatus=true always successful",
  });
  isolation = Option.String("--isolation", { description: "where RUN steps run: auto, vm or container" });
  progress = Option.String("--progress", { description: "auto, plain, tty, quiet or rawjson" });
  cacheFrom = Option.Array("--cache-from", [], {
    description: "where others' steps are remembered: NAME, type=registry,ref=NAME or type=local,src=DIR (repeatable)",
  });
  cacheTo = Option.Array("--cache-to", [], {
    description:
      "where to leave this build's steps: type=inline, type=registry,ref=NAME or type=local,dest=DIR[,mode=min|max] (repeatable)",
  });
  output = Option.Array("-o,--output", [], {
    description:
      "where the result goes: a directory, or type=local|tar|oci|docker|image|registry|disk,dest=PATH (repeatable)",
  });
  push = Option.Boolean("--push", false, { description: "push the image under its names" });
  load = Option.Boolean("--load", false, { description: "keep the image in the store, which is always done" });
  quiet = Option.Boolean("-q,--quiet", false, { description: "print nothing but the image's id" });
  iidfile = Option.String("--iidfile", { description: "write the image's id to this file" });

  debug = Option.Boolean("-D,--debug", false, { description: "show where in the program an error comes from" });

  // Of docker build and buildx build; each is answered with a line that says why it changes nothing.
  builder = Option.String("--builder", { hidden: true });
  cgroupParent = Option.String("--cgroup-parent", { hidden: true });
  compress = Option.Boolean("--compress", false, { hidden: true });
  squash = Option.Boolean("--squash", false, { hidden: true });
  securityOpt = Option.Array("--security-opt", [], { hidden: true });
  memorySwap = Option.String("--memory-swap", { hidden: true });
  cpuShares = Option.String("-c,--cpu-shares", { hidden: true });
  cpuPeriod = Option.String("--cpu-period", { hidden: true });
  cpuQuota = Option.String("--cpu-quota", { hidden: true });
  cpusetCpus = Option.String("--cpuset-cpus", { hidden: true });
  cpusetMems = Option.String("--cpuset-mems", { hidden: true });
  // True of every build here.
  rm = Option.Boolean("--rm", true, { hidden: true });
  forceRm = Option.Boolean("--force-rm", true, { hidden: true });
  disableContentTrust = Option.Boolean("--disable-content-trust", true, { hidden: true });

  override async execute() {
    if (this.debug) process.env.AEGIS_DEBUG = "1";
    this.tellWithoutEffect();
    const place = { path: this.contextPath ?? ".", file: this.file };
    const input = await buildInput(wantedInput(place), process.stdin);
    const { request, progress } = buildRequest(
      {
        ...place,
        tags: this.tags,
        buildArgs: this.buildArgs,
        labels: this.labels,
        target: this.target,
        buildContexts: this.buildContexts,
        annotations: this.annotations,
        noCacheFilter: this.noCacheFilter,
        platforms: this.platforms,
        provenance: this.provenance,
        sbom: this.sbom,
        attest: this.attest,
        pull: this.pull,
        noCache: this.noCache,
        network: this.network,
        addHost: this.addHost,
        shmSize: this.shmSize,
        allow: this.allow,
        ulimits: this.ulimits,
        memory: this.memory,
        secrets: this.secrets,
        ssh: this.ssh,
        isolation: this.isolation,
        cacheFrom: this.cacheFrom,
        cacheTo: this.cacheTo,
        output: this.output,
        push: this.push,
        load: this.load,
        progress: this.quiet ? "quiet" : this.progress,
      },
      process.env,
      { ...input, stdout: (chunk) => writeAll(this.context.stdout, chunk) },
    );
    const call = buildCall(this.check ? "check" : this.call);
    if (call) return await this.evaluate(request, call);
    const mode: ProgressMode = this.json && progress === "auto" ? "quiet" : progress;
    const reporter = await createReporter(mode, this.context.stderr as NodeJS.WriteStream);
    const abort = new AbortController();
    let stopped: NodeJS.Signals | undefined;
    const stop = (signal: NodeJS.Signals) => {
      stopped = signal;
      abort.abort();
    };
    process.once("SIGINT", stop).once("SIGTERM", stop);
    let failed = true;
    try {
      const result = await buildImage(this.home, { ...request, signal: abort.signal }, reporter.report);
      failed = false;
      await reporter.end(failed);
      if (this.iidfile !== undefined) await writeNamed(this.iidfile, result.imageId);
      if (this.metadataFile !== undefined) {
        const { buildMetadata } = await import("../../build/metadata.js");
        const text = `${JSON.stringify(buildMetadata(result), null, 2)}\n`;
        await writeNamed(this.metadataFile, text);
      }
      if (this.json || mode === "quiet") {
        const { imageId, names, steps, cachedSteps } = result;
        this.print({ imageId, names, steps, cachedSteps }, (it) => it.imageId);
      }
    } catch (error) {
      throw stopped === undefined ? error : interrupted(stopped);
    } finally {
      process.off("SIGINT", stop).off("SIGTERM", stop);
      if (failed) await reporter.end(failed);
    }
    return 0;
  }

  private tellWithoutEffect(): void {
    const noCgroup = "steps run in no control group";
    const said: readonly (readonly [name: string, given: unknown, why: string])[] = [
      ["--builder", this.builder, "there is one builder, this program"],
      ["--cgroup-parent", this.cgroupParent, noCgroup],
      ["--compress", this.compress, "the context is read where it lies, not sent"],
      ["--squash", this.squash, "layers stay as the steps made them; -o type=disk merges them"],
      ["--security-opt", this.securityOpt.length > 0, "steps have a container's usual rights; see --allow"],
      ["--memory-swap", this.memorySwap, noCgroup],
      ["--cpu-shares", this.cpuShares, noCgroup],
      ["--cpu-period", this.cpuPeriod, noCgroup],
      ["--cpu-quota", this.cpuQuota, noCgroup],
      ["--cpuset-cpus", this.cpusetCpus, noCgroup],
      ["--cpuset-mems", this.cpusetMems, noCgroup],
    ];
    if (this.quiet) return;
    for (const [name, given, why] of said) if (given) this.note(`aegis: ${name} has no effect: ${why}`);
  }

  private async evaluate(request: BuildRequest, { method, json, ignoreStatus }: BuildCall): Promise<number> {
    const [{ evaluateDockerfile }, { evaluationJson, evaluationText }] = await Promise.all([
      import("../../build/evaluate.js"),
      import("../render/evaluation.js"),
    ]);
    const evaluation = await evaluateDockerfile(this.home, request, method);
    const asJson = json || this.json;
    const text = asJson ? `${JSON.stringify(evaluationJson(evaluation), null, 2)}\n` : evaluationText(evaluation);
    this.context.stdout.write(text);
    if (evaluation.method !== "check" || ignoreStatus) return 0;
    if (evaluation.failure && !asJson) throw evaluation.failure;
    return evaluation.failure || evaluation.warnings.length > 0 ? 1 : 0;
  }
}

const interrupted = (signal: NodeJS.Signals) =>
  new AegisError("INTERRUPTED", `the build was stopped by ${signal}`, {
    exitCode: 128 + constants.signals[signal],
    hint: "the steps that were done are kept; build again to go on from there",
  });

const writeNamed = (file: string, text: string) =>
  writingTo(file, () => replaceFile(path.resolve(file), text, { mode: 0o644 }));

async function writeAll(stream: NodeJS.WritableStream, chunk: Uint8Array): Promise<void> {
  if (!stream.write(Buffer.from(chunk))) await once(stream, "drain");
}
