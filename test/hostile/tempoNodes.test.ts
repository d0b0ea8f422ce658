/**
 * Chains and nodes that lie about Tempo charges, fail, or say nothing.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Budget from "../../src/Budget.ts"
import * as TempoTransaction from "../../src/wire/mpp/TempoTransaction.ts"
import { cuts, status } from "./merchant.ts"
import * as Chain from "./tempoChain.ts"
import { demandsAgain, replays, takes } from "./tempoMerchant.ts"
import { crashAt } from "./tempoStops.ts"
import * as World from "./tempoWorld.ts"

const { buy, hostile, order, outcome, pass, price, standing, states, sweep } = World

const other = "0x90f79bf6eb2c4f870365e785982e1f101e93b906"

/** What a node is asked that sees no transaction. */
const blind = new Set(["eth_getTransactionReceipt", "eth_getLogs", "eth_getTransactionByHash"])

/** The receipt of somebody else's transaction, which made the same transfers. */
const strange = (signed: string) => {
  const transaction = Option.getOrThrow(TempoTransaction.decode(signed))
  return Chain.receiptOf({
    hash: `0x${"9".repeat(64)}`,
    transaction,
    block: 1,
    succeeded: true,
    transfers: Chain.transfersOf(transaction),
    gasUsed: 1n,
    gasPrice: 1n,
    fee: 1n
  })
}

const nodes = ["rpc.test", "rpc2.test"]

/** One transaction was mined, and no other one can be. */
const once = ({ chain, hashes, signed }: World.World) => {
  assert.deepStrictEqual(chain.moved, [price])
  assert.strictEqual(new Set(signed).size, 1, "one transaction, however often it was signed")
  assert.isAtMost(new Set(hashes()).size, 1)
}

