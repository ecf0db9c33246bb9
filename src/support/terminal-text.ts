/** Text of programs that nobody vouches for, made fit for a person's terminal. */

// ECMA-48: control sequences (CSI), strings that a terminal takes (OSC, DCS, SOS, PM, APC) to their end, two-character escapes.
const sequences =
  /(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]?|\u001b[\]PX^_][^\u0007\u001b\u009c]*(?:\u0007|\u001b\\|\u009c)?|\u001b[ -/]*[0-~]?/g;
const controls = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/g;

/** One line without anything that moves the cursor, colours or otherwise commands a terminal; of what was overwritten by `\r`, the last. */
export function terminalText(line: string): string {
  const ended = line.replace(/\r+$/, "");
  return ended
    .slice(ended.lastIndexOf("\r") + 1)
    .replace(sequences, "")
    .replace(/\t/g, "    ")
    .replace(controls, "");
}
