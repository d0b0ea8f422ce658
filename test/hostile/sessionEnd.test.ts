/**
 * How sessions end while others are at work on them: what one fiber, merchant or endpoint does must not free, lose or lock
 * the money of another.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Ledger from "../../src/Ledger.ts"
import * as Payment from "../../src/Payment.ts"
import { breaksOff, cuts, honest, replays, type Step, takes } from "./merchant.ts"
import * as World from "./world.ts"

const { buy, deliveries, fetch, hostile, idle, origin, outcome, pass, patiently, price } = World

const crawl = Payment.with({ expect: 10 })

const sessions = Effect.map(
  Effect.flatMap(Ledger.Ledger, (ledger) => ledger.sessions({})),
  (all) => all.toReversed().map(({ state }) => state)
)

/** Debits the price, and says in its receipt that it was twice as much. */
const claimsTwice: Step = (sale) =>
  Effect.map(sale.take(), () => {
    const [name, value] = Object.entries(sale.receipt())[0]!
    const receipt: object = JSON.parse(Buffer.from(value, "base64url").toString())
    const lie = Buffer.from(JSON.stringify({ ...receipt, amountUsdc: "0.02" })).toString("base64url")
    return new Response("{}", { headers: { [name]: lie } })
  })

describe("the end of a session", () => {
  it.effect("is not told by a receipt that claims too much: it frees no draw of another", () =>
    hostile(
      { sells: ["session"], paid: [claimsTwice, takes(cuts), takes(cuts), honest] },
      Effect.fnUntraced(function*({ moved, paid }) {
        const fibers = yield* Effect.forEach(
          ["/data?1", "/data?2"],
          (path) => Effect.forkChild(outcome(crawl(fetch(`${origin}${path}`))))
        )
        const outcomes = yield* patiently(Fiber.joinAll(fibers))
        assert.deepStrictEqual(outcomes, ["content", "PaidUndelivered (spent)"])
        assert.strictEqual(paid().length, 2)
        assert.strictEqual(yield* moved, 2n * price)
      })
    ))

  it.effect("comes for all who wait for it, though the one that asked first gives up", () => {
    const slowlyCut: Step = () => Effect.as(Effect.sleep("1 second"), "cut" as const)
    return hostile(
      {
        sells: ["session"],
        paid: [honest, slowlyCut, slowlyCut, honest],
        endpoint: ({ honest, request }) =>
          request.method === "DELETE" ? Effect.andThen(Effect.sleep("3 seconds"), honest) : honest
      },
      Effect.fnUntraced(function*() {
        assert.strictEqual(yield* outcome(crawl(buy())), "content")
        const first = yield* Effect.forkChild(crawl(fetch()))
        const second = yield* Effect.forkChild(crawl(fetch()))
        yield* idle
        yield* pass("1500 millis")
        yield* Effect.forkChild(Fiber.interrupt(first))
        const exit = yield* patiently(Fiber.await(second))
        assert.isFalse(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
        assert.isTrue(Exit.isSuccess(exit), "proven unspent, and drawn again")
      })
    )
  })

  it.effect("comes at once for one that cannot pay for a single request, and is not asked for without end", () =>
    hostile(
      {
        sells: ["session"],
        endpoint: ({ honest, request }) =>
          request.method !== "POST" ? honest : Effect.flatMap(honest, (response) =>
            Effect.promise(async () => {
              const granted = await response.json() as object
              return new Response(JSON.stringify({ ...granted, spendingLimitUsdc: "0.000001" }), { status: 201 })
            }))
      },
      Effect.fnUntraced(function*({ calls }) {
        assert.strictEqual(yield* outcome(crawl(buy())), "ProtocolError (unspent)")
        assert.deepStrictEqual(calls.map((it) => it.method), ["POST", "DELETE"])
        assert.deepStrictEqual(yield* sessions, ["closed"])
      })
    ))
})

describe("a resumed purchase", () => {
  it.effect("whose content came and did not reach its caller is resumed again, and paid for once", () => {
    let slow = false
    return hostile(
      {
        sells: ["x402"],
        paid: [takes(breaksOff), replays, replays],
        ledger: (inner) => ({
          ...inner,
          delivered: (id, delivery) =>
            slow && delivery === "delivering"
              ? Effect.andThen(Effect.sleep("1 second"), inner.delivered(id, delivery))
              : inner.delivered(id, delivery)
        })
      },
      Effect.fnUntraced(function*({ moved }) {
        yield* Effect.exit(buy())
        slow = true
        const fiber = yield* Effect.forkChild(fetch())
        yield* pass("500 millis")
        yield* Effect.forkChild(Fiber.interrupt(fiber))
        yield* pass("2 seconds")
        slow = false
        yield* buy()
        assert.strictEqual((yield* deliveries).length, 1)
        assert.strictEqual(yield* moved, price)
      })
    )
  })
})
