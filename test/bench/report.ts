import { cpus } from "node:os"
import { crowdSize, type Result } from "./measure.ts"

const ms = (value: number) => `${value.toFixed(3)} ms`
const times = (value: number) => value.toFixed(3)

const header = ["per request", "A", "p50", "B", "p50", "B/A", "p25-p75", "target", "", "runs", `${crowdSize} at once`]

const row = ({ base, crowdRatio, met, name, ours, pairs, ratio, size, target }: Result) => [
  name,
  base.name,
  ms(base.p50),
  ours.name,
  ms(ours.p50),
  times(ratio.p50),
  `${times(ratio.p25)}-${times(ratio.p75)}`,
  `<= ${target.toFixed(2)}`,
  met ? "met" : "MISSED",
  `${pairs} x ${size}`,
  crowdRatio === null ? "-" : times(crowdRatio.p50)
]

/** One table. A ratio is the median of the ratios of neighbouring batches. */
export const table = (results: ReadonlyArray<Result>): string => {
  const rows = [header, ...results.map(row)]
  const widths = header.map((_, column) => Math.max(...rows.map((cells) => cells[column]!.length)))
  return rows.map((cells) => cells.map((cell, column) => cell.padEnd(widths[column]!)).join("  ").trimEnd()).join("\n")
}

/** The same as data, with what it was measured on. */
export const toJson = (results: ReadonlyArray<Result>) => ({
  node: process.version,
  cpu: cpus()[0]?.model ?? "unknown",
  cores: cpus().length,
  unit: "ms per request",
  results
})
