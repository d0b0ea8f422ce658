import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { TestClock } from "effect/testing"
import { inspect } from "node:util"
import { type Hex, type LocalAccount, verifyTypedData } from "viem"
import { privateKeyToAccount } from "viem/accounts"
import { Account, Addresses } from "viem/tempo"
import { fromRlp, pad, toRlp } from "viem/utils"
import * as Asset from "../../src/Asset.ts"
import type * as Chain from "../../src/Chain.ts"
import { Offer } from "../../src/Offer.ts"
import { ChainError } from "../../src/PaymentError.ts"
import { Plan, shortage, type Verdict } from "../../src/Rails.ts"
import { highestFeePerGas } from "../../src/rails/tempo/Fees.ts"
import { topics } from "../../src/rails/tempo/Logs.ts"
import type * as TempoCharge from "../../src/rails/TempoCharge.ts"
import * as Wallet from "../../src/Wallet.ts"
import * as Receipt from "../../src/wire/mpp/Receipt.ts"
import * as Wire from "../../src/wire/mpp/TempoCharge.ts"
import * as TempoTransaction from "../../src/wire/mpp/TempoTransaction.ts"
import { nodeWith } from "./node.ts"
import * as tempo from "./tempo.ts"

const gwei = 1_000_000_000n

/** A chain of a block per second, which has begun long ago. */
const genesis = -100_000

interface Script {
  baseFee: bigint | undefined
  /** What each call takes, or all of them together. */
  gas: bigint
  counts: boolean
  balance: bigint
  /** The chain's clock minus ours, in seconds. */
  skew: number
  /** How many blocks lie between the last and the last that is final. */
  depth: number
  mined: ReadonlyArray<Chain.Receipt>
  limits: { readonly [hash: string]: Chain.Limits }
  broken: ReadonlyArray<string>
  /** What is done with a transaction that the node is given. */
  take: (signed: Hex) => void
  readonly network: string
}

const fail = (operation: string) =>
  Effect.fail(new ChainError({ network: tempo.network, operation, detail: "the node did not answer" }))

const word = (value: bigint): Hex => pad(`0x${value.toString(16)}`, { size: 32 })

/** A node that answers from a script, which may change, and remembers what it was asked. */
const nodeOf = (given: Partial<Script> = {}) => {
  const script: Script = {
    baseFee: 20n * gwei,
    gas: 60_000n,
    counts: false,
    balance: 10n ** 12n,
    skew: 0,
    depth: 1,
    mined: [],
    limits: {},
    broken: [],
    take: () => {},
    network: tempo.network,
    ...given
  }
  const asked: Array<string> = []
  const proposals: Array<Schema.JsonObject> = []
  const answer = <A>(operation: string, value: () => A): Effect.Effect<A, ChainError> =>
    Effect.suspend(() => {
      asked.push(operation)
      return script.broken.includes(operation) ? fail(operation) : Effect.sync(value)
    })
  const node = nodeWith({
    network: script.network,
    block: (tag) =>
      Effect.flatMap(
        Clock.currentTimeMillis,
        (now) =>
          answer(typeof tag === "bigint" ? "block" : tag, (): Chain.Block => {
            const latest = BigInt(Math.floor(now / 1000) + script.skew - genesis)
            const number = tag === "latest" ? latest : tag === "finalized" ? latest - BigInt(script.depth) : tag
            const { baseFee } = script
            return { number, timestamp: BigInt(genesis) + number, ...(baseFee && { baseFeePerGas: baseFee }) }
          })
      ),
    call: () => answer("balance", () => word(script.balance)),
    estimateGas: (transaction) =>
      answer("estimate", () => {
        proposals.push(transaction)
        const { calls } = transaction
        return Option.some(script.counts && Array.isArray(calls) ? script.gas * BigInt(calls.length) : script.gas)
      }),
    receipt: (hash) =>
      answer("receipt", () => Option.fromUndefinedOr(script.mined.find((it) => it.transactionHash === hash))),
    limits: (hash) => answer("limits", () => Option.fromUndefinedOr(script.limits[hash])),
    logs: ({ address, fromBlock, toBlock, topics }) =>
      answer("logs", () =>
        script.mined.filter(({ blockNumber }) => blockNumber >= fromBlock && blockNumber <= toBlock)
          .flatMap(({ logs }) => logs)
          .filter((log) => log.address === address && topics.every((topic, at) => topic === log.topics[at]))),
    send: (signed) =>
      answer("send", () => {
        script.take(signed)
        return Option.none()
      })
  })
  return { node, script, asked, proposals }
}

const seconds = Effect.map(Clock.currentTimeMillis, (millis) => Math.floor(millis / 1000))

/** A wallet that counts what it signs. */
const counting = (resign: "same" | "equivalent" | "no" = "same") => {
  const account = privateKeyToAccount(tempo.key)
  const signed: Array<Hex> = []
  const counted: LocalAccount = {
    ...account,
    signTransaction: async (...given) => {
      const signature = await account.signTransaction(...given)
      signed.push(signature)
      return signature
    }
  }
  return { signed, layer: Wallet.layer(counted, { resign }) }
}

const memo = Wire.attribution({ realm: "shop.example", challengeId: "challenge-1" })
const hashA: Hex = `0x${"aa".repeat(32)}`
const hashB: Hex = `0x${"bb".repeat(32)}`

/** What a chain keeps of a payment: what it says of the transfers may be changed. */
const minedOf = (
  plan: Plan,
  block: number,
  given: Partial<Chain.Receipt> & { readonly transfers?: ReadonlyArray<Wire.Transfer> } = {}
): Chain.Receipt => {
  const { transfers = [{ to: tempo.payee, units: plan.units, memo }], ...receipt } = given
  const transactionHash = receipt.transactionHash ?? hashA
  const blockNumber = BigInt(block - genesis)
  const from = pad(tempo.transactionOf(plan).from, { size: 32 })
  const log = (topics: ReadonlyArray<Hex>, units: bigint): Chain.Log => ({
    transactionHash,
    blockNumber,
    address: tempo.token,
    topics,
    data: word(units)
  })
  return {
    transactionHash,
    blockNumber,
    succeeded: true,
    gasUsed: 50_000n,
    effectiveGasPrice: 20n * gwei,
    logs: [
      ...transfers.flatMap(({ memo, to, units }) => [
        log([topics.transfer, from, pad(to, { size: 32 })], units),
        ...(memo === undefined ? [] : [log([topics.withMemo, from, pad(to, { size: 32 }), memo], units)])
      ]),
      log([topics.transfer, from, pad(Addresses.feeManager, { size: 32 })], 1_000n)
    ],
    ...receipt
  }
}

const limitsOf = (plan: Plan): Chain.Limits => {
  const { gas, maxFeePerGas } = tempo.transactionOf(plan)
  return { gas: BigInt(gas), maxFeePerGas: BigInt(maxFeePerGas) }
}

const shown = (verdict: Verdict) => {
  const { mismatch, rank, what } = verdict.evidence
  return `${verdict._tag} (${rank}: ${what}${mismatch === true ? ", mismatch" : ""})`
}

