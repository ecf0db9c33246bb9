import { AegisError } from "../support/errors.js";

/** Linux's numbers on x86 and arm: the guest's, whatever the host is. */
const numbers: Readonly<Record<string, number>> = {
  HUP: 1,
  INT: 2,
  QUIT: 3,
  ILL: 4,
  TRAP: 5,
  ABRT: 6,
  BUS: 7,
  FPE: 8,
  KILL: 9,
  USR1: 10,
  SEGV: 11,
  USR2: 12,
  PIPE: 13,
  ALRM: 14,
  TERM: 15,
  STKFLT: 16,
  CHLD: 17,
  CONT: 18,
  STOP: 19,
  TSTP: 20,
  TTIN: 21,
  TTOU: 22,
  URG: 23,
  XCPU: 24,
  XFSZ: 25,
  VTALRM: 26,
  PROF: 27,
  WINCH: 28,
  IO: 29,
  PWR: 30,
  SYS: 31,
};

const realtimeFirst = 34;
const realtimeLast = 64;

/** `TERM`, `SIGTERM`, `15`, `RTMIN+1`. @throws AegisError BAD_SIGNAL */
export function parseSignal(text: string): number {
  const name = text.toUpperCase().replace(/^SIG/, "");
  const realtime = /^RT(MIN|MAX)(?:([+-])(\d+))?$/.exec(name);
  const number = /^\d+$/.test(name)
    ? Number(name)
    : realtime
      ? (realtime[1] === "MIN" ? realtimeFirst : realtimeLast) + Number(`${realtime[2] ?? "+"}${realtime[3] ?? 0}`)
      : numbers[name];
  if (number !== undefined && number >= 1 && number <= realtimeLast) return number;
  throw new AegisError("BAD_SIGNAL", `"${text}" is not a signal`, {
    hint: "give a name like TERM or SIGUSR1, or 1 to 64",
  });
}

/** `SIGTERM` for 15. */
export function signalName(number: number): string {
  const name = Object.keys(numbers).find((key) => numbers[key] === number);
  return name ? `SIG${name}` : `signal ${number}`;
}
