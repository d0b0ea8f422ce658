/**
 * Lines of comma-separated values, as RFC 4180 has them, for spreadsheets that must not take a cell for a formula.
 *
 * @since 0.1.0
 */

/** What begins like that is a formula to a spreadsheet. */
const formula = /^[=+\-@\t\r]/

/**
 * One cell. A cell that a spreadsheet would calculate begins with an apostrophe.
 *
 * @category formatting
 * @since 0.1.0
 */
export const cell = (text: string): string => {
  const harmless = formula.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll("\"", "\"\"")}"` : harmless
}

/**
 * One line, without its end.
 *
 * @category formatting
 * @since 0.1.0
 */
export const line = (cells: ReadonlyArray<string>): string => cells.map(cell).join(",")
