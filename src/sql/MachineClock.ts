/**
 * A clock that all processes of a machine share, that nobody can set, and that begins anew when the machine starts: what
 * leases are measured by. It stands still while the machine sleeps.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { readFile } from "node:fs/promises"
import process from "node:process"

/**
 * A count of milliseconds, and which count it is.
 *
 * @category models
 * @since 0.1.0
 */
export interface MachineClock {
  /** Which count of the clock this is: another one after each start of the machine, or {@link unknownBoot}. */
  readonly boot: string
  /** Milliseconds since some moment at or before the start of the machine. Never goes back. */
  readonly now: Effect.Effect<number>
}

/**
 * What a boot is called where the system does not tell one from another (outside of Linux).
 *
 * @category constants
 * @since 0.1.0
 */
export const unknownBoot = "unknown"

const read = (path: string) =>
  Effect.tryPromise(() => readFile(path, "utf8")).pipe(
    Effect.map((text) => text.trim()),
    Effect.orElseSucceed(() => "")
  )

/** A container can have a clock that is offset from that of its machine. */
const offset = Effect.map(read("/proc/self/timens_offsets"), (text) => {
  const [, seconds = "0", nanos = "0"] = /^monotonic\s+(-?\d+)\s+(\d+)/m.exec(text) ?? []
  return seconds === "0" && nanos === "0" ? "" : `+${seconds}.${nanos}`
})

/**
 * The clock of this machine.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<MachineClock> = Effect.gen(function*() {
  const id = yield* read("/proc/sys/kernel/random/boot_id")
  return {
    boot: id === "" ? unknownBoot : id + (yield* offset),
    now: Effect.sync(() => Number(process.hrtime.bigint() / 1_000_000n))
  }
})
