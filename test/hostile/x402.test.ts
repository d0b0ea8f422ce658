/**
 * Merchants, facilitators and nodes that lie, over x402.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import {
  cuts,
  demandsAgain,
  honest,
  refuses,
  replays,
  takes
} from "./merchant.ts"
import * as World from "./world.ts"

const { buy, failure, hostile, outcome, states } = World

describe("a merchant that lies about an x402 payment", () => {
  it.effect("pays an honest one once", () =>
    hostile({ paid: [honest] }, Effect.fnUntraced(function*({ chain, paid, signatures }) {
      assert.deepStrictEqual(yield* buy(), { bought: "content" })
      assert.deepStrictEqual(chain.moved, [World.price])
      assert.strictEqual(paid().length, 1)
      assert.strictEqual(signatures(), 3)
      assert.deepStrictEqual(yield* states, ["charge settled (claimed)"])
      assert.deepStrictEqual(yield* World.standing(), { spent: World.price, exposed: 0n })
    })))

  it.effect("signs once for one that takes the money and demands it again, for ever", () =>
    hostile({ paid: [takes(demandsAgain), demandsAgain] }, Effect.fnUntraced(function*({ chain, paid }) {
      assert.strictEqual(yield* outcome(buy()), "PaidUndelivered (spent)")
      assert.strictEqual(paid().length, 1)
      assert.deepStrictEqual(chain.moved, [World.price])
      assert.deepStrictEqual(yield* states, ["charge settled (observed)"])
    })))
})
void failure; void cuts; void refuses; void replays
