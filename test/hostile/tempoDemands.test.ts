/**
 * Tempo demands that are not what they seem.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Budget from "../../src/Budget.ts"
import * as PaymentError from "../../src/PaymentError.ts"
import * as Wallet from "../../src/Wallet.ts"
import * as TempoTransaction from "../../src/wire/mpp/TempoTransaction.ts"
import { privateKey } from "./audit.ts"
import { status } from "./merchant.ts"
import * as Chain from "./tempoChain.ts"
import { type Change, demandsAgain, payee, refuses, takes } from "./tempoMerchant.ts"
import * as World from "./tempoWorld.ts"

const { buy, failure, hostile, outcome, pass, price, standing, states, sweep } = World

const other = "0x90f79bf6eb2c4f870365e785982e1f101e93b906"

const decoded = (signed: string) => Option.getOrThrow(TempoTransaction.decode(signed))

describe("a Tempo charge of nothing", () => {
  const proof: Change = { request: { amount: "0" } }

  it.effect("is a proof of the account, and moves and holds nothing", () =>
    hostile(
      { change: proof },
      Effect.fnUntraced(function*({ chain, seen, signed }) {
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.strictEqual(seen.at(-1)!.payload!.type, "proof")
        assert.deepStrictEqual([signed.length, chain.mined.length], [1, 0])
        assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: 0n })
        assert.strictEqual((yield* World.authorizations).length, 1, "it is written down")
      })
    ))

  it.effect("stops where the proof is refused", () =>
    hostile(
      { change: proof, paid: [refuses("verification-failed")] },
      Effect.fnUntraced(function*({ paid, signed }) {
        assert.match(yield* outcome(buy()), /^PaymentRejected/)
        assert.deepStrictEqual([paid().length, signed.length], [1, 1])
        assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: 0n })
      })
    ))

  it.effect("stops where the same is demanded again, for ever", () =>
    hostile(
      { change: proof, paid: [demandsAgain] },
      Effect.fnUntraced(function*({ paid, signed }) {
        assert.notStrictEqual(yield* outcome(buy()), "content")
        assert.deepStrictEqual([paid().length, signed.length], [1, 1])
      })
    ))

  it.effect("53: proves the account to no other realm than the server's own", () =>
    hostile(
      { change: { ...proof, challenge: { realm: "bank.test" } } },
      Effect.fnUntraced(function*({ signed }) {
        const { money, reason } = yield* failure(buy())
        assert.strictEqual(money, "unspent")
        assert.strictEqual(reason._tag === "PolicyDenied" ? reason.rule : reason._tag, "realm-mismatch")
        assert.strictEqual(signed.length, 0)
      })
    ))

  it.effect("53: proves it to a realm that the program has named for the origin", () =>
    hostile(
      { change: { ...proof, challenge: { realm: "shop" } }, rail: { realms: { [World.origin]: "shop" } } },
      Effect.fnUntraced(function*() {
        assert.strictEqual(yield* outcome(buy()), "content")
      })
    ))
})

describe("a Tempo demand that is not what it seems", () => {
  const at = (millis: number): Change => ({ challenge: { expires: new Date(World.start + millis).toISOString() } })

  /** The outcome of a demand; nothing is signed unless it is content. */
  const each = (
    name: string,
    cases: ReadonlyArray<Change>,
    expected: RegExp | string,
    more: Partial<World.Options> = {}
  ) =>
    it.effect(name, () =>
      Effect.forEach(cases, (change) =>
        hostile(
          { change, ...more },
          Effect.fnUntraced(function*({ chain, signed }) {
            assert.match(yield* outcome(buy()), new RegExp(expected), JSON.stringify(change))
            assert.strictEqual(signed.length, expected === "content" ? 1 : 0)
            if (expected !== "content") assert.isFalse(chain.calls.some(({ method }) => method.includes("send")))
          })
        ), { discard: true }))

  each("49: refuses splits that leave nothing for the payee, that are none, or too many", [
    { details: { splits: [{ amount: "10000", recipient: other }] } },
    { details: { splits: [{ amount: "9000", recipient: other }, { amount: "1001", recipient: other }] } },
    { details: { splits: [{ amount: "0", recipient: other }] } },
    { details: { splits: [{ amount: "-5", recipient: other }] } },
    { details: { splits: [] } },
    { details: { splits: Array.from({ length: 11 }, () => ({ amount: "1", recipient: other })) } },
    { details: { splits: [{ amount: "1", recipient: "0x12" }] } },
    { details: { splits: "all" } }
  ], "^NoPayableOffer \\(unspent\\)$")

  each("49: pays ten splits, each in its own transfer", [
    { details: { splits: Array.from({ length: 10 }, () => ({ amount: "1", recipient: other })) } }
  ], "content")

  each(
    "49: pays no split to a payee that is not listed",
    [
      { details: { splits: [{ amount: "1", recipient: other }] } }
    ],
    "^PolicyDenied \\(unspent\\)$",
    { policy: { allowPayees: [payee] } }
  )

  each(
    "49: pays splits to payees that are listed",
    [
      { details: { splits: [{ amount: "1", recipient: other }] } }
    ],
    "content",
    { policy: { allowPayees: [payee, other.toUpperCase().replace("0X", "0x")] } }
  )

  each("49: pays no split to the payer, to nobody, or to the token", [
    { details: { splits: [{ amount: "1", recipient: "0x70997970C51812dc3A010C7d01b50e0d17dc79C8" }] } },
    { details: { splits: [{ amount: "1", recipient: `0x${"0".repeat(40)}` }] } },
    { details: { splits: [{ amount: "1", recipient: Chain.token }] } }
  ], "\\(unspent\\)$")

  each("51: signs nothing without an end, or for a chain that is not named", [
    { challenge: { expires: undefined } },
    { details: { chainId: undefined } }
  ], "^NoPayableOffer \\(unspent\\)$")

  each("51: signs nothing for a challenge that has expired, or is about to", [
    at(-1_000),
    at(0),
    at(1_000),
    at(5_000)
  ], "^PolicyDenied \\(unspent\\)$")

  each("51: signs nothing for an end that is none", [
    { challenge: { expires: "soon" } },
    { challenge: { expires: "" } }
  ], "\\(unspent\\)$")

  it.effect("51: signs without an end where the program allows it, and then for a short time all the same", () =>
    hostile(
      { change: { challenge: { expires: undefined } }, rail: { allowNoExpiry: true }, paid: [takes(status(200))] },
      Effect.fnUntraced(function*({ signed }) {
        yield* outcome(buy())
        assert.isAtMost(decoded(signed[0]!).validBefore!, World.start / 1000 + 60)
      })
    ))

  each(
    "51: pays on the chain that the program has named where the challenge names none",
    [
      { details: { chainId: undefined } }
    ],
    "content",
    { rail: { chainId: Chain.chainId } }
  )

  each("pays on no other chain than the one that it knows", [
    { details: { chainId: 4217 } },
    { details: { chainId: 1 } },
    { details: { chainId: 0 } },
    { details: { chainId: -42431 } },
    { details: { chainId: 42431.5 } },
    { details: { chainId: "42431" } },
    { details: { chainId: 2 ** 60 } }
  ], "\\(unspent\\)$")

  each("pays in no token that it does not know", [
    { request: { currency: `0x20c0${"0".repeat(35)}9` } },
    { request: { currency: "USD" } },
    { request: { currency: "pathUSD" } }
  ], "^NoPayableOffer \\(unspent\\)$")

  each("pays neither itself, nor nobody, nor the token", [
    { request: { recipient: "0x70997970C51812dc3A010C7d01b50e0d17dc79C8" } },
    { request: { recipient: `0x${"0".repeat(40)}` } },
    { request: { recipient: Chain.token } },
    { request: { recipient: undefined } }
  ], "\\(unspent\\)$")

  each(
    "pays no amount that is none",
    ["1e4", "-1", "0x10", "", " 1", "1.0", "+1", "9".repeat(100_000), (2n ** 256n).toString(), 10_000, null, undefined]
      .map((amount) => ({ request: { amount } })),
    "\\(unspent\\)$"
  )

  each("pays in no mode that it does not know, and takes a memo only of 32 bytes", [
    { details: { supportedModes: ["carrier-pigeon"] } },
    { details: { supportedModes: [] } },
    { details: { memo: "0x1234" } },
    { details: { memo: "invoice 7" } }
  ], "^NoPayableOffer \\(unspent\\)$")

  each(
    "pays no more than the ceiling of one request",
    [{ request: { amount: "50001" } }],
    "^BudgetExceeded \\(unspent\\)$"
  )

  it.effect("holds the fee beside the price: what does not fit the budget with it is not signed", () =>
    hostile(
      { budget: Budget.make({ limit: price + 1_000n, window: "1 hour" }) },
      Effect.fnUntraced(function*({ signed }) {
        assert.strictEqual(yield* outcome(buy()), "BudgetExceeded (unspent)")
        assert.strictEqual(signed.length, 0)
      })
    ))

  const refusing = (times: ReadonlySet<number>) => {
    let count = 0
    const refused = new PaymentError.WalletError({ operation: "sign a transaction", detail: "the person said no" })
    return Layer.effect(
      Wallet.Wallet,
      Effect.map(Wallet.Wallet, (wallet) =>
        Wallet.Wallet.of({
          ...wallet,
          signTransaction: (transaction, serializer) =>
            times.has(++count) ? Effect.fail(refused) : wallet.signTransaction(transaction, serializer)
        }))
    ).pipe(Layer.provide(Wallet.layerPrivateKey(Redacted.make(privateKey))))
  }

  it.effect("costs nothing where the wallet refuses to sign", () =>
    hostile(
      { wallet: refusing(new Set([1])) },
      Effect.fnUntraced(function*({ paid }) {
        assert.strictEqual(yield* outcome(buy()), "WalletError (unspent)")
        assert.strictEqual(paid().length, 0)
        assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: 0n })
      })
    ))

  it.effect("stays held where the wallet signed once, and refuses to sign the same again", () =>
    hostile(
      { wallet: refusing(new Set([2, 3])), paid: [demandsAgain] },
      Effect.fnUntraced(function*({ signed }) {
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        assert.strictEqual(signed.length, 1)
        assert.isTrue((yield* standing()).exposed > price)
      })
    ))

  it.effect("52: sends nothing where the challenge expires while somebody is thinking about the signature", () =>
    hostile(
      { change: at(120_000) },
      Effect.fnUntraced(function*(world) {
        world.waits.set("sign", Effect.sleep("3 minutes"))
        const { money, reason } = yield* failure(buy())
        assert.strictEqual(money, "unspent")
        assert.strictEqual(reason._tag, "PolicyDenied")
        assert.strictEqual(world.paid().length, 0)
        assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: 0n })
      })
    ))

  it.effect("54: asks for its balance before it signs, and names what it lacks", () =>
    hostile(
      {},
      Effect.fnUntraced(function*(world) {
        world.chain.balance = 100n
        const { money, reason } = yield* failure(buy())
        assert.strictEqual(money, "unspent")
        assert.isTrue(reason._tag === "InsufficientFunds" && reason.available === 100n && reason.needed > price)
        assert.strictEqual(world.signed.length, 0)
      })
    ))

  it.effect("54: counts the fee among what it needs", () =>
    hostile(
      {},
      Effect.fnUntraced(function*(world) {
        world.chain.balance = price
        assert.strictEqual(yield* outcome(buy()), "InsufficientFunds (unspent)")
        assert.strictEqual(world.signed.length, 0)
      })
    ))

  it.effect("54: does not send again what a server could not settle for want of funds, names them, and gets its hold back", () =>
    hostile(
      {},
      Effect.fnUntraced(function*(world) {
        const balance = world.chain.balance
        world.waits.set("send", Effect.sync(() => world.chain.balance = 100n))
        const { money, reason } = yield* failure(buy())
        assert.strictEqual(world.paid().length, 1, "no loop")
        assert.strictEqual(money, "unknown")
        assert.isTrue(reason._tag === "InsufficientFunds" && reason.available <= 100n && reason.needed >= price)
        world.chain.balance = balance
        world.waits.clear()
        yield* pass("1 minute")
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge released (proven)"])
      })
    ))
})
