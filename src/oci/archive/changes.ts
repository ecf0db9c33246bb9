/** `--change` of import and commit: single Dockerfile instructions applied to a config. */
import { AegisError } from "../../support/errors.js";
import type { RuntimeConfig } from "../types.js";

type Applied = (config: RuntimeConfig, text: string) => RuntimeConfig;

const changes: Readonly<Record<string, Applied>> = {
  CMD: (config, text) => ({ ...config, Cmd: commandOf(text) }),
  ENTRYPOINT: (config, text) => ({ ...config, Entrypoint: commandOf(text) }),
  ENV: (config, text) => ({ ...config, Env: pairsOf(text).reduce(setEnv, config.Env ?? []) }),
  LABEL: (config, text) => ({ ...config, Labels: { ...config.Labels, ...Object.fromEntries(pairsOf(text)) } }),
  EXPOSE: (config, text) => {
    const ports = text.split(/\s+/).map((port) => [port.includes("/") ? port : `${port}/tcp`, {}]);
    return { ...config, ExposedPorts: { ...config.ExposedPorts, ...Object.fromEntries(ports) } };
  },
  VOLUME: (config, text) => {
    const paths = jsonList(text) ?? text.split(/\s+/);
    return { ...config, Volumes: { ...config.Volumes, ...Object.fromEntries(paths.map((path) => [path, {}])) } };
  },
  USER: (config, text) => ({ ...config, User: text }),
  WORKDIR: (config, text) => ({ ...config, WorkingDir: text }),
  STOPSIGNAL: (config, text) => ({ ...config, StopSignal: text }),
  ONBUILD: (config, text) => ({ ...config, OnBuild: [...(config.OnBuild ?? []), text] }),
};

/**
 * The config with `text` (`CMD ["node", "x.js"]`, `ENV A=1`) applied to it.
 * @throws AegisError BAD_CHANGE
 */
export function applyChange(config: RuntimeConfig, text: string): RuntimeConfig {
  const match = /^\s*([A-Za-z]+)\s+(\S.*?)\s*$/s.exec(text);
  const change = match && changes[match[1]!.toUpperCase()];
  if (change) return change(config, match[2]!);
  throw new AegisError("BAD_CHANGE", `--change "${text}" is not one of the instructions that can be applied here`, {
    hint: `use ${Object.keys(changes).join(", ")}`,
  });
}

const commandOf = (text: string): readonly string[] => jsonList(text) ?? ["/bin/sh", "-c", text];

function jsonList(text: string): readonly string[] | undefined {
  if (!text.startsWith("[")) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    if (Array.isArray(value) && value.every((it) => typeof it === "string")) return value;
  } catch {
    // Not JSON: Docker takes it for the shell form then.
  }
  return undefined;
}

/** `K=V K="v w"`, or the old form `K the rest`. */
function pairsOf(text: string): readonly (readonly [name: string, value: string])[] {
  const words = text.match(/(?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|[^\s"'\\])+/gs) ?? [];
  if (!words[0]?.includes("=")) {
    const [name, ...rest] = text.split(/\s+/);
    return [[name!, rest.join(" ")]];
  }
  return words.map((word) => {
    const plain = word.replace(/"((?:\\.|[^"\\])*)"|'([^']*)'|\\(.)/gs, (_all, double, single, escaped) =>
      double === undefined ? (single ?? escaped) : double.replace(/\\(["\\$])/g, "$1"),
    );
    const equals = plain.indexOf("=");
    if (equals < 1) throw new AegisError("BAD_CHANGE", `"${word}" in --change is not NAME=VALUE`);
    return [plain.slice(0, equals), plain.slice(equals + 1)];
  });
}

/** A variable that is set again keeps its place in the list. */
function setEnv(env: readonly string[], [name, value]: readonly [string, string]): readonly string[] {
  const at = env.findIndex((it) => it.startsWith(`${name}=`));
  return at < 0 ? [...env, `${name}=${value}`] : env.with(at, `${name}=${value}`);
}