describe("TempoCharge", () => {
  describe("accepts", () => {
    const verdictOn = (
      change: tempo.Change | Offer = {},
      options: TempoCharge.Options = {},
      origin = tempo.origin,
      nodes = [nodeOf().node]
    ) =>
      Effect.map(
        tempo.railWith(options, nodes),
        (rail) => rail.accepts(change instanceof Offer ? change : tempo.offer(change), origin)
      )
    const why = (...given: Parameters<typeof verdictOn>) =>
      Effect.map(
        verdictOn(...given),
        Result.match({ onSuccess: ({ symbol }) => symbol, onFailure: ({ rule, why }) => rule ?? why })
      )

    it.effect("a charge in a dollar of our table, and names the asset", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* why(), "pathUSD")
        assert.strictEqual(yield* why({ request: { currency: tempo.alpha } }), "AlphaUSD")
        assert.strictEqual(
          yield* why({ request: { recipient: tempo.payee.toUpperCase().replace("0X", "0x") } }),
          "pathUSD"
        )
      }))

    it.effect("no other method, intent or token, and no offer that is not that of its challenge", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* why({ challenge: { method: "evm" } }), "not a charge on Tempo")
        assert.strictEqual(yield* why({ challenge: { intent: "session" } }), "not a charge on Tempo")
        assert.include(yield* why({ request: { currency: `0x20c0${"00".repeat(17)}09` } }), "not in our table")
        assert.include(yield* why(new Offer({ ...tempo.offer(), units: 1n })), "not the one that the offer")
        assert.include(yield* why(new Offer({ ...tempo.offer(), payee: tempo.second })), "not the one that the offer")
        assert.include(yield* why(new Offer({ ...tempo.offer(), asset: tempo.alpha })), "not the one that the offer")
        assert.include(
          yield* why(new Offer({ ...tempo.offer(), network: "eip155:4217" })),
          "not the one that the offer"
        )
      }))

    it.effect("a challenge that names no chain only on the chain that the program names, and no other one", () =>
      Effect.gen(function*() {
        const silent = { details: { chainId: undefined } }
        assert.include(yield* why(silent), "does not name a chain")
        assert.strictEqual(yield* why(silent, { chainId: tempo.chainId }), "pathUSD")
        assert.strictEqual(yield* why({}, { chainId: tempo.chainId }), "pathUSD")
        assert.strictEqual(yield* why({}, { chainId: 4217 }), "network")
      }))

    it.effect("a challenge that never expires only where that is allowed", () =>
      Effect.gen(function*() {
        const endless = { challenge: { expires: undefined } }
        assert.include(yield* why(endless), "never expires")
        assert.strictEqual(yield* why(endless, { allowNoExpiry: true }), "pathUSD")
      }))

    it.effect("no chain that there is no RPC of, except to prove an account", () =>
      Effect.gen(function*() {
        assert.include(yield* why({}, {}, tempo.origin, []), "no RPC")
        assert.strictEqual(yield* why({ request: { amount: "0" } }, {}, tempo.origin, []), "pathUSD")
      }))

    it.effect("nobody who is paid that is the payer, the zero address or the token: neither payee nor part", () =>
      Effect.gen(function*() {
        for (const to of [tempo.payer, tempo.payer.toLowerCase(), `0x${"00".repeat(20)}`, tempo.token]) {
          assert.include(yield* why({ request: { recipient: to } }), "pays the payer", to)
          const splits = [{ amount: "1", recipient: tempo.second }, { amount: "1", recipient: to }]
          assert.include(yield* why({ details: { splits } }), "pays the payer", to)
        }
      }))

    it.effect("no parts that are none, too many, or leave nothing", () =>
      Effect.gen(function*() {
        const part = { amount: "1", recipient: tempo.second }
        const whyParts = (splits: Schema.Json) => why({ details: { splits } })
        assert.strictEqual(yield* whyParts(Array.from({ length: 10 }, () => part)), "pathUSD")
        assert.include(yield* whyParts(Array.from({ length: 11 }, () => part)), "cannot be answered")
        assert.include(yield* whyParts([]), "cannot be answered")
        assert.include(yield* whyParts([{ ...part, amount: "10000" }]), "leave nothing")
        assert.include(yield* whyParts([{ ...part, amount: "5000" }, { ...part, amount: "5000" }]), "leave nothing")
        for (const amount of ["0", "-1", "1e3", "0x1", "", 1]) {
          assert.include(yield* whyParts([{ ...part, amount }]), "cannot be answered")
        }
        const parts = { request: { amount: "0" }, details: { splits: [part] } }
        assert.include(yield* why(parts), "leave nothing")
      }))

    it.effect("a mode that the merchant takes, and no other", () =>
      Effect.gen(function*() {
        const modes = (...supportedModes: ReadonlyArray<string>) => ({ details: { supportedModes } })
        assert.strictEqual(yield* why(modes("pull")), "pathUSD")
        assert.strictEqual(yield* why(modes("push")), "pathUSD")
        assert.strictEqual(yield* why({}, { mode: "push" }), "pathUSD")
        assert.include(yield* why(modes("pull"), { mode: "push" }), "does not take the hash")
        assert.include(yield* why(modes("push"), { mode: "pull" }), "does not broadcast")
        assert.include(yield* why(modes("carrier pigeon")), "does not take the hash")
      }))

    it.effect("a sponsored charge unless it is unwanted, and never to broadcast it", () =>
      Effect.gen(function*() {
        const sponsored = (more = {}) => ({ details: { feePayer: true, ...more } })
        assert.strictEqual(yield* why(sponsored()), "pathUSD")
        assert.include(yield* why(sponsored(), { sponsored: false }), "not accepted")
        assert.include(yield* why(sponsored(), { mode: "push" }), "pays its fee")
        assert.include(yield* why(sponsored({ supportedModes: ["push"] })), "does not broadcast")
      }))

    it.effect("fees in a dollar of six decimals, and in no other token", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* why({}, { feeToken: tempo.alpha }), "pathUSD")
        const dear = new Asset.Asset({
          network: tempo.network,
          address: `0x20c0${"00".repeat(17)}09`,
          symbol: "DEAR",
          decimals: 18,
          usd: true,
          testnet: true
        })
        const withDear = (change: tempo.Change, options: TempoCharge.Options) =>
          Effect.provide(why(change, options), Asset.layer([dear]))
        assert.include(yield* withDear({}, { feeToken: dear.address }), "token for fees")
        assert.include(yield* withDear({ request: { currency: dear.address } }, {}), "token for fees")
        assert.strictEqual(
          yield* withDear({ request: { currency: dear.address }, details: { feePayer: true } }, {}),
          "DEAR"
        )
        assert.include(yield* why({}, { feeToken: `0x20c0${"00".repeat(17)}08` }), "token for fees")
      }))

    it.effect("to prove its account to the server that was asked, and to no other", () =>
      Effect.gen(function*() {
        const free = (realm: string) => ({ request: { amount: "0" }, challenge: { realm } })
        assert.strictEqual(yield* why(free("shop.example")), "pathUSD")
        assert.strictEqual(yield* why(free("SHOP.example:443")), "pathUSD")
        assert.strictEqual(yield* why(free("bank.example")), "realm-mismatch")
        const realms = { "https://shop.example": "The Shop" }
        assert.strictEqual(yield* why(free("The Shop"), { realms }), "pathUSD")
        assert.strictEqual(yield* why(free("The Shop"), { realms }, "https://other.example"), "realm-mismatch")
        // A charge goes to whom it names, whatever the server calls itself.
        assert.strictEqual(yield* why({ challenge: { realm: "bank.example" } }), "pathUSD")
      }))
  })

  describe("plan", () => {
    const planned = (change: tempo.Change = {}, options: TempoCharge.Options = {}, script: Partial<Script> = {}) =>
      Effect.gen(function*() {
        const rail = yield* tempo.railWith(options, [nodeOf(script).node])
        return yield* rail.plan(tempo.offer(change), tempo.context)
      })

    it.effect("writes down the whole transaction, and when it ends", () =>
      Effect.gen(function*() {
        const plan = yield* planned()
        const transaction = tempo.transactionOf(plan)
        const { gas, maxFeePerGas, ...fixed } = transaction
        assert.deepStrictEqual(JSON.parse(JSON.stringify(fixed)), {
          chainId: tempo.chainId,
          from: tempo.payer.toLowerCase(),
          calls: TempoTransaction.calls(tempo.token, [{ to: tempo.payee, units: 10_000n, memo }]),
          maxPriorityFeePerGas: "1000000000",
          validBefore: 25,
          feeToken: tempo.token,
          sponsored: false
        })
        assert.isTrue(BigInt(gas) >= 76_000n && BigInt(gas) < 76_256n, gas)
        assert.isTrue(BigInt(maxFeePerGas) >= 31n * gwei && BigInt(maxFeePerGas) < 31n * gwei + 2n ** 24n, maxFeePerGas)
        assert.strictEqual(plan.feeUsd, TempoTransaction.maxFeeUsd(transaction))
        assert.deepInclude({ ...plan }, {
          rail: "tempo/charge",
          kind: "charge",
          network: tempo.network,
          asset: tempo.token,
          units: 10_000n,
          payer: tempo.payer,
          payee: "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
          spendableUntil: 25_000,
          presentableUntil: 300_000
        })
        assert.deepStrictEqual(tempo.stored(plan), plan)
      }))

    it.effect("the merchant's memo, where there is one, and the client's name in ours", () =>
      Effect.gen(function*() {
        const given = `0x${"5a".repeat(32)}` as const
        const memoOf = (plan: Plan) => `0x${tempo.transactionOf(plan).calls[0].data.slice(-64)}`
        assert.strictEqual(memoOf(yield* planned({ details: { memo: given } })), given)
        assert.strictEqual(memoOf(yield* planned()), memo)
        const named = Wire.attribution({ realm: "shop.example", challengeId: "challenge-1", clientId: "me" })
        assert.strictEqual(memoOf(yield* planned({}, { clientId: "me" })), named)
      }))

    it.effect("a transfer for everybody who gets a part, in the order of the challenge", () =>
      Effect.gen(function*() {
        const other = `0x${"77".repeat(32)}` as const
        const plan = yield* planned({
          details: {
            splits: [
              { amount: "1000", recipient: tempo.second, memo: other },
              { amount: "500", recipient: tempo.third }
            ]
          }
        })
        assert.strictEqual(plan.units, 10_000n)
        assert.deepStrictEqual(
          tempo.transactionOf(plan).calls.map((call) => ({ ...call })),
          TempoTransaction.calls(tempo.token, [
            { to: tempo.payee, units: 8_500n, memo },
            { to: tempo.second, units: 1_000n, memo: other },
            { to: tempo.third, units: 500n }
          ]).map((call) => ({ ...call }))
        )
      }))

    it.effect("no fee where the merchant pays it", () =>
      Effect.gen(function*() {
        const plan = yield* planned({ details: { feePayer: true } }, { maxFee: "0" })
        const { feeToken, sponsored } = tempo.transactionOf(plan)
        assert.isUndefined(plan.feeUsd)
        assert.isUndefined(feeToken)
        assert.isTrue(sponsored)
      }))

    it.effect("two of the same demand in the same second are not alike", () =>
      Effect.gen(function*() {
        const rail = yield* tempo.railWith({}, [nodeOf().node])
        const plans = yield* Effect.all(Array.from({ length: 50 }, () => rail.plan(tempo.offer(), tempo.context)))
        const marks = plans.map((plan) => JSON.stringify(tempo.transactionOf(plan)))
        assert.strictEqual(new Set(marks).size, 50)
      }))

    describe("ends", () => {
      it.effect("in 25 seconds, or as the program says, but with the challenge at the latest", () =>
        Effect.gen(function*() {
          const end = (options: TempoCharge.Options = {}, expires = "1970-01-01T00:10:00Z") =>
            Effect.map(planned({ challenge: { expires } }, options), ({ spendableUntil }) => spendableUntil)
          assert.strictEqual(yield* end(), 25_000)
          assert.strictEqual(yield* end({ validity: "2 minutes" }), 120_000)
          assert.strictEqual(yield* end({ validity: "1 hour" }), 300_000)
          assert.strictEqual(yield* end({}, "1970-01-01T00:00:10.900Z"), 10_000)
          assert.strictEqual(yield* end({ validity: "1 second" }), 6_000)
        }))

      it.effect("soon enough to present the hash of what the payer broadcasts", () =>
        Effect.gen(function*() {
          const plan = yield* planned(
            { challenge: { expires: "1970-01-01T00:01:00Z" } },
            { mode: "push", validity: "2 minutes" }
          )
          assert.strictEqual(plan.spendableUntil, 50_000)
          assert.strictEqual(plan.presentableUntil, 60_000)
        }))

      it.effect("not at all where too little time is left", () =>
        Effect.gen(function*() {
          const rule = (expires: string, options = {}) =>
            Effect.map(Effect.flip(planned({ challenge: { expires } }, options)), (error) =>
              error._tag === "PolicyDenied" ? error.rule : error._tag)
          assert.strictEqual(yield* rule("1970-01-01T00:00:05.999Z"), "validity")
          assert.strictEqual(yield* rule("1970-01-01T00:00:01Z"), "validity")
          assert.strictEqual(yield* rule("1970-01-01T00:00:00Z"), "validity")
          assert.strictEqual(yield* rule("1970-01-01T00:00:59Z", { mode: "push" }), "validity")
        }))

      it.effect("where the chain takes it, though its clock is behind ours", () =>
        Effect.gen(function*() {
          const end = (skew: number) => Effect.map(planned({}, {}, { skew }), ({ spendableUntil }) => spendableUntil)
          assert.strictEqual(yield* end(-5), 25_000)
          assert.strictEqual(yield* end(-15), 15_000)
          assert.strictEqual(yield* end(1_000), 25_000)
          const error = yield* Effect.flip(end(-25))
          assert.strictEqual(error._tag, "PolicyDenied")
        }))
    })

    describe("costs", () => {
      it.effect("what a node estimates, within what transfers can take", () =>
        Effect.gen(function*() {
          const gas = (estimate: bigint) =>
            Effect.map(planned({}, {}, { gas: estimate }), (plan) => Number(tempo.transactionOf(plan).gas))
          const isFrom = (given: number, least: number) =>
            assert.isTrue(given >= least && given < least + 256, `${given}`)
          isFrom(yield* gas(0n), 55_000)
          isFrom(yield* gas(100_000n), 120_000)
          isFrom(yield* gas(10n ** 30n), 560_000)
        }))

      it.effect("what transfers take ordinarily where the node does not count them", () =>
        Effect.gen(function*() {
          const splits = Array.from({ length: 4 }, () => ({ amount: "1", recipient: tempo.second }))
          const withGas = (script: Partial<Script>) =>
            Effect.map(
              planned({ details: { splits } }, { maxFee: "1" }, script),
              (plan) => Number(tempo.transactionOf(plan).gas)
            )
          const counted = yield* withGas({ gas: 20_000n, counts: true })
          assert.isTrue(counted >= 120_000 && counted < 120_256, `${counted}`)
          const gas = yield* withGas({ gas: 784_000n })
          assert.isTrue(gas >= 45_000 + 5 * 270_000 && gas < 45_256 + 5 * 270_000, `${gas}`)
        }))

      it.effect("no more gas than merchants pay for, where that will do", () =>
        Effect.gen(function*() {
          const gas = (parts: number, feePayer: boolean) => {
            const splits = Array.from({ length: parts }, () => ({ amount: "1", recipient: tempo.second }))
            const script = { gas: 10n ** 9n, counts: true }
            return Effect.map(
              planned({ details: { feePayer, splits } }, { maxFee: "1" }, script),
              (plan) => Math.floor(Number(tempo.transactionOf(plan).gas) / 1000)
            )
          }
          assert.strictEqual(yield* gas(3, true), 1_600)
          assert.strictEqual(yield* gas(3, false), 2_060)
          assert.strictEqual(yield* gas(10, true), 3_015)
          assert.strictEqual(yield* gas(10, false), 5_560)
        }))

      it.effect("no more than is allowed: nothing is signed otherwise", () =>
        Effect.gen(function*() {
          const rule = (options: TempoCharge.Options) =>
            Effect.map(Effect.result(planned({}, options)), (result) =>
              Result.isSuccess(result) ? "planned" : result.failure._tag === "PolicyDenied" ? result.failure.rule : "")
          assert.strictEqual(yield* rule({ maxFee: "0.01" }), "planned")
          assert.strictEqual(yield* rule({ maxFee: "0.002" }), "fee")
          assert.strictEqual(yield* rule({ maxFee: "nonsense" }), "fee")
        }))

      it.effect("no price of gas that no chain has", () =>
        Effect.gen(function*() {
          const priced = (baseFee: bigint | undefined, options = {}) =>
            Effect.map(Effect.result(planned({}, options, { baseFee })), (result) =>
              Result.isSuccess(result) ? tempo.transactionOf(result.success).maxFeePerGas : result.failure.message)
          assert.isTrue(BigInt(yield* priced(90n * gwei)) < highestFeePerGas + 2n ** 24n)
          assert.include(yield* priced(100n * gwei), "dearer")
          assert.include(yield* priced(10n ** 30n), "dearer")
          assert.include(yield* priced(undefined), "no price of gas")
          const plan = yield* planned({}, { priorityFee: 5n * gwei })
          assert.strictEqual(tempo.transactionOf(plan).maxPriorityFeePerGas, "5000000000")
        }))

      it.effect("what the node is asked for: the calls, and nothing of what it could choose", () =>
        Effect.gen(function*() {
          const { node, proposals } = nodeOf()
          const rail = yield* tempo.railWith({}, [node])
          const plan = yield* rail.plan(tempo.offer(), tempo.context)
          assert.deepStrictEqual({ ...proposals[0] }, {
            from: tempo.payer.toLowerCase(),
            type: "0x76",
            calls: tempo.transactionOf(plan).calls.map(({ data, to }) => ({ to, value: "0x0", data })),
            nonce: "0x0",
            nonceKey: `0x${"ff".repeat(32)}`,
            validBefore: "0x19",
            feeToken: tempo.token
          })
        }))
    })

    describe("asks", () => {
      it.effect("for everything at once, and for nothing that it was told a moment ago", () =>
        Effect.gen(function*() {
          const { asked, node } = nodeOf()
          const rail = yield* tempo.railWith({}, [node])
          yield* rail.plan(tempo.offer(), tempo.context)
          assert.deepStrictEqual(asked.splice(0).toSorted(), ["balance", "estimate", "latest"])
          yield* rail.plan(tempo.offer(), tempo.context)
          assert.deepStrictEqual(asked.splice(0), [])
          yield* TestClock.adjust("2 seconds")
          yield* rail.plan(tempo.offer(), tempo.context)
          assert.deepStrictEqual(asked.splice(0), ["latest"])
          yield* rail.plan(tempo.offer({ request: { recipient: tempo.second } }), tempo.context)
          assert.deepStrictEqual(asked.splice(0), ["estimate"])
          yield* TestClock.adjust("1 minute")
          yield* rail.plan(tempo.offer(), tempo.context)
          assert.deepStrictEqual(asked.splice(0).toSorted(), ["balance", "estimate", "latest"])
        }))

      it.effect("for the balance again while there is not much more than is needed", () =>
        Effect.gen(function*() {
          const { asked, node, script } = nodeOf({ balance: 100_000n })
          const rail = yield* tempo.railWith({}, [node])
          yield* rail.plan(tempo.offer(), tempo.context)
          asked.length = 0
          yield* rail.plan(tempo.offer(), tempo.context)
          assert.deepStrictEqual(asked, ["balance"])
          script.balance = 10_000n
          const error = yield* Effect.flip(rail.plan(tempo.offer(), tempo.context))
          assert.strictEqual(error._tag, "InsufficientFunds")
        }))

      it.effect("the next node where one does not answer", () =>
        Effect.gen(function*() {
          const [first, second] = [nodeOf({ broken: ["latest", "estimate", "balance"] }), nodeOf()]
          const rail = yield* tempo.railWith({}, [first.node, second.node])
          yield* rail.plan(tempo.offer(), tempo.context)
          assert.deepStrictEqual(first.asked.toSorted(), ["balance", "estimate", "latest"])
        }))

      it.effect("and fails where nobody answers; it does not mind an unknown balance", () =>
        Effect.gen(function*() {
          const broken = (operation: string) =>
            Effect.map(Effect.result(planned({}, {}, { broken: [operation] })), (result) => result._tag)
          assert.strictEqual(yield* broken("latest"), "Failure")
          assert.strictEqual(yield* broken("estimate"), "Failure")
          assert.strictEqual(yield* broken("balance"), "Success")
        }))
    })

    it.effect("tells that there is too little money, with the fee, rather than that the node refuses", () =>
      Effect.gen(function*() {
        const lacking = (balance: bigint, options: TempoCharge.Options = {}, broken: ReadonlyArray<string> = []) =>
          Effect.map(
            Effect.result(planned({}, options, { balance, broken })),
            (result) => Result.isSuccess(result) ? "planned" : result.failure._tag
          )
        assert.strictEqual(yield* lacking(9_999n), "InsufficientFunds")
        assert.strictEqual(yield* lacking(10_001n), "InsufficientFunds")
        assert.strictEqual(yield* lacking(10_001n, {}, ["estimate"]), "InsufficientFunds")
        assert.strictEqual(yield* lacking(20_000n, {}, ["estimate"]), "ChainError")
        assert.strictEqual(yield* lacking(20_000n), "planned")
        assert.strictEqual(yield* lacking(10_000n, { feeToken: tempo.alpha }), "planned")
      }))

    it.effect("of a proof takes nothing, asks nobody and holds nothing", () =>
      Effect.gen(function*() {
        const { asked, node } = nodeOf()
        const rail = yield* tempo.railWith({}, [node])
        const free = tempo.offer({ request: { amount: "0" }, details: { feePayer: true, supportedModes: ["push"] } })
        const plan = yield* rail.plan(free, tempo.context)
        assert.strictEqual(plan.units, 0n)
        assert.isUndefined(plan.feeUsd)
        assert.strictEqual(plan.presentableUntil, 300_000)
        assert.deepStrictEqual(asked, [])
        const foreign = yield* Effect.flip(rail.plan(free, { ...tempo.context, origin: "https://evil.example" }))
        assert.strictEqual(foreign._tag === "PolicyDenied" ? foreign.rule : "", "realm-mismatch")
      }))
  })

  describe("sign", () => {
    it.effect("hands over the transaction that was planned, signed, with the challenge as it came", () =>
      Effect.gen(function*() {
        const rail = yield* tempo.railWith({}, [nodeOf().node])
        const challenge = tempo.challenge({
          challenge: { opaque: "e30", digest: "sha-256=:x:", description: "a thing" }
        })
        const plan = yield* rail.plan(tempo.offerOf(challenge), tempo.context)
        const credential = yield* rail.sign(plan)
        const { header, json } = tempo.presented(credential)
        assert.strictEqual(header, "authorization")
        assert.deepStrictEqual(json.challenge, { ...challenge })
        assert.strictEqual(json.source, `did:pkh:eip155:${tempo.chainId}:${tempo.payer}`)
        assert.isUndefined(credential.broadcast)
        const decoded = Option.getOrThrow(TempoTransaction.decode(tempo.signed(credential)))
        assert.strictEqual(decoded.from, tempo.payer.toLowerCase())
        assert.strictEqual(decoded.nonceKey, TempoTransaction.expiringNonceKey)
        assert.strictEqual(decoded.validBefore, 25)
        assert.strictEqual(decoded.feeToken, tempo.token)
        assert.isUndefined(decoded.validAfter)
      }))

    it.effect("puts it where the challenge wants it", () =>
      Effect.gen(function*() {
        const rail = yield* tempo.railWith({}, [nodeOf().node])
        const offer = tempo.offer({ challenge: { header: "Payment-Authorization" } })
        const { header } = tempo.presented(yield* rail.sign(yield* rail.plan(offer, tempo.context)))
        assert.strictEqual(header, "payment-authorization")
      }))

    it.effect("gives the same bytes for the same plan, also after a restart", () =>
      Effect.gen(function*() {
        for (const details of [{}, { feePayer: true }]) {
          const before = yield* tempo.railWith({}, [nodeOf().node])
          const plan = yield* before.plan(tempo.offer({ details }), tempo.context)
          const after = yield* tempo.railWith({}, [])
          assert.strictEqual(
            tempo.signed(yield* after.sign(tempo.stored(plan))),
            tempo.signed(yield* before.sign(plan))
          )
        }
      }))

    it.effect("leaves the fee to the merchant who pays it", () =>
      Effect.gen(function*() {
        const rail = yield* tempo.railWith({}, [nodeOf().node])
        const plan = yield* rail.plan(tempo.offer({ details: { feePayer: true } }), tempo.context)
        const signed = tempo.signed(yield* rail.sign(plan))
        assert.match(signed, /^0x78/)
        const decoded = Option.getOrThrow(TempoTransaction.decode(signed))
        assert.isTrue(decoded.sponsored)
        assert.isUndefined(decoded.feeToken)
      }))

    it.effect("proves the account, where nothing is charged, by a signature of the third version", () =>
      Effect.gen(function*() {
        const rail = yield* tempo.railWith()
        const plan = yield* rail.plan(tempo.offer({ request: { amount: "0" } }), tempo.context)
        const { json, payload } = tempo.presented(yield* rail.sign(plan))
        assert.strictEqual(payload.type, "proof")
        assert.strictEqual(json.source, `did:pkh:eip155:${tempo.chainId}:${tempo.payer}`)
        const proof = Wire.proofTypedData({
          account: tempo.payer,
          chainId: tempo.chainId,
          challengeId: "challenge-1",
          realm: "shop.example"
        })
        assert.strictEqual(proof.domain.version, "3")
        const signature: Hex = `0x${String(payload.signature).slice(2)}`
        const verified = yield* Effect.promise(() => verifyTypedData({ address: tempo.payer, ...proof, signature }))
        assert.isTrue(verified)
      }))

    it.effect("refuses a plan of another wallet, of another rail, or that contradicts itself", () =>
      Effect.gen(function*() {
        const rail = yield* tempo.railWith({}, [nodeOf().node])
        const plan = yield* rail.plan(tempo.offer(), tempo.context)
        const data = plan.data as Schema.JsonObject
        const transaction = data.transaction as Schema.JsonObject
        const [call] = transaction.calls as [Schema.JsonObject]
        const withTransaction = (change: Schema.JsonObject) =>
          new Plan({ ...plan, data: { ...data, transaction: { ...transaction, ...change } } })
        for (
          const odd of [
            new Plan({ ...plan, payer: tempo.second }),
            new Plan({ ...plan, units: 20_000n }),
            new Plan({ ...plan, data: {} }),
            new Plan({ ...plan, data: { ...data, mode: "proof", chainId: tempo.chainId } }),
            withTransaction({ from: tempo.second }),
            withTransaction({ calls: [{ ...call, data: `${String(call.data).slice(0, -64)}${"00".repeat(32)}` }] }),
            withTransaction({ calls: [{ ...call, to: tempo.alpha }] }),
            withTransaction({ calls: [call, call] })
          ]
        ) {
          const error = yield* Effect.flip(rail.sign(odd))
          assert.strictEqual(error._tag, "WalletError")
          assert.strictEqual(rail.judge(odd, { status: 200, headers: {}, body: undefined }, 0)._tag, "Unknown")
        }
      }))

    it.effect("takes nothing from a wallet that signs another transaction than it was given", () =>
      Effect.gen(function*() {
        const account = privateKeyToAccount(tempo.key)
        const willful = (change: object): LocalAccount => ({
          ...account,
          signTransaction: (transaction, options) => account.signTransaction({ ...transaction, ...change }, options)
        })
        for (const change of [{ validBefore: 1_000 }, { nonceKey: 0n }, { gas: 1n }, { feeToken: tempo.alpha }]) {
          const rail = yield* tempo.railWith({}, [nodeOf().node], Wallet.layer(willful(change)))
          const plan = yield* rail.plan(tempo.offer(), tempo.context)
          const error = yield* Effect.flip(rail.sign(plan))
          assert.include(error.message, "another transaction")
        }
        const adding: LocalAccount = {
          ...account,
          signTransaction: async (...given) => {
            const members = fromRlp(`0x${(await account.signTransaction(...given)).slice(4)}`)
            return `0x76${toRlp(typeof members === "string" ? members : [...members, []]).slice(2)}`
          }
        }
        const added = yield* tempo.railWith({}, [nodeOf().node], Wallet.layer(adding))
        const more = yield* Effect.flip(added.sign(yield* added.plan(tempo.offer(), tempo.context)))
        assert.include(more.message, "another transaction")
        const rail = yield* tempo.railWith({}, [nodeOf().node], Wallet.layer(willful({})))
        yield* rail.sign(yield* rail.plan(tempo.offer(), tempo.context))
      }))

    it.effect("takes nothing from a wallet that signs for another account than its own", () =>
      Effect.gen(function*() {
        const account = privateKeyToAccount(tempo.key)
        const other = privateKeyToAccount(`0x${"11".repeat(32)}`)
        const odd: LocalAccount = { ...account, signTransaction: (...given) => other.signTransaction(...given) }
        const access = Account.fromSecp256k1(`0x${"11".repeat(32)}`, { access: account })
        const { signTransaction, signTypedData } = access
        const keyed: LocalAccount = { ...account, signTransaction, signTypedData }
        for (const feePayer of [false, true]) {
          const signing = Effect.fnUntraced(function*(wallet: LocalAccount) {
            const rail = yield* tempo.railWith({}, [nodeOf().node], Wallet.layer(wallet))
            return yield* rail.sign(yield* rail.plan(tempo.offer({ details: { feePayer } }), tempo.context))
          })
          const error = yield* Effect.flip(signing(odd))
          assert.include(error.message, "another account")
          // A key that may act for the account is one of its own.
          const decoded = TempoTransaction.decode(tempo.signed(yield* signing(keyed)))
          assert.strictEqual(Option.getOrThrow(decoded).signatureType, "keychain")
        }
      }))

    it.effect("refuses a plan that holds, or looks for, another payment than it would sign", () =>
      Effect.gen(function*() {
        const rail = yield* tempo.railWith({}, [nodeOf().node])
        const plan = yield* rail.plan(tempo.offer(), tempo.context)
        yield* rail.sign(tempo.stored(plan))
        const { transaction } = Schema.decodeUnknownSync(
          Schema.Struct({ transaction: Schema.Record(Schema.String, Schema.Json) })
        )(plan.data)
        const data = (change: Schema.JsonObject) => ({
          ...Schema.decodeUnknownSync(Schema.Record(Schema.String, Schema.Json))(plan.data),
          transaction: {
            ...transaction,
            ...change
          }
        })
        for (
          const change of [
            { network: "eip155:1" },
            { asset: tempo.alpha },
            { feeUsd: 1n },
            { spendableUntil: 1 },
            { data: data({ chainId: 1 }) },
            { data: data({ validBefore: 9_999 }) },
            { data: data({ maxFeePerGas: "999999999999999" }) }
          ]
        ) {
          const error = yield* Effect.flip(rail.sign(new Plan({ ...plan, ...change })))
          assert.include(error.message, "not one of this rail", Object.keys(change).join())
        }
      }))

    it.effect("shows no signature to whoever prints the credential", () =>
      Effect.gen(function*() {
        const rail = yield* tempo.railWith({}, [nodeOf().node])
        const credential = yield* rail.sign(yield* rail.plan(tempo.offer(), tempo.context))
        assert.notInclude(inspect(credential, { depth: 10 }), tempo.signed(credential).slice(10, 60))
        assert.notInclude(JSON.stringify(credential), tempo.signed(credential).slice(10, 60))
      }))

    it.effect("says whether it may be repeated", () =>
      Effect.gen(function*() {
        for (const [resign, repeats] of [["same", true], ["equivalent", true], ["no", false]] as const) {
          const rail = yield* tempo.railWith({}, [], counting(resign).layer)
          assert.strictEqual(rail.repeats, repeats)
        }
      }))
  })

  describe("judge", () => {
    const answer = (reference: string) => ({
      status: 200,
      headers: { "payment-receipt": Receipt.encode({ method: "tempo", reference, timestamp: "" }) },
      body: undefined
    })

    it.effect("holds the receipt against the hash of what was signed", () =>
      Effect.gen(function*() {
        const rail = yield* tempo.railWith({}, [nodeOf().node])
        const plan = yield* rail.plan(tempo.offer(), tempo.context)
        const hash = TempoTransaction.hash(tempo.signed(yield* rail.sign(plan)))
        const settled = rail.judge(plan, answer(hash), 0)
        assert.strictEqual(settled._tag, "Settled")
        assert.strictEqual(settled.evidence.reference, hash)
        const odd = rail.judge(plan, answer(hashA), 0)
        assert.strictEqual(odd._tag, "Unknown")
        assert.isTrue(odd.evidence.mismatch)
      }))

    it.effect("takes any transaction where the merchant's signature makes the hash", () =>
      Effect.gen(function*() {
        const rail = yield* tempo.railWith({}, [nodeOf().node])
        const plan = yield* rail.plan(tempo.offer({ details: { feePayer: true } }), tempo.context)
        yield* rail.sign(plan)
        assert.strictEqual(rail.judge(plan, answer(hashA), 0)._tag, "Settled")
      }))

    it.effect("presents a hash until the challenge expires, and a transaction while it can be mined", () =>
      Effect.gen(function*() {
        for (const [mode, next] of [["push", "resend"], ["pull", "reconcile"]] as const) {
          const rail = yield* tempo.railWith({ mode }, [nodeOf().node])
          const plan = yield* rail.plan(tempo.offer(), tempo.context)
          const outage = (at: number) => {
            const verdict = rail.judge(plan, { status: 503, headers: {}, body: undefined }, at)
            return verdict._tag === "Unknown" ? verdict.next._tag : verdict._tag
          }
          assert.strictEqual(outage(0), "resend")
          assert.strictEqual(outage(200_000), next)
          assert.strictEqual(outage(299_000), "reconcile")
        }
      }))

    it.effect("takes content for a proof without any money", () =>
      Effect.gen(function*() {
        const rail = yield* tempo.railWith()
        const plan = yield* rail.plan(tempo.offer({ request: { amount: "0" } }), tempo.context)
        yield* rail.sign(plan)
        const verdict = rail.judge(plan, answer("challenge-1"), 0)
        assert.strictEqual(verdict._tag === "Settled" ? verdict.units : undefined, 0n)
        assert.strictEqual(shown(yield* rail.reconcile(plan)), "Void (proven: nothing was charged)")
      }))
  })

  describe("reconcile", () => {
    const world = Effect.fnUntraced(function*(
      given: {
        readonly change?: tempo.Change
        readonly options?: TempoCharge.Options
        readonly nodes?: number
      } = {}
    ) {
      yield* TestClock.setTime(1_000_000)
      const nodes = Array.from({ length: given.nodes ?? 1 }, () => nodeOf())
      const rail = yield* tempo.railWith(given.options ?? {}, nodes.map(({ node }) => node))
      const offer = tempo.offer({
        ...given.change,
        challenge: { expires: "1970-01-01T01:00:00Z", ...given.change?.challenge }
      })
      const plan = tempo.stored(yield* rail.plan(offer, tempo.context))
      const scripts = nodes.map(({ script }) => script)
      return { rail, plan, script: scripts[0]!, scripts, offer, reconcile: Effect.map(rail.reconcile(plan), shown) }
    })

    it.effect("nothing is known until a final block is past the end, and then that it can never be", () =>
      Effect.gen(function*() {
        const { reconcile } = yield* world()
        assert.strictEqual(yield* reconcile, "Unknown (observed: transaction not mined so far)")
        yield* TestClock.adjust("30 seconds")
        assert.strictEqual(yield* reconcile, "Unknown (observed: transaction not mined so far)")
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* reconcile, "Void (proven: transaction expired unmined)")
      }))

    it.effect("time alone proves nothing: a chain that halts may go on", () =>
      Effect.gen(function*() {
        const { reconcile, script } = yield* world()
        yield* TestClock.adjust("1 hour")
        script.skew = -3_600
        assert.strictEqual(yield* reconcile, "Unknown (observed: transaction not mined so far)")
      }))

    it.effect("what one of a node's machines does not show yet is not proven to be absent", () =>
      Effect.gen(function*() {
        yield* TestClock.setTime(1_000_000)
        const { node, script } = nodeOf()
        let behind = 0n
        const several: Chain.Node = {
          ...node,
          block: (tag) =>
            Effect.map(
              node.block(tag),
              (block) =>
                tag === "latest"
                  ? { ...block, number: block.number - behind, timestamp: block.timestamp - behind }
                  : block
            )
        }
        const rail = yield* tempo.railWith({}, [several])
        const offer = tempo.offer({ challenge: { expires: "1970-01-01T01:00:00Z" } })
        const plan = tempo.stored(yield* rail.plan(offer, tempo.context))
        yield* TestClock.adjust("31 seconds")
        script.mined = [minedOf(plan, 1_020)]
        behind = 15n
        assert.strictEqual((yield* rail.reconcile(plan))._tag, "Unknown")
        behind = 0n
        assert.strictEqual((yield* rail.reconcile(plan))._tag, "Settled")
        script.mined = []
        assert.strictEqual((yield* rail.reconcile(plan))._tag, "Void")
      }))

    it.effect("finds what is valid for long, though the chain's clock is minutes behind ours", () =>
      Effect.gen(function*() {
        yield* TestClock.setTime(1_000_000)
        const { node, script } = nodeOf({ skew: -200 })
        const rail = yield* tempo.railWith({ validity: "5 minutes" }, [node])
        const offer = tempo.offer({ challenge: { expires: "1970-01-01T01:00:00Z" } })
        const plan = tempo.stored(yield* rail.plan(offer, tempo.context))
        script.mined = [minedOf(plan, 801)]
        yield* TestClock.adjust("20 minutes")
        assert.strictEqual(shown(yield* rail.reconcile(plan)), "Settled (observed: transaction mined)")
      }))

    it.effect("finds the payment by its memo, with the fee, and is certain when its block is final", () =>
      Effect.gen(function*() {
        const { plan, rail, script } = yield* world()
        script.mined = [minedOf(plan, 1_000)]
        script.limits = { [hashA]: limitsOf(plan) }
        const verdict = yield* rail.reconcile(plan)
        assert.strictEqual(shown(verdict), "Settled (observed: transaction mined)")
        assert.strictEqual(verdict.evidence.reference, hashA)
        assert.strictEqual(verdict._tag === "Settled" ? verdict.feeUsd : undefined, 1_000n)
        yield* TestClock.adjust("1 second")
        assert.strictEqual(shown(yield* rail.reconcile(plan)), "Settled (proven: transaction mined)")
      }))

    it.effect("a payment with the same memo, last week or a moment ago, is another one", () =>
      Effect.gen(function*() {
        const { plan, reconcile, script } = yield* world({ change: { details: { memo: `0x${"5a".repeat(32)}` } } })
        const given = { transfers: [{ to: tempo.payee, units: 10_000n, memo: `0x${"5a".repeat(32)}` as const }] }
        script.mined = [minedOf(plan, -90_000, { ...given, transactionHash: hashA }), minedOf(plan, 990, given)]
        script.limits = { [hashA]: { gas: 76_000n, maxFeePerGas: 31n * gwei + 2n ** 24n } }
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(yield* reconcile, "Void (proven: transaction expired unmined)")
        script.limits = { [hashA]: { ...limitsOf(plan), gas: 1n } }
        assert.strictEqual(yield* reconcile, "Void (proven: transaction expired unmined)")
        // Where the node cannot tell them apart, that of last week is out of the question all the same.
        script.limits = {}
        script.mined = script.mined.slice(0, 1)
        assert.strictEqual(yield* reconcile, "Void (proven: transaction expired unmined)")
      }))

    it.effect("what the node cannot tell apart counts as ours, and is not certain", () =>
      Effect.gen(function*() {
        const { plan, reconcile, script } = yield* world()
        script.mined = [minedOf(plan, 1_000)]
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(yield* reconcile, "Settled (observed: transaction mined)")
        script.broken = ["limits", "receipt"]
        assert.strictEqual(yield* reconcile, "Settled (observed: transfer)")
      }))

    it.effect("another payee, amount, token or memo is another payment", () =>
      Effect.gen(function*() {
        const { plan, reconcile, script } = yield* world()
        yield* TestClock.adjust("1 minute")
        const own = { to: tempo.payee, units: 10_000n, memo } as const
        for (
          const transfer of [
            { ...own, to: tempo.second },
            { ...own, units: 9_999n },
            { ...own, memo: hashB },
            { to: own.to, units: own.units }
          ]
        ) {
          script.mined = [minedOf(plan, 1_000, { transfers: [transfer] })]
          assert.strictEqual(yield* reconcile, "Void (proven: transaction expired unmined)")
        }
      }))

    it.effect("flags a payment that did not pay everybody", () =>
      Effect.gen(function*() {
        const part = { to: tempo.second, units: 1_000n } as const
        const splits = [{ amount: "1000", recipient: tempo.second }, { amount: "1000", recipient: tempo.second }]
        const { plan, reconcile, script } = yield* world({ change: { details: { splits } } })
        script.limits = { [hashA]: limitsOf(plan) }
        const first = { to: tempo.payee, units: 8_000n, memo } as const
        script.mined = [minedOf(plan, 1_000, { transfers: [first, part] })]
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* reconcile, "Settled (observed: transaction mined, mismatch)")
        script.mined = [minedOf(plan, 1_000, { transfers: [first, part, part] })]
        assert.strictEqual(yield* reconcile, "Settled (proven: transaction mined)")
      }))

    it.effect("finds a reverted payment by its fee: void when its block is final, and the fee is lost", () =>
      Effect.gen(function*() {
        const { plan, rail, script } = yield* world()
        script.limits = { [hashA]: limitsOf(plan), [hashB]: { gas: 1n, maxFeePerGas: 1n } }
        const reverted = { succeeded: false, transfers: [] }
        script.mined = [
          minedOf(plan, 999, { ...reverted, transactionHash: hashB }),
          minedOf(plan, 1_000, reverted)
        ]
        assert.strictEqual(shown(yield* rail.reconcile(plan)), "Unknown (observed: transaction reverted)")
        yield* TestClock.adjust("1 second")
        const verdict = yield* rail.reconcile(plan)
        assert.strictEqual(shown(verdict), "Void (proven: transaction reverted)")
        assert.strictEqual(verdict._tag === "Void" ? verdict.feeUsd : undefined, 1_000n)
      }))

    it.effect("loses no fee out of sight: what cost one is not void before its receipt is shown", () =>
      Effect.gen(function*() {
        const { plan, reconcile, script } = yield* world()
        script.limits = { [hashA]: limitsOf(plan) }
        script.mined = [{ ...minedOf(plan, 1_000, { succeeded: false, transfers: [] }), transactionHash: hashB }]
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(yield* reconcile, "Unknown (observed: its fee was paid, and its receipt is not shown)")
      }))

    it.effect("takes no greater fee than was signed from a receipt", () =>
      Effect.gen(function*() {
        const { plan, rail, script } = yield* world()
        script.limits = { [hashA]: limitsOf(plan) }
        yield* TestClock.adjust("1 minute")
        for (const succeeded of [true, false]) {
          const receipt = minedOf(plan, 1_000, { succeeded, effectiveGasPrice: 10n ** 30n })
          script.mined = [succeeded ? receipt : { ...receipt, logs: receipt.logs.slice(-1) }]
          const verdict = yield* rail.reconcile(plan)
          assert.strictEqual(verdict._tag, succeeded ? "Settled" : "Void")
          assert.strictEqual("feeUsd" in verdict ? verdict.feeUsd : undefined, plan.feeUsd)
        }
      }))

    it.effect("takes no fee for what a merchant paid for", () =>
      Effect.gen(function*() {
        const { plan, rail, script } = yield* world({ change: { details: { feePayer: true } } })
        script.limits = { [hashA]: limitsOf(plan) }
        script.mined = [minedOf(plan, 1_000)]
        const verdict = yield* rail.reconcile(plan)
        assert.strictEqual(verdict._tag === "Settled" ? verdict.feeUsd : undefined, 0n)
      }))

    it.effect("asks for the hash of what it has signed itself", () =>
      Effect.gen(function*() {
        const { plan, rail, script } = yield* world()
        const hash = TempoTransaction.hash(tempo.signed(yield* rail.sign(plan)))
        script.mined = [minedOf(plan, 1_000, { transactionHash: hash, transfers: [] })]
        script.broken = ["logs"]
        assert.strictEqual(shown(yield* rail.reconcile(plan)), "Settled (observed: transaction mined, mismatch)")
        script.broken = ["receipt"]
        yield* TestClock.adjust("1 minute")
        assert.strictEqual((yield* Effect.flip(rail.reconcile(plan)))._tag, "ChainError")
        script.mined = [minedOf(plan, 1_000, { transactionHash: hash })]
        assert.strictEqual(shown(yield* rail.reconcile(plan)), "Settled (observed: transfer)")
      }))

    it.effect("gives money back only if all nodes say so, and takes the word of one that it is gone", () =>
      Effect.gen(function*() {
        const { plan, rail, reconcile, scripts: [one, other] } = yield* world({ nodes: 2 })
        if (one === undefined || other === undefined) return
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(yield* reconcile, "Void (proven: transaction expired unmined)")
        other.broken = ["latest"]
        assert.strictEqual((yield* Effect.flip(rail.reconcile(plan)))._tag, "ChainError")
        other.broken = ["logs"]
        assert.strictEqual((yield* Effect.flip(rail.reconcile(plan)))._tag, "ChainError")
        other.broken = []
        other.skew = -60
        assert.strictEqual(yield* reconcile, "Unknown (presumed: the nodes disagree)")
        other.broken = ["latest"]
        one.mined = [minedOf(plan, 1_000)]
        one.limits = { [hashA]: limitsOf(plan) }
        assert.strictEqual(yield* reconcile, "Settled (proven: transaction mined)")
        other.broken = []
        assert.strictEqual(yield* reconcile, "Unknown (presumed: the nodes disagree)")
      }))

    it.effect("without a node nothing is known", () =>
      Effect.gen(function*() {
        const { plan } = yield* world()
        const rail = yield* tempo.railWith()
        assert.strictEqual(shown(yield* rail.reconcile(plan)), "Unknown (presumed: no rpc)")
        assert.isTrue(Option.isNone(yield* rail.balance?.(plan) ?? Effect.succeedNone))
      }))

    it.effect("tells what the payer lacks, the fee included", () =>
      Effect.gen(function*() {
        const { plan, rail, script } = yield* world()
        const asset = Option.getOrThrow(Asset.makeTable(Asset.known).find(tempo.network, tempo.token))
        script.balance = 10_000n + (plan.feeUsd ?? 0n)
        assert.isTrue(Option.isNone(yield* shortage(rail, plan, asset)))
        script.balance -= 1n
        assert.isTrue(Option.isSome(yield* shortage(rail, plan, asset)))
        script.balance = 0n
        assert.isTrue(Option.isSome(yield* shortage(rail, plan, asset)))
      }))
  })

  describe("broadcast", () => {
    const world = Effect.fnUntraced(function*(wallet = counting()) {
      yield* TestClock.setTime(1_000_000)
      const first = nodeOf()
      const rail = yield* tempo.railWith({ mode: "push" }, [first.node], wallet.layer)
      const offer = tempo.offer({ challenge: { expires: "1970-01-01T01:00:00Z" } })
      const plan = yield* rail.plan(offer, tempo.context)
      const mine = (given: Parameters<typeof minedOf>[2] = {}) =>
        Effect.map(seconds, (now) => {
          const [signed] = wallet.signed
          if (signed === undefined) throw new Error("nothing was signed")
          const transactionHash = TempoTransaction.hash(signed)
          first.script.mined = [minedOf(plan, now, { ...given, transactionHash })]
          first.script.limits = { [transactionHash]: limitsOf(plan) }
        })
      return { rail, plan, ...first, signed: wallet.signed, mine }
    })
    type Credential = Effect.Success<ReturnType<Effect.Success<ReturnType<typeof world>>["rail"]["sign"]>>
    const running = ({ broadcast }: Credential) =>
      Effect.forkChild(broadcast === undefined ? Effect.die("nothing is broadcast") : broadcast.run, {
        startImmediately: true
      })

    it.effect("sends it once, waits, and answers what the receipt says", () =>
      Effect.gen(function*() {
        const { asked, mine, plan, rail } = yield* world()
        const credential = yield* rail.sign(plan)
        asked.length = 0
        const fiber = yield* running(credential)
        yield* TestClock.adjust("3 seconds")
        yield* mine()
        yield* TestClock.adjust("1 second")
        const verdict = yield* Fiber.join(fiber)
        assert.strictEqual(shown(verdict), "Settled (observed: transaction mined)")
        assert.strictEqual(verdict.evidence.reference, credential.broadcast?.transaction)
        assert.strictEqual(verdict._tag === "Settled" ? verdict.feeUsd : undefined, 1_000n)
        assert.strictEqual(asked.filter((operation) => operation === "send").length, 1)
        assert.strictEqual(asked[0], "send")
      }))

    it.effect("does not wait for a node that is silent where the other shows it", () =>
      Effect.gen(function*() {
        yield* TestClock.setTime(1_000_000)
        const first = nodeOf()
        const silent: Chain.Node = { ...nodeOf().node, send: () => Effect.never, receipt: () => Effect.never }
        const rail = yield* tempo.railWith({ mode: "push" }, [silent, first.node])
        const offer = tempo.offer({ challenge: { expires: "1970-01-01T01:00:00Z" } })
        const plan = yield* rail.plan(offer, tempo.context)
        const credential = yield* rail.sign(plan)
        const transactionHash: Hex = `0x${credential.broadcast?.transaction.slice(2) ?? ""}`
        const fiber = yield* running(credential)
        first.script.mined = [minedOf(plan, 1_000, { transactionHash })]
        yield* TestClock.adjust("3 seconds")
        assert.isDefined(fiber.pollUnsafe())
        assert.strictEqual((yield* Fiber.join(fiber))._tag, "Settled")
      }))

    it.effect("knows nothing where no node is configured any more", () =>
      Effect.gen(function*() {
        const { plan, rail } = yield* world()
        const { broadcast } = yield* rail.sign(plan)
        const without = yield* tempo.railWith({ mode: "push" }, [])
        const fiber = yield* running(yield* without.sign(tempo.stored(plan), broadcast?.transaction))
        yield* TestClock.adjust("2 minutes")
        assert.isDefined(fiber.pollUnsafe())
        assert.strictEqual((yield* Fiber.join(fiber))._tag, "Unknown")
      }))

    it.effect("a node that refuses it proves nothing", () =>
      Effect.gen(function*() {
        const { mine, plan, rail, script } = yield* world()
        script.broken = ["send"]
        const fiber = yield* running(yield* rail.sign(plan))
        yield* TestClock.adjust("1 second")
        yield* mine()
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* Fiber.join(fiber))._tag, "Settled")
      }))

    it.effect("what is not mined in time is void when a final block says so", () =>
      Effect.gen(function*() {
        const { plan, rail } = yield* world()
        const fiber = yield* running(yield* rail.sign(plan))
        yield* TestClock.adjust("30 seconds")
        assert.isUndefined(fiber.pollUnsafe())
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual(shown(yield* Fiber.join(fiber)), "Void (proven: transaction expired unmined)")
      }))

    it.effect("gives up where the chain says nothing, and knows nothing then", () =>
      Effect.gen(function*() {
        const { plan, rail, script } = yield* world()
        script.broken = ["latest", "receipt", "finalized"]
        const fiber = yield* running(yield* rail.sign(plan))
        yield* TestClock.adjust("2 minutes")
        assert.strictEqual(shown(yield* Fiber.join(fiber)), "Unknown (observed: broadcast)")
      }))

    it.effect("what was reverted is void when its block is final, at the price of its fee", () =>
      Effect.gen(function*() {
        const { mine, plan, rail, script } = yield* world()
        script.depth = 3
        const fiber = yield* running(yield* rail.sign(plan))
        yield* mine({ succeeded: false, transfers: [] })
        yield* TestClock.adjust("2 seconds")
        assert.isUndefined(fiber.pollUnsafe())
        yield* TestClock.adjust("2 seconds")
        const verdict = yield* Fiber.join(fiber)
        assert.strictEqual(shown(verdict), "Void (proven: transaction reverted)")
        assert.strictEqual(verdict._tag === "Void" ? verdict.feeUsd : undefined, 1_000n)
      }))

    it.effect("a receipt without the transfers frees nothing", () =>
      Effect.gen(function*() {
        const { mine, plan, rail } = yield* world()
        const fiber = yield* running(yield* rail.sign(plan))
        yield* mine({ transfers: [] })
        yield* TestClock.adjust("10 seconds")
        const verdict = yield* Fiber.join(fiber)
        assert.strictEqual(verdict._tag, "Settled")
        assert.isTrue(verdict.evidence.mismatch)
      }))

    it.effect("a receipt without the transfers is held against the other node", () =>
      Effect.gen(function*() {
        yield* TestClock.setTime(1_000_000)
        const [liar, other] = [nodeOf(), nodeOf()]
        const rail = yield* tempo.railWith({ mode: "push" }, [liar.node, other.node])
        const offer = tempo.offer({ challenge: { expires: "1970-01-01T01:00:00Z" } })
        const plan = yield* rail.plan(offer, tempo.context)
        const credential = yield* rail.sign(plan)
        const transactionHash: Hex = `0x${credential.broadcast?.transaction.slice(2) ?? ""}`
        liar.script.mined = [minedOf(plan, 1_000, { transactionHash, transfers: [] })]
        const fiber = yield* running(credential)
        yield* TestClock.adjust("1 minute")
        assert.strictEqual((yield* Fiber.join(fiber))._tag, "Unknown")
      }))

    it.effect("after a restart what was mined is presented without a signature", () =>
      Effect.gen(function*() {
        const { asked, mine, plan, rail, signed } = yield* world()
        const credential = yield* rail.sign(plan)
        yield* mine()
        const again = yield* rail.sign(tempo.stored(plan), credential.broadcast?.transaction)
        assert.strictEqual(signed.length, 1)
        assert.deepStrictEqual(tempo.presented(again), tempo.presented(credential))
        asked.length = 0
        assert.strictEqual((yield* Fiber.join(yield* running(again)))._tag, "Settled")
        assert.notInclude(asked, "send")
      }))

    it.effect("after a restart what was not mined is sent again only by a wallet that repeats its bytes", () =>
      Effect.gen(function*() {
        for (const [resign, sends] of [["same", 1], ["equivalent", 0], ["no", 0]] as const) {
          const wallet = counting(resign)
          const { asked, mine, plan, rail } = yield* world(wallet)
          const { broadcast } = yield* rail.sign(plan)
          const again = yield* rail.sign(tempo.stored(plan), broadcast?.transaction)
          assert.strictEqual(again.broadcast?.transaction, broadcast?.transaction)
          assert.strictEqual(wallet.signed.length, 1 + sends)
          asked.length = 0
          const fiber = yield* running(again)
          yield* TestClock.adjust("1 second")
          yield* mine()
          yield* TestClock.adjust("1 second")
          assert.strictEqual((yield* Fiber.join(fiber))._tag, "Settled")
          assert.strictEqual(asked.filter((operation) => operation === "send").length, sends)
          assert.strictEqual(asked[0], "receipt")
        }
      }))

    it.effect("a hash that no signature gives any more is waited for, and nothing else is sent", () =>
      Effect.gen(function*() {
        const { asked, plan, rail } = yield* world()
        const again = yield* rail.sign(plan, hashB)
        assert.strictEqual(again.broadcast?.transaction, hashB)
        const fiber = yield* running(again)
        yield* TestClock.adjust("32 seconds")
        assert.strictEqual((yield* Fiber.join(fiber))._tag, "Void")
        assert.notInclude(asked, "send")
      }))
  })
})
