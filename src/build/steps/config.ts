/** Instructions that only change the image's config. */
import type { HealthcheckSpec, Instruction } from "../../dockerfile/types.js";
import type { Healthcheck, RuntimeConfig } from "../../oci/types.js";
import { AegisError } from "../../support/errors.js";
import type { ImageDraft } from "../draft.js";
import { goDuration, goQuote, goQuoteList, goQuoteNumber } from "../go-format.js";
import { withEnv } from "../scope.js";
import { aegisLabels } from "./aegis-labels.js";
import { exposedPorts } from "./ports.js";

export interface ConfigChange {
  readonly change: RuntimeConfig;
  /** undefined: leaves no line in history. */
  readonly createdBy: string | undefined;
  readonly author?: string;
}

const defaultShell = ["/bin/sh", "-c"];

export const shellOf = (config: RuntimeConfig): readonly string[] => config.Shell ?? defaultShell;

/** Words of a command, the shell's put before its shell form. */
function commandWords(
  command:
    | { readonly form: "shell"; readonly text: string }
    | { readonly form: "exec"; readonly argv: readonly string[] },
  config: RuntimeConfig,
): readonly string[] {
  return command.form === "exec" ? command.argv : [...shellOf(config), command.text];
}

/**
 * What an expanded config instruction does; undefined for instructions of another kind. `entrypointOf` CMD matters to
 * ENTRYPOINT: one that was set in this same stage stays.
 */
export function configChange(
  instruction: Instruction,
  draft: ImageDraft,
  cmdSetHere: boolean,
): ConfigChange | undefined {
  const { config } = draft;
  switch (instruction.kind) {
    case "ENV": {
      const env = withEnv(config.Env ?? [], instruction.pairs);
      return { change: { Env: env }, createdBy: `ENV ${pairsText(instruction.pairs)}` };
    }
    case "LABEL": {
      const labels = Object.fromEntries(instruction.pairs.map(({ key, value }) => [key, value]));
      return {
        change: { Labels: { ...config.Labels, ...labels } },
        createdBy: `LABEL ${pairsText(instruction.pairs)}`,
      };
    }
    case "EXPOSE": {
      const ports = exposedPorts(instruction.ports);
      const all = { ...config.ExposedPorts, ...Object.fromEntries(ports.map((port) => [port, {}])) };
      return { change: { ExposedPorts: all }, createdBy: `EXPOSE [${ports.join(" ")}]` };
    }
    case "VOLUME": {
      if (instruction.paths.some((path) => path.trim() === ""))
        throw badValue("VOLUME", "a volume's path can't be empty");
      const volumes = { ...config.Volumes, ...Object.fromEntries(instruction.paths.map((path) => [path, {}])) };
      return { change: { Volumes: volumes }, createdBy: `VOLUME [${instruction.paths.join(" ")}]` };
    }
    case "USER":
      return { change: { User: instruction.user }, createdBy: `USER ${instruction.user}` };
    case "CMD": {
      const argv = commandWords(instruction.command, config);
      return { change: { Cmd: argv, ArgsEscaped: true }, createdBy: `CMD ${goQuoteList(argv)}` };
    }
    case "ENTRYPOINT": {
      const argv = commandWords(instruction.command, config);
      // The base image's CMD was meant for the base image's entrypoint.
      const change: RuntimeConfig = cmdSetHere ? { Entrypoint: argv } : { Entrypoint: argv, Cmd: null };
      return { change, createdBy: `ENTRYPOINT ${goQuoteList(argv)}` };
    }
    case "SHELL":
      return { change: { Shell: instruction.argv }, createdBy: `SHELL [${instruction.argv.join(" ")}]` };
    case "STOPSIGNAL":
      checkSignal(instruction.signal);
      return { change: { StopSignal: instruction.signal }, createdBy: `STOPSIGNAL ${instruction.signal}` };
    case "MAINTAINER":
      return { change: {}, createdBy: `MAINTAINER ${instruction.name}`, author: instruction.name };
    case "HEALTHCHECK": {
      const check = healthcheck(instruction.check);
      return { change: { Healthcheck: check }, createdBy: `HEALTHCHECK ${healthcheckText(instruction.check, check)}` };
    }
    case "ONBUILD":
      return { change: { OnBuild: [...(config.OnBuild ?? []), instruction.expression] }, createdBy: undefined };
    case "RUN":
    case "COPY":
    case "ADD":
    case "WORKDIR":
    case "ARG":
      return undefined;
    default: {
      const labels = aegisLabels(instruction, config.Labels ?? {});
      return { change: { Labels: { ...config.Labels, ...labels } }, createdBy: instruction.source };
    }
  }
}

const pairsText = (pairs: readonly { readonly key: string; readonly value: string }[]) =>
  pairs.map(({ key, value }) => `${key}=${value}`).join(" ");

const nanoseconds = (ms: number | undefined) => (ms ? Math.round(ms * 1e6) : undefined);

function healthcheck(spec: HealthcheckSpec): Healthcheck {
  if (spec.none) return { Test: ["NONE"] };
  const test = spec.command.form === "exec" ? ["CMD", ...spec.command.argv] : ["CMD-SHELL", spec.command.text];
  const fields = {
    Interval: nanoseconds(spec.interval),
    Timeout: nanoseconds(spec.timeout),
    StartPeriod: nanoseconds(spec.startPeriod),
    StartInterval: nanoseconds(spec.startInterval),
    Retries: spec.retries || undefined,
  };
  return { Test: test, ...Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) };
}

function healthcheckText(spec: HealthcheckSpec, check: Healthcheck): string {
  const times = spec.none ? [0, 0, 0, 0] : [spec.interval, spec.timeout, spec.startPeriod, spec.startInterval];
  const durations = times.map((ms) => goQuote(goDuration(ms ?? 0))).join(" ");
  return `&{${goQuoteList(check.Test ?? [])} ${durations} ${goQuoteNumber(check.Retries ?? 0)}}`;
}

const signalNames = (
  "ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP TSTP " +
  "TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX"
).split(" ");

/** Names with or without SIG, in any case, RTMIN+n and RTMAX-n; any number but 0, as in the reference. */
function checkSignal(signal: string): void {
  const number = /^[-+]?\d+$/.test(signal) ? Number(signal) : undefined;
  if (number !== undefined ? number !== 0 : isSignalName(signal.toUpperCase().replace(/^SIG/, ""))) return;
  throw badValue("STOPSIGNAL", `"${signal}" is not a signal`);
}

const isSignalName = (name: string): boolean =>
  signalNames.includes(name) || /^RTMIN\+([1-9]|1[0-5])$/.test(name) || /^RTMAX-([1-9]|1[0-4])$/.test(name);

const badValue = (instruction: string, message: string) =>
  new AegisError("DOCKERFILE_VALUE", `${instruction}: ${message}`, { hint: "correct the instruction" });
