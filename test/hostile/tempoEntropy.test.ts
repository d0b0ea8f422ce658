/**
 * A process that adds entropy to all signatures, as viem allows: the same Tempo charge, signed again, has other bytes and
 * another hash. It cannot be undone, so these tests have a file of their own.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { setSignEntropy } from "viem/accounts"
import * as Wallet from "../../src/Wallet.ts"
import { privateKey } from "./audit.ts"
import { cuts } from "./merchant.ts"
import { replays, takes } from "./tempoMerchant.ts"
import { crashAt, modes, once, onceAtMost, points } from "./tempoStops.ts"
import * as World from "./tempoWorld.ts"

const { buy, hostile, outcome, pass } = World

setSignEntropy(true)

describe("a wallet whose signatures differ each time", () => {
  it.effect("42: says so", () =>
    Effect.gen(function*() {
      const { resign } = yield* Wallet.Wallet
      assert.strictEqual(resign, "equivalent")
    }).pipe(Effect.provide(Wallet.layerPrivateKey(Redacted.make(privateKey)))))

  for (const mode of modes) {
    it.effect(`42: pays once where the answer was lost (${mode})`, () =>
      hostile(
        { rail: { mode }, paid: [takes(cuts), cuts, cuts, cuts, cuts, replays] },
        Effect.fnUntraced(function*(world) {
          yield* outcome(buy())
          yield* world.restart(outcome(buy()))
          once(world)
        })
      ))

    for (const point of points[mode]) {
      for (const [when, duration] of [["at once", 0], ["after two minutes", 120_000]] as const) {
        it.effect(`42: pays once where its process crashes, and the next one asks ${when} (${mode}, ${point})`, () =>
          hostile(
            { rail: { mode }, paid: [replays] },
            Effect.fnUntraced(function*(world) {
              yield* crashAt(world, point)
              yield* pass(duration)
              yield* world.restart(outcome(buy()))
              onceAtMost(world)
            })
          ))
      }
    }
  }
})
