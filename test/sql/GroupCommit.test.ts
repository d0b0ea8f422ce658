import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Result } from "effect"
import * as GroupCommit from "../../src/sql/GroupCommit.ts"

/** A queue whose first commit waits until it is let go. */
const held = Effect.gen(function*() {
  const begun = yield* Deferred.make<void>()
  const go = yield* Deferred.make<void>()
  const commits: Array<ReadonlyArray<string>> = []
  const submit = yield* GroupCommit.make((steps: ReadonlyArray<string>) =>
    Effect.gen(function*() {
      commits.push(steps)
      yield* Deferred.succeed(begun, undefined)
      yield* Deferred.await(go)
      if (steps.includes("dies")) return yield* Effect.die("broken")
      return steps.map((step) => step === "fails" ? Result.fail(step) : Result.succeed(step))
    }), 256)
  return { begun: Deferred.await(begun), commits, go: Deferred.succeed(go, undefined), submit }
})

describe("a queue of steps", () => {
  it.effect("carries out together what waits together, each with its own outcome", () =>
    Effect.gen(function*() {
      const { begun, commits, go, submit } = yield* held
      const first = yield* Effect.forkChild(submit("first"))
      yield* begun
      const others = yield* Effect.forEach(["a", "fails", "b"], (step) => Effect.forkChild(Effect.exit(submit(step))))
      yield* Effect.yieldNow
      yield* go
      assert.strictEqual(yield* Fiber.join(first), "first")
      assert.deepStrictEqual(yield* Effect.forEach(others, Fiber.join), [
        Exit.succeed("a"),
        Exit.fail("fails"),
        Exit.succeed("b")
      ])
      assert.deepStrictEqual(commits, [["first"], ["a", "fails", "b"]])
    }))

  it.effect("goes on when who carries it out is interrupted, and does nothing twice", () =>
    Effect.gen(function*() {
      const { begun, commits, go, submit } = yield* held
      const first = yield* Effect.forkChild(submit("first"))
      yield* begun
      const others = yield* Effect.forEach(["a", "b", "c"], (step) => Effect.forkChild(submit(step)))
      yield* Effect.yieldNow
      const interrupts = yield* Effect.forEach([first, ...others.slice(0, 2)], (fiber) =>
        Effect.forkChild(Fiber.interrupt(fiber)))
      yield* Effect.yieldNow
      yield* go
      assert.strictEqual(yield* Fiber.join(others[2]!), "c")
      yield* Effect.forEach(interrupts, Fiber.join)
      assert.deepStrictEqual(commits, [["first"], ["a", "b", "c"]])
      assert.strictEqual(yield* submit("later"), "later")
    }))

  it.effect("tells all whose steps were in a commit that breaks, and goes on with those after it", () =>
    Effect.gen(function*() {
      const { begun, commits, go, submit } = yield* held
      const first = yield* Effect.forkChild(submit("first"))
      yield* begun
      const others = yield* Effect.forEach(["a", "dies", "b"], (step) => Effect.forkChild(Effect.exit(submit(step))))
      yield* Effect.yieldNow
      yield* go
      yield* Fiber.join(first)
      for (const exit of yield* Effect.forEach(others, Fiber.join)) {
        assert.isTrue(Exit.isFailure(exit) && Cause.pretty(exit.cause).includes("broken"))
      }
      assert.strictEqual(yield* submit("later"), "later")
      assert.deepStrictEqual(commits, [["first"], ["a", "dies", "b"], ["later"]])
    }))
})
