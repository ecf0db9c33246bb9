/**
 * The shell program that sets a container's mounts up in a namespace of its own, runs runc, and takes the mounts down again.
 * Whatever may be secret (the process's environment, secret files) comes in on standard input and lives on a tmpfs that
 * only this namespace sees.
 */
import { chmod, mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import type { AegisHome } from "../../support/home.js";
import { type CacheLease, cacheDirectory, leaseCaches } from "../cache/mounts.js";
import { encodeRuncConfig, runcConfig } from "./runc-config.js";
import type { RunMountSpec, RunRequest } from "./types.js";

export interface ContainerScript {
  readonly text: string;
  /** For the script's standard input: one base64 line a file, in the order in which the script reads them. */
  readonly input: string;
  readonly caches: CacheLease;
}

interface Bind {
  readonly source: string;
  readonly target: string;
  readonly options: readonly string[];
}

interface Parts {
  readonly mounts: string[];
  readonly binds: Bind[];
  readonly secrets: Uint8Array[];
  readonly caches: CacheLease;
}

export interface ScriptOptions {
  readonly work: string;
  readonly home: AegisHome;
  readonly runc: string;
  /** slirp4netns, when the step gets a network of its own. */
  readonly slirp4netns: string | undefined;
  readonly capabilities: ReadonlySet<string>;
  readonly resolver: string;
}

/** Lays out the work directory and writes the script for it. */
export async function containerScript(request: RunRequest, options: ScriptOptions): Promise<ContainerScript> {
  await layOut(request, options);
  const caches = await leaseCaches(
    options.home,
    request.mounts.flatMap((mount) => (mount.type === "cache" ? [mount.cache] : [])),
  );
  try {
    return await written(request, options, { mounts: [], binds: [], secrets: [], caches });
  } catch (error) {
    caches.release();
    throw error;
  }
}

async function written(request: RunRequest, options: ScriptOptions, parts: Parts): Promise<ContainerScript> {
  const { work } = options;
  for (const name of ["resolv.conf", "hosts"]) {
    const guarded = ["ro", "nosuid", "nodev", "noexec"];
    parts.binds.push({ source: path.join(work, name), target: `/etc/${name}`, options: guarded });
  }
  for (const [i, mount] of request.mounts.entries()) await addMount(mount, i, parts, options);
  const config = runcConfig(request, {
    rootfs: path.join(work, "root"),
    available: options.capabilities,
    binds: parts.binds,
    createHook: options.slirp4netns === undefined ? undefined : path.join(work, "network.sh"),
  });
  const files = [Buffer.from(encodeRuncConfig(config)), ...parts.secrets];
  return {
    text: text(request, options, parts),
    input: files.map((content) => `${Buffer.from(content).toString("base64")}\n`).join(""),
    caches: parts.caches,
  };
}

async function layOut(request: RunRequest, options: ScriptOptions): Promise<void> {
  const at = (...names: string[]) => path.join(options.work, ...names);
  const names = ["root", "scratch", "stubs", "private", ...request.lowers.map((_, i) => `lower${i}`)];
  for (const name of names) await mkdir(at(name), { mode: 0o755 });
  for (const point of request.mountPoints) {
    const target = at("stubs", point.path);
    await mkdir(point.type === "directory" ? target : path.dirname(target), { recursive: true, mode: 0o755 });
    if (point.type === "file") await writeFile(target, "");
    // runc gives a tmpfs the mode of what it covers.
    else if (point.mode !== undefined) await chmod(target, point.mode);
  }
  const hosts = [
    `127.0.0.1\tlocalhost ${request.hostname}`,
    "::1\tlocalhost ip6-localhost ip6-loopback",
    ...request.extraHosts.map(({ address, name }) => `${address}\t${name}`),
  ];
  await writeFile(at("hosts"), `${hosts.join("\n")}\n`, { mode: 0o644 });
  await writeFile(at("resolv.conf"), options.resolver, { mode: 0o644 });
  if (options.slirp4netns !== undefined)
    await writeFile(at("network.sh"), networkHook(options.work, options.slirp4netns));
}

async function addMount(
  mount: RunMountSpec,
  index: number,
  parts: Parts,
  { work, home }: ScriptOptions,
): Promise<void> {
  const guarded = ["nosuid", "nodev"];
  const name = `private/${index}`;
  switch (mount.type) {
    case "tmpfs":
      return;
    case "disk": {
      parts.mounts.push(`mkdir ${name}`, `mount -o loop,ro,nodev ${quote(mount.disk)} ${name}`);
      if (!mount.readOnly) {
        // What a step writes to a bind mount is thrown away.
        parts.mounts.push(
          `mkdir -p ${name}-rw/upper ${name}-rw/work ${name}-merged`,
          `mount -t overlay -o nodev,lowerdir=${name},upperdir=${name}-rw/upper,workdir=${name}-rw/work overlay ${name}-merged`,
        );
      }
      const source = path.join(work, mount.readOnly ? name : `${name}-merged`, mount.subpath);
      parts.binds.push({ source, target: mount.target, options: ["nodev", mount.readOnly ? "ro" : "rw"] });
      return;
    }
    case "cache": {
      const source = await cacheDirectory(home, parts.caches.nameOf(mount.cache), mount.cache);
      const { seed } = mount.cache;
      if (seed) {
        // A directory takes the place of an empty one in one step, so a cache is never seen half filled.
        const made = quote(`${source}.filling-`);
        parts.mounts.push(
          `mkdir ${name}; mount -o loop,ro,nodev ${quote(seed.disk)} ${name}`,
          `[ -n "$(ls -A ${quote(source)})" ] || { cp -a ${name}/${seed.subpath} ${made}$$ && { mv -T ${made}$$ ${quote(source)} || rm -rf ${made}$$; }; }`,
        );
      }
      parts.binds.push({ source, target: mount.target, options: [...guarded, mount.readOnly ? "ro" : "rw"] });
      return;
    }
    case "file":
      parts.secrets.push(mount.content);
      parts.mounts.push(
        `take ${name}`,
        `chown ${mount.uid}:${mount.gid} ${name}`,
        `chmod ${mount.mode.toString(8)} ${name}`,
      );
      parts.binds.push({
        source: path.join(work, name),
        target: mount.target,
        options: [...guarded, ...(mount.executable ? [] : ["noexec"]), "ro"],
      });
      return;
    case "socket":
      parts.binds.push({ source: mount.hostPath, target: mount.target, options: guarded });
      return;
  }
}

function text(request: RunRequest, { work, runc }: ScriptOptions, parts: Parts): string {
  const nodev = request.privileged ? "" : ",nodev";
  const lowers = request.lowers.map((lower, i) => `lower${i}${lower.directory === "/" ? "" : lower.directory}`);
  const overlay = ["stubs", ...lowers].reverse().join(":");
  const lines = [
    "set -e",
    // Set-up trouble goes to a file: standard error belongs to the step.
    "exec 4>&2 2>setup.log",
    `cd ${quote(work)}`,
    "mount -t tmpfs -o nosuid,nodev,mode=711 private private",
    'take() { IFS= read -r line; printf %s "$line" | base64 -d > "$1"; line=; }',
    "take private/config.json",
    // A read-only cgroup tree keeps runc from making cgroups that a kill would leave behind.
    "umount -l -R /sys/fs/cgroup 2>/dev/null || :",
    "mount -t cgroup2 -o ro cgroup2 /sys/fs/cgroup 2>/dev/null || :",
    ...request.lowers.map((lower, i) => `mount -o loop,ro${nodev} ${quote(lower.disk)} lower${i}`),
    // The disk holds one step's work and is thrown away: nothing is gained by flushing it to the platter.
    `mount -o loop,noatime,nobarrier${nodev} ${quote(request.scratch)} scratch`,
    `mount -t overlay -o lowerdir=${overlay},upperdir=scratch/upper,workdir=scratch/work,redirect_dir=off,metacopy=off${nodev} overlay root`,
    ...parts.mounts,
    "exec 0</dev/null",
    "set +e",
    `${quote(runc)} --root private/state --rootless=true --log runc.log --log-format json run --bundle private step 2>&4`,
    "echo $? > status",
    // The scratch disk is read next, so it must be complete.
    "umount root && umount scratch || { echo dirty > status; }",
  ];
  return `${lines.join("\n")}\n`;
}

/** Runs on the host's side while the container's network namespace is still empty; its standard input names the process. */
function networkHook(work: string, slirp4netns: string): string {
  const log = quote(path.join(work, "network.log"));
  const fifo = quote(path.join(work, "network.ready"));
  return [
    `pid=$(sed -n 's/.*"pid":\\([0-9]*\\).*/\\1/p')`,
    `mkfifo ${fifo}`,
    `setsid ${quote(slirp4netns)} --configure --mtu=65520 --disable-host-loopback --ready-fd=3 "$pid" tap0 3>${fifo} >${log} 2>&1 </dev/null &`,
    // It says "1" without a newline, which read counts as a failure.
    `read -r ready < ${fifo} || :`,
    "",
  ].join("\n");
}

const quote = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;
