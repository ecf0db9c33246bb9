/** What every command shares: the home, the output format, and the one place that prints. */
import { Command, Option } from "clipanion";
import { type AegisHome, openHome } from "../support/home.js";
import { renderTable, type Table } from "./render/table.js";

export abstract class AegisCommand extends Command {
  /** Set by commands whose first positional ends the options: what follows belongs to the program that is run. */
  static passThrough = false;

  format = Option.String("--format", { description: "text (default) or json" });

  #home: AegisHome | undefined;
  get home(): AegisHome {
    this.#home ??= openHome(process.env);
    return this.#home;
  }

  get json(): boolean {
    return this.format === "json";
  }

  /** Prints a result as text by `render`, or as JSON. */
  print<T>(value: T, render: (value: T) => string): void {
    const text = this.json ? JSON.stringify(value, null, 2) : render(value);
    if (text !== "") this.context.stdout.write(text.endsWith("\n") ? text : `${text}\n`);
  }

  /** One line for people on standard error, so that standard output stays for results. */
  note(line: string): void {
    this.context.stderr.write(`${line}\n`);
  }

  printTable<T>(rows: readonly T[], table: Table<T>): void {
    this.print(rows, (all) => renderTable(all, table));
  }
}
