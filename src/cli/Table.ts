/**
 * Text in aligned columns, for terminals and pipes alike: no colours, nothing that moves a cursor.
 *
 * @since 0.1.0
 */
import * as CliOutput from "effect/cli/CliOutput"

/**
 * A column: its title, and the side that its cells stand on. Numbers belong to the right.
 *
 * @category models
 * @since 0.1.0
 */
export interface Column {
  readonly title: string
  readonly align?: "left" | "right"
}

/**
 * Makes text harmless to print in one line: whatever could move a cursor, change a colour or turn the direction of the
 * text becomes a space.
 *
 * @category formatting
 * @since 0.1.0
 */
export const clean = (text: string): string => text.replace(/[\p{C}\u2028\u2029]+/gu, " ").trim()

const gap = "  "

const aligned = (cells: ReadonlyArray<ReadonlyArray<string>>, sides: ReadonlyArray<"left" | "right">): string => {
  const widths = sides.map((_, at) => Math.max(...cells.map((row) => CliOutput.displayWidth(row[at] ?? ""))))
  return cells.map((row) =>
    sides.map((side, at) => {
      const cell = row[at] ?? ""
      const padding = " ".repeat(widths[at]! - CliOutput.displayWidth(cell))
      return side === "right" ? padding + cell : cell + padding
    }).join(gap).trimEnd()
  ).join("\n")
}

/**
 * A table with a line of titles. A column is named by its title alone where its cells stand on the left.
 *
 * @category formatting
 * @since 0.1.0
 */
export const render = (
  columns: ReadonlyArray<string | Column>,
  rows: ReadonlyArray<ReadonlyArray<string>>
): string => {
  const named = columns.map((column) => typeof column === "string" ? { title: column } : column)
  return aligned(
    [named.map(({ title }) => title.toUpperCase()), ...rows.map((row) => row.map(clean))],
    named.map((column: Column) => column.align ?? "left")
  )
}

/**
 * Names on the left, what they stand for on the right.
 *
 * @category formatting
 * @since 0.1.0
 */
export const list = (entries: ReadonlyArray<readonly [name: string, value: string]>): string =>
  entries.length === 0 ? "" : aligned(entries.map((entry) => entry.map(clean)), ["left", "left"])

/**
 * The same text, each line moved to the right.
 *
 * @category formatting
 * @since 0.1.0
 */
export const indent = (text: string, by = 2): string => text.replace(/^(?=.)/gm, " ".repeat(by))