describe("a node that lies about a Tempo charge", () => {
  for (const mode of ["pull", "push"] as const) {
    const rail = { mode }

    it.effect(`39: makes it sign no price of gas that no chain has, whatever the program allows (${mode})`, () =>
      Effect.forEach([10n ** 12n, 10n ** 15n, 10n ** 18n, 10n ** 30n], (baseFee) =>
        hostile(
          { rail: { ...rail, maxFee: "1000000" }, budget: Budget.make({ limit: 10n ** 12n, window: "1 hour" }) },
          Effect.fnUntraced(function*(world) {
            world.chain.baseFee = baseFee
            assert.match(yield* outcome(buy()), /\(unspent\)$/)
            assert.strictEqual(world.signed.length, 0)
          })
        ), { discard: true }))

    it.effect(`39: makes it sign for no more gas than transfers can take, and for no dearer fee than is allowed (${mode})`, () =>
      Effect.forEach(
        [10n ** 9n, 10n ** 18n, 2n ** 255n],
        (gas) =>
          Effect.forEach(["0.02", "0.005"], (maxFee) =>
            hostile(
              { rail: { ...rail, maxFee } },
              Effect.fnUntraced(function*(world) {
                world.chain.lie = ({ method }) =>
                  method === "eth_estimateGas" ? { result: `0x${gas.toString(16)}` } : undefined
                assert.strictEqual(yield* outcome(buy()), maxFee === "0.02" ? "content" : "PolicyDenied (unspent)")
                for (const signed of world.signed) {
                  const { gas, maxFeePerGas } = Option.getOrThrow(TempoTransaction.decode(signed))
                  assert.isTrue(gas * maxFeePerGas <= BigInt(Number(maxFee) * 1e18))
                }
              })
            ), { discard: true }),
        { discard: true }
      ))

    it.effect(`39: takes all the gas and the highest fee that was signed: no more than was held (${mode})`, () =>
      hostile(
        { rail },
        Effect.fnUntraced(function*(world) {
          world.waits.set(
            "signed",
            Effect.sync(() => {
              const { gas, maxFeePerGas } = Option.getOrThrow(TempoTransaction.decode(world.signed.at(-1)!))
              world.chain.gas = gas
              world.chain.baseFee = maxFeePerGas
            })
          )
          assert.strictEqual(yield* outcome(buy()), "content")
          const [authorization] = yield* World.authorizations
          assert.isTrue(world.chain.taken <= authorization!.holdUsd)
          assert.isTrue(world.chain.mined[0]!.fee > price / 10n, "it was dear")
        })
      ))

    it.effect(`40: makes it sign for no other chain, and for no other payer (${mode})`, () =>
      hostile(
        { rail },
        Effect.fnUntraced(function*(world) {
          world.chain.lie = ({ method }) => method === "eth_chainId" ? { result: "0x1079" } : undefined
          assert.match(yield* outcome(buy()), /\(unspent\)$/)
          assert.strictEqual(world.signed.length, 0)
        })
      ))

    it.effect(`40: is not asked to fill a transaction in, and what it adds to its answers is not read (${mode})`, () =>
      hostile(
        { rail },
        Effect.fnUntraced(function*(world) {
          const filled = {
            from: other,
            chainId: "0x1",
            maxFeePerGas: "0xffffffffffffffff",
            nonce: "0x7",
            validAfter: "0x1"
          }
          world.chain.lie = ({ honest, method }) => {
            const answer = honest()
            return method === "eth_getBlockByNumber" && "result" in answer
              ? { result: { ...(answer.result as object), ...filled } }
              : answer
          }
          assert.strictEqual(yield* outcome(buy()), "content")
          const transaction = Option.getOrThrow(TempoTransaction.decode(world.signed[0]!))
          assert.strictEqual(transaction.chainId, Chain.chainId)
          assert.strictEqual(transaction.from, "0x70997970c51812dc3a010c7d01b50e0d17dc79c8")
          assert.strictEqual(transaction.validAfter, undefined)
          const asked = new Set(world.chain.calls.map(({ method }) => method))
          for (const method of ["eth_fillTransaction", "eth_getTransactionCount"]) assert.isFalse(asked.has(method))
        })
      ))

    it.effect(`50: is not believed where its receipt lacks a split: the money counts, and the mismatch is told (${mode})`, () =>
      hostile(
        {
          rail,
          change: { details: { splits: [{ amount: "100", recipient: other }, { amount: "200", recipient: other }] } },
          paid: [takes(mode === "pull" ? cuts : status(200)), cuts]
        },
        Effect.fnUntraced(function*(world) {
          /** The second split's own log. */
          const lacks = ({ data }: { readonly data: string }) => BigInt(data) !== 200n
          world.chain.lie = ({ honest, method }) => {
            const answer = honest()
            if (!("result" in answer) || answer.result === null) return answer
            if (method === "eth_getTransactionReceipt") {
              const receipt = answer.result as ReturnType<typeof Chain.receiptOf>
              return { result: { ...receipt, logs: receipt.logs.filter(lacks) } }
            }
            return method === "eth_getLogs"
              ? { result: (answer.result as ReturnType<typeof Chain.logsOf>).filter(lacks) }
              : answer
          }
          yield* outcome(buy())
          yield* pass("10 seconds")
          yield* sweep
          const [authorization] = yield* World.authorizations
          assert.strictEqual(authorization!.state, "settled")
          assert.isTrue(authorization!.evidence.some(({ mismatch }) => mismatch === true), "it is told")
        })
      ))

    it.effect(`says of a transaction that it succeeded, and shows no transfer: the money counts, and it is told (${mode})`, () =>
      hostile(
        { rail, paid: [takes(mode === "pull" ? cuts : status(200)), cuts] },
        Effect.fnUntraced(function*(world) {
          world.chain.lie = ({ honest, method }) => {
            const answer = honest()
            if (method === "eth_getTransactionReceipt" && "result" in answer && answer.result !== null) {
              return { result: { ...(answer.result as object), logs: [] } }
            }
            return answer
          }
          yield* outcome(buy())
          yield* pass("10 seconds")
          yield* sweep
          const [authorization] = yield* World.authorizations
          assert.strictEqual(authorization!.state, "settled")
          assert.isTrue(authorization!.evidence.some(({ mismatch }) => mismatch === true), "it is told")
        })
      ))

    it.effect(`invents a receipt of what never was mined: it counts until another node's word, and is put right (${mode})`, () =>
      hostile(
        { rail, paid: [takes(demandsAgain)] },
        Effect.fnUntraced(function*(world) {
          world.chain.mines = false
          world.chain.lie = ({ method, params }) =>
            method === "eth_getTransactionReceipt"
              ? {
                result: {
                  transactionHash: params[0],
                  blockNumber: "0x1",
                  status: "0x1",
                  gasUsed: "0x1",
                  effectiveGasPrice: "0x1",
                  logs: []
                }
              }
              : undefined
          yield* outcome(buy())
          const { exposed, spent } = yield* standing()
          assert.isTrue(exposed + spent >= price)
        })
      ))

    it.effect(`is of another opinion than the other node: nothing is released (${mode})`, () =>
      Effect.forEach(nodes, (liar) =>
        hostile(
          { rail, nodes: 2, paid: [takes(demandsAgain)] },
          Effect.fnUntraced(function*(world) {
            world.chain.lie = ({ host, method }) =>
              host !== liar || !blind.has(method)
                ? undefined
                : { result: method === "eth_getLogs" ? [] : null }
            yield* outcome(buy())
            yield* pass("1 minute")
            yield* sweep
            assert.strictEqual(world.chain.mined.length, 1)
            assert.notInclude(["charge released (proven)"], (yield* states)[0]!)
            const { exposed, spent } = yield* standing()
            assert.isTrue(exposed + spent >= world.chain.taken)
          })
        ), { discard: true }))

    it.effect(`says of another transaction that it is this one: it is not believed (${mode})`, () =>
      hostile(
        { rail, paid: [takes(demandsAgain)] },
        Effect.fnUntraced(function*(world) {
          world.chain.mines = false
          world.chain.lie = ({ method }) =>
            world.signed.length > 0 && (method === "eth_getTransactionReceipt" || method.endsWith("Sync"))
              ? { result: strange(world.signed[0]!) }
              : undefined
          yield* outcome(buy())
          assert.notInclude((yield* states)[0]!, "settled")
          assert.deepStrictEqual(world.hashes(), [])
          yield* pass("1 minute")
          yield* sweep
          assert.notInclude((yield* states)[0]!, "settled")
        })
      ))

    it.effect(`says that a transaction was reverted, and the other node that it was not: nothing is released (${mode})`, () =>
      Effect.forEach(nodes, (liar) =>
        hostile(
          { rail, nodes: 2, paid: [takes(cuts), cuts] },
          Effect.fnUntraced(function*(world) {
            world.chain.lie = ({ honest, host, method }) => {
              const answer = honest()
              const lies = host === liar && method === "eth_getTransactionReceipt"
              return lies && "result" in answer && answer.result !== null
                ? { result: { ...(answer.result as object), status: "0x0", logs: [] } }
                : answer
            }
            yield* outcome(buy())
            yield* pass("1 minute")
            yield* sweep
            assert.notInclude((yield* states)[0]!, "released")
            assert.strictEqual(world.chain.mined.length, 1)
          })
        ), { discard: true }))

    it.effect(`is ahead of its time, and blind; the other node is not: nothing is released (${mode})`, () =>
      Effect.forEach(nodes, (liar) =>
        hostile(
          { rail, nodes: 2, paid: [demandsAgain] },
          Effect.fnUntraced(function*(world) {
            if (mode === "push") world.chain.mines = false
            world.chain.lie = ({ host, method }) =>
              host !== liar || world.signed.length === 0
                ? undefined
                : method === "eth_getBlockByNumber"
                ? { result: { number: "0xffffff", timestamp: "0xffffffff", baseFeePerGas: "0x1" } }
                : method === "eth_getLogs"
                ? { result: [] }
                : undefined
            const fiber = yield* Effect.forkChild(outcome(World.fetch()))
            yield* pass("10 seconds")
            assert.notInclude(yield* states, "charge released (proven)")
            world.chain.mine(yield* world.now)
            if (mode === "pull") world.chain.submit(world.signed[0]!, yield* world.now)
            yield* World.patiently(Fiber.join(fiber))
            assert.notInclude(yield* states, "charge released (proven)")
            assert.deepStrictEqual(world.chain.moved, [price])
          })
        ), { discard: true }))

    it.effect(`sees nothing, and is the only one of two that answers: nothing is released (${mode})`, () =>
      Effect.forEach(nodes, (liar) =>
        hostile(
          { rail, nodes: 2, paid: [takes(demandsAgain)] },
          Effect.fnUntraced(function*(world) {
            yield* outcome(buy())
            world.chain.reorganise()
            world.chain.lie = ({ host, method }) =>
              host !== liar
                ? "down"
                : blind.has(method)
                ? { result: method === "eth_getLogs" ? [] : null }
                : undefined
            yield* pass("1 minute")
            yield* sweep
            assert.notInclude(["charge released (proven)"], (yield* states)[0]!)
            assert.isTrue((yield* standing()).exposed + (yield* standing()).spent >= price)
          })
        ), { discard: true }))

    it.effect(`loses the block, and the transaction is not mined again: it is released when that is final (${mode})`, () =>
      hostile(
        { rail, paid: [takes(cuts), cuts] },
        Effect.fnUntraced(function*(world) {
          yield* outcome(order())
          world.chain.reorganise()
          yield* pass("1 minute")
          yield* sweep
          yield* sweep
          assert.deepStrictEqual(yield* states, ["charge released (proven)"])
          assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: 0n })
        })
      ))

    it.effect(`stands still: nothing is released, and what it includes late with an old stamp is found (${mode})`, () =>
      hostile(
        { rail, paid: [demandsAgain] },
        Effect.fnUntraced(function*(world) {
          world.waits.set(
            mode === "pull" ? "send" : "rpc eth_sendRawTransaction",
            Effect.sync(() => {
              world.chain.halt(World.start / 1000 + 1)
              world.chain.mines = false
            })
          )
          yield* outcome(buy())
          yield* pass("5 minutes")
          yield* sweep
          assert.match((yield* states)[0]!, /^charge unknown/)
          world.chain.mines = true
          world.chain.submit(world.signed[0]!, World.start / 1000 + 1)
          world.chain.mine(World.start / 1000 + 1)
          world.chain.goOn()
          world.waits.clear()
          yield* sweep
          assert.deepStrictEqual(yield* states, ["charge settled (proven)"])
          once(world)
        })
      ))

    it.effect(`keeps no logs, and has forgotten the receipt: nothing is released (${mode})`, () =>
      hostile(
        { rail, paid: [takes(cuts), cuts] },
        Effect.fnUntraced(function*(world) {
          world.chain.lie = ({ method }) =>
            method === "eth_getLogs"
              ? { error: { code: -32000, message: "the logs are pruned" } }
              : method === "eth_getTransactionReceipt"
              ? { result: null }
              : undefined
          yield* outcome(buy())
          yield* pass("1 minute")
          yield* sweep
          assert.match((yield* states)[0]!, /^charge unknown/)
          assert.isTrue((yield* standing()).exposed >= world.chain.taken)
        })
      ))

    for (const answer of ["down", "hangs"] as const) {
      for (
        const [when, methods] of [
          ["at everything", /./],
          ["at the block", /eth_getBlockByNumber/],
          ["at the estimate", /eth_estimateGas/],
          ["at the balance", /eth_call/],
          ["at the broadcast", /eth_sendRaw/],
          ["at the receipt", /eth_getTransactionReceipt/],
          ["at the logs", /eth_getLogs/]
        ] as const
      ) {
        it.effect(`that is ${answer === "down" ? "down" : "silent"} ${when} makes it pay once at most (${mode})`, () =>
          hostile(
            { rail, paid: [takes(cuts), cuts, cuts, cuts, cuts, replays] },
            Effect.fnUntraced(function*(world) {
              world.chain.lie = ({ method }) => methods.test(method) ? answer : undefined
              yield* outcome(buy())
              assert.isAtMost(world.chain.mined.length, 1)
              world.chain.lie = () => undefined
              yield* outcome(buy())
              assert.isAtMost(world.chain.mined.length, 1)
              assert.isAtMost(new Set(world.hashes()).size, 1)
            })
          ))
      }
    }

    it.effect(`that nobody configured: nothing is signed without a price of gas (${mode})`, () =>
      hostile(
        { rail, nodes: 0 },
        Effect.fnUntraced(function*({ signed }) {
          assert.match(yield* outcome(buy()), /\(unspent\)$/)
          assert.strictEqual(signed.length, 0)
        })
      ))
  }

  it.effect("sees a pull reverted: the fee is booked, and the price returned", () =>
    hostile(
      {},
      Effect.fnUntraced(function*(world) {
        world.chain.reverts = true
        yield* outcome(buy())
        yield* pass("1 minute")
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge released (proven)"])
        assert.deepStrictEqual(yield* standing(), { spent: world.chain.mined[0]!.fee, exposed: 0n })
      })
    ))

  for (const mode of ["pull", "push"] as const) {
    it.effect(`sees a transaction reverted whose payer crashed: the fee is booked, and the price returned (${mode})`, () =>
      hostile(
        { rail: { mode } },
        Effect.fnUntraced(function*(world) {
          world.chain.reverts = true
          yield* crashAt(world, mode === "pull" ? "answer" : "rpc eth_sendRawTransaction answered")
          assert.strictEqual(world.chain.mined.length, 1)
          yield* pass("1 minute")
          yield* world.restart(sweep)
          assert.deepStrictEqual(yield* states, ["charge released (proven)"])
          assert.deepStrictEqual(yield* standing(), { spent: world.chain.mined[0]!.fee, exposed: 0n })
        })
      ))
  }

  it.effect("is back after two hours: what was presumed is put right", () =>
    hostile(
      { paid: [demandsAgain] },
      Effect.fnUntraced(function*(world) {
        world.chain.lie = () => world.signed.length > 0 ? "down" : undefined
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        yield* pass("2 hours")
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge presumed (presumed)"])
        world.chain.lie = () => undefined
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge released (proven)"])
      })
    ))
})
