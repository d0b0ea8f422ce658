/**
 * Steps that are asked for at the same time share one transaction, and so one wait for the disk. Each of them happens whole
 * or not at all, in the order in which they were asked for.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Semaphore from "effect/Semaphore"

/**
 * As many steps share a transaction, at most.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxBatch = 256

interface Waiting<Step, A, E> {
  readonly step: Step
  outcome: Exit.Exit<A, E> | undefined
}

const lost = Exit.die(new Error("a step has no outcome"))

/**
 * Makes a queue of steps. Whoever comes to its head carries out all that wait behind him as well, so that there is nobody to
 * start or to stop. `commit` answers an outcome for every step. Nobody is interrupted who waits: his step may be written.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*<Step, A, E>(
  commit: (steps: ReadonlyArray<Step>) => Effect.Effect<ReadonlyArray<Result.Result<A, E>>>,
  atOnce: number
) {
  const turn = yield* Semaphore.make(1)
  const waiting: Array<Waiting<Step, A, E>> = []

  return (step: Step): Effect.Effect<A, E> =>
    Effect.uninterruptible(Effect.suspend(() => {
      const mine: Waiting<Step, A, E> = { step, outcome: undefined }
      waiting.push(mine)
      const carry = Effect.suspend(() => {
        if (mine.outcome !== undefined) return Effect.succeed(mine.outcome)
        // All who came before were at the head before, so that mine is among these.
        const together = waiting.splice(0, atOnce)
        return Effect.map(Effect.exit(commit(together.map(({ step }) => step))), (exit) => {
          together.forEach((one, at) => {
            const outcome = Exit.isSuccess(exit) ? exit.value[at] : undefined
            // If it breaks, all of them hear of it: none is in the queue any more.
            one.outcome = Exit.isFailure(exit)
              ? Exit.failCause(exit.cause)
              : outcome === undefined
              ? lost
              : Result.match(outcome, { onFailure: Exit.fail, onSuccess: Exit.succeed })
          })
          return mine.outcome
        })
      })
      // A commit that never waits would let nobody come: whoever is about to ask as well is let do it first.
      const carryAll = Effect.suspend(() => mine.outcome === undefined ? Effect.andThen(Effect.yieldNow, carry) : carry)
      return Effect.flatMap(
        turn.withPermits(1)(carryAll),
        (outcome): Effect.Effect<A, E> => outcome ?? lost
      )
    }))
})
