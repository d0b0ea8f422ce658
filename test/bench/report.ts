import { cpus } from "node:os"
import { type Measured, targets } from "./ledger.ts"
import { crowdSize, type Result, type Spread } from "./measure.ts"

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

const aligned = (rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((cells) => cells[column]!.length)))
  return rows.map((cells) => cells.map((cell, column) => cell.padEnd(widths[column]!)).join("  ").trimEnd()).join("\n")
}

/** One table. A ratio is the median of the ratios of neighbouring batches. */
export const table = (results: ReadonlyArray<Result>): string => aligned([header, ...results.map(row)])

const quartiles = ({ p25, p75 }: Spread, show: (value: number) => string) => `${show(p25)}-${show(p75)}`

const count = (value: number) => value.toFixed(0)

const verdict = (met: boolean) => met ? "met" : "MISSED"

/** Two tables: authorisations per second, and what one hold and one paid request take. */
export const ledgerTables = ({ costs, rates }: Measured): string => {
  const perSecond = rates.map(({ alone, fibers, ratio, store, together }) => {
    const isTarget = fibers === 64 && ratio !== null
    return [
      store,
      String(fibers),
      alone === null ? "-" : count(alone.p50),
      count(together.p50),
      ratio === null ? "-" : times(ratio.p50),
      ratio === null ? "-" : quartiles(ratio, times),
      isTarget ? `>= ${targets.together}` : "-",
      isTarget ? verdict(ratio.p50 >= targets.together) : ""
    ]
  })
  const perPayment = costs.map(({ empty, full, ratio, rows, store, what }) => [
    store,
    what,
    ms(empty.p50),
    `after ${rows}: ${ms(full.p50)}`,
    times(ratio.p50),
    quartiles(ratio, times),
    `<= ${targets.full.toFixed(2)}`,
    verdict(ratio.p50 <= targets.full)
  ])
  const columns = ["B/A", "p25-p75", "target", ""]
  return [
    aligned([["authorisations/s", "fibers", "A: one wait for each", "B: group commit", ...columns], ...perSecond]),
    aligned([["ledger", "per", "A: new", "B: full", ...columns], ...perPayment])
  ].join("\n\n")
}

const machine = () => ({ node: process.version, cpu: cpus()[0]?.model ?? "unknown", cores: cpus().length })

/** The same as data, with what it was measured on. */
export const toJson = (results: ReadonlyArray<Result>, ledger: Measured | null) => ({
  ...machine(),
  unit: "ms per request",
  results,
  ledger: ledger === null ? null : { targets, ...ledger }
})
