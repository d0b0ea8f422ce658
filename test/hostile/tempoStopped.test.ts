/**
 * Tempo charges that are stopped anywhere: the caller gives up, or the process is gone. Whatever was under way, the next equal
 * request makes it one charge.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import { Account } from "viem/tempo"
import * as Wallet from "../../src/Wallet.ts"
import { breaksOff, cuts } from "./merchant.ts"
import { demandsAgain, honest, replays, type Step, takes } from "./tempoMerchant.ts"
import { crashAt, giveUpAt, modes, once, onceAtMost, points } from "./tempoStops.ts"
import * as World from "./tempoWorld.ts"

const { buy, hostile, outcome, pass, states, sweep } = World

/** The body's headers come, and nothing else. */
const trickles: Step = ({ receipt }) =>
  new Response(new ReadableStream({ start: (controller) => controller.enqueue(new TextEncoder().encode("{\"bo")) }), {
    headers: receipt()
  })

describe("a Tempo charge that its caller gives up", () => {
  for (const mode of modes) {
    for (const point of points[mode]) {
      for (
        const [when, duration] of [["at once", 0], ["after ten seconds", 10_000], [
          "after two minutes",
          120_000
        ]] as const
      ) {
        it.effect(`is one charge when the request comes again ${when} (${mode}, ${point})`, () =>
          hostile(
            { rail: { mode }, paid: [replays] },
            Effect.fnUntraced(function*(world) {
              yield* giveUpAt(world, point)
              yield* pass(duration)
              assert.strictEqual(yield* outcome(buy()), "content")
              once(world)
            })
          ))
      }

      it.effect(`is paid once, too, at a merchant that takes a credential once (${mode}, ${point})`, () =>
        hostile(
          { rail: { mode }, paid: [honest] },
          Effect.fnUntraced(function*(world) {
            yield* giveUpAt(world, point)
            assert.include(["content", "PaidUndelivered (spent)"], yield* outcome(buy()))
            once(world)
          })
        ))
    }

    it.effect(`is one charge when it is given up while the content is read (${mode})`, () =>
      hostile(
        { rail: { mode }, paid: [takes(trickles), replays] },
        Effect.fnUntraced(function*(world) {
          const fiber = yield* Effect.forkChild(World.fetch())
          yield* pass("3 seconds")
          yield* World.patiently(Fiber.interrupt(fiber))
          yield* outcome(buy())
          onceAtMost(world)
        })
      ))

    it.effect(`is one charge when the content breaks off (${mode})`, () =>
      hostile(
        { rail: { mode }, paid: [takes(breaksOff), replays] },
        Effect.fnUntraced(function*(world) {
          yield* outcome(buy())
          assert.strictEqual(yield* outcome(buy()), "content")
          once(world)
        })
      ))
  }
})

describe("a Tempo charge whose process crashes", () => {
  for (const mode of modes) {
    for (const point of points[mode]) {
      for (const [when, duration] of [["at once", 0], ["after two minutes", 120_000]] as const) {
        it.effect(`is one charge when the next process asks ${when} (${mode}, ${point})`, () =>
          hostile(
            { rail: { mode }, paid: [replays] },
            Effect.fnUntraced(function*(world) {
              yield* crashAt(world, point)
              yield* pass(duration)
              assert.strictEqual(yield* world.restart(outcome(buy())), "content")
              once(world)
            })
          ))

        it.effect(`is in the books when the next process asks nothing but the chain ${when} (${mode}, ${point})`, () =>
          hostile(
            { rail: { mode }, paid: [replays] },
            Effect.fnUntraced(function*(world) {
              yield* crashAt(world, point)
              yield* pass(duration)
              yield* world.restart(sweep)
              onceAtMost(world)
            })
          ))
      }
    }
  }

  it.effect("41: is signed to the same bytes after a restart within its validity", () =>
    hostile(
      { paid: [replays] },
      Effect.fnUntraced(function*(world) {
        yield* crashAt(world, "answer")
        yield* pass("15 seconds")
        assert.strictEqual(yield* world.restart(outcome(buy())), "content")
        assert.strictEqual(world.signed.length, 2)
        assert.strictEqual(new Set(world.signed).size, 1)
        once(world)
      })
    ))

  it.effect("44: presents the same hash after a crash between broadcast and credential", () =>
    hostile(
      { rail: { mode: "push" } },
      Effect.fnUntraced(function*(world) {
        yield* crashAt(world, "send")
        const [mined] = world.chain.mined
        yield* pass("1 minute")
        assert.strictEqual(yield* world.restart(outcome(buy())), "content")
        assert.include(world.hashes(), mined!.hash)
        once(world)
      })
    ))
})

/** A key whose signatures a device makes, each time others. */
const device: Layer.Layer<Wallet.Wallet, unknown> = Wallet.layer(
  Account.fromP256("0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d") as never,
  { resign: "no" }
)

describe("a wallet that cannot repeat its signatures", () => {
  for (const mode of modes) {
    it.effect(`43: is asked for no second signature where a person gives it (${mode})`, () =>
      hostile(
        { rail: { mode }, wallet: device, paid: [takes(cuts), cuts] },
        Effect.fnUntraced(function*(world) {
          const expected = "PaidUndelivered (spent)"
          assert.strictEqual(yield* outcome(buy()), expected)
          assert.strictEqual(yield* outcome(buy()), expected)
          assert.strictEqual(world.signed.length, 1, "nobody was asked twice")
          once(world)
        })
      ))

    it.effect(`43: is reconciled where the answer was lost and nothing was taken (${mode})`, () =>
      hostile(
        { rail: { mode }, wallet: device, paid: [demandsAgain] },
        Effect.fnUntraced(function*(world) {
          yield* outcome(buy())
          yield* outcome(buy())
          assert.strictEqual(world.signed.length, 1)
          yield* pass("1 minute")
          yield* sweep
          if (mode === "pull") assert.deepStrictEqual(yield* states, ["charge released (proven)"])
        })
      ))

    for (const point of ["sign", "signed", "send", "answer"]) {
      it.effect(`43: pays once though its process crashes (${mode}, ${point})`, () =>
        hostile(
          { rail: { mode }, wallet: device, paid: [replays] },
          Effect.fnUntraced(function*(world) {
            yield* crashAt(world, point)
            yield* world.restart(outcome(buy()))
            onceAtMost(world)
            assert.strictEqual(world.reached.get("sign"), 1, "nobody was asked twice")
          })
        ))
    }
  }
})
