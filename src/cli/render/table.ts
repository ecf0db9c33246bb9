/** Plain aligned columns, as `docker ps` prints them. */

export interface Table<T> {
  readonly columns: readonly { readonly title: string; readonly value: (row: T) => string }[];
}

export function renderTable<T>(rows: readonly T[], table: Table<T>): string {
  const cells = [table.columns.map((c) => c.title), ...rows.map((row) => table.columns.map((c) => c.value(row)))];
  const widths = table.columns.map((_, i) => Math.max(...cells.map((line) => line[i]!.length)));
  return cells
    .map((line) =>
      line
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join("   ")
        .trimEnd(),
    )
    .join("\n");
}
