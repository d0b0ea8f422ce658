/**
 * Settlements that are under way when official servers answer: on a chain that makes blocks only when it is told to.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Schedule } from "effect"
import * as Evm from "../../src/testing/chain/Evm.ts"
import * as Servers from "./official/servers.ts"
import {
  agent,
  chain,
  finalize,
  get,
  paidRequestsDuring,
  purchases,
  reasonOf,
  standing,
  sweep,
  transfersDuring
} from "./payer.ts"

const servers = [
  {
    name: "@x402/hono over the official facilitator",
    server: Servers.hono({ confirmationTimeoutMs: 400 })
  },
  {
    name: "@x402/express over our facilitator",
    server: Servers.expressServer({ confirmationTimeout: "400 millis" })
  },
  {
    name: "x402-hono of version 1 over our facilitator",
    server: Servers.honoV1({ confirmationTimeout: "400 millis" })
  }
]

/** Waits until as many more payments have been verified: their settlement follows at once. */
const soldTimes = (times: number) =>
  Effect.gen(function*() {
    const { sold } = yield* Servers.OfficialServer
    const before = yield* sold
    return Effect.repeat(sold, {
      until: (count) => count >= before + times,
      schedule: Schedule.spaced("5 millis")
    })
  })

/** Waits until a transaction waits for its block. */
const submitted = Evm.EvmChain.use(({ rpc }) =>
  Effect.repeat(rpc("txpool_status"), {
    until: (status) => !JSON.stringify(status).includes(`"pending":"0x0"`),
    schedule: Schedule.spaced("5 millis")
  })
)

layer(chain({ noMining: true }), { excludeTestServices: true, timeout: "60 seconds" })(
  "a settlement that is pending",
  (it) => {
    for (const { name, server } of servers) {
      it.layer(server)(`at ${name}`, (it) => {
        it.effect("is waited for with the same authorisation, and the content comes with the block", () =>
          Effect.gen(function*() {
            const { mine } = yield* Evm.EvmChain
            const resent = yield* soldTimes(2)
            const bought = Effect.gen(function*() {
              const buying = yield* Effect.forkChild(Effect.flatMap(get("/paid"), (response) => response.json))
              yield* resent
              yield* mine()
              return yield* Fiber.join(buying)
            })
            const { transfers, value } = yield* transfersDuring(paidRequestsDuring(bought))
            assert.deepStrictEqual(value.value, { secret: 42 })
            assert.strictEqual(value.signed, 1)
            assert.isAtLeast(value.sent, 2)
            assert.strictEqual(transfers.length, 1)
            yield* finalize
            yield* sweep
            const [bill] = yield* purchases
            assert.deepStrictEqual(
              [bill!.evidence[0]?.rank, bill!.evidence[0]?.reference],
              ["proven", transfers[0]!.transaction]
            )
            assert.deepStrictEqual(yield* standing, { spent: 10_000n, exposed: 0n })
          }).pipe(Effect.provide(agent())))

        it.effect("that nobody waits for is held, and what the block says later is not paid for again", () =>
          Effect.gen(function*() {
            const { mine } = yield* Evm.EvmChain
            const bought = Effect.gen(function*() {
              const buying = yield* Effect.forkChild(get("/paid"))
              yield* submitted
              yield* Fiber.interrupt(buying)
              assert.deepStrictEqual(yield* standing, { spent: 0n, exposed: 10_000n })
              yield* mine()
              return yield* reasonOf(get("/paid"))
            })
            const { transfers, value } = yield* transfersDuring(paidRequestsDuring(bought))
            assert.strictEqual(value.value.reason._tag, "PaidUndelivered")
            assert.strictEqual(value.signed, 1)
            assert.strictEqual(transfers.length, 1)
            assert.strictEqual((yield* purchases).length, 1)
            assert.deepStrictEqual(yield* standing, { spent: 10_000n, exposed: 0n })
          }).pipe(Effect.provide(agent())))
      })
    }
  }
)
