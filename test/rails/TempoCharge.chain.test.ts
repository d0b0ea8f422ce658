import { assert, describe, layer } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import { createClient, type Hex, http, type LocalAccount } from "viem"
import { generatePrivateKey, privateKeyToAccount, setSignEntropy } from "viem/accounts"
import { signTransaction } from "viem/actions"
import { tempoLocalnet } from "viem/chains"
import { Transaction } from "viem/tempo"
import * as Asset from "../../src/Asset.ts"
import * as Chain from "../../src/Chain.ts"
import type * as Rails from "../../src/Rails.ts"
import * as Tempo from "../../src/testing/chain/Tempo.ts"
import * as Transport from "../../src/Transport.ts"
import * as Wallet from "../../src/Wallet.ts"
import * as Receipt from "../../src/wire/mpp/Receipt.ts"
import * as TempoTransaction from "../../src/wire/mpp/TempoTransaction.ts"
import * as tempo from "./tempo.ts"

const World = Layer.unwrap(Effect.map(Tempo.TempoChain, (chain) =>
  Layer.mergeAll(
    Chain.layer({ rpc: { [chain.network]: chain.rpcUrl } }).pipe(
      Layer.provide(Transport.layer),
      Layer.provide(FetchHttpClient.layer)
    ),
    Asset.layer(chain.assets)
  ))).pipe(Layer.provideMerge(Tempo.layer()))

let challenges = 0

const offer = Effect.fnUntraced(function*(change: tempo.Change = {}) {
  const chain = yield* Tempo.TempoChain
  const now = yield* Clock.currentTimeMillis
  return tempo.offer({
    ...change,
    challenge: {
      id: `challenge-${now}-${challenges++}`,
      expires: new Date(now + 300_000).toISOString(),
      ...change.challenge
    },
    details: { chainId: chain.chainId, ...change.details }
  })
})

/** A payer of whom nobody has heard, with so much of the token. */
const stranger = Effect.fnUntraced(function*(units: bigint) {
  const chain = yield* Tempo.TempoChain
  const key = generatePrivateKey()
  const account = privateKeyToAccount(key)
  if (units > 0n) yield* chain.fund(account.address, units)
  return { account, wallet: Wallet.layerPrivateKey(Redacted.make(key)) }
})

/** What a merchant does with a transaction that he is handed. */
const broadcast = Effect.fnUntraced(function*(raw: Hex) {
  const chain = yield* Tempo.TempoChain
  return yield* Effect.asVoid(chain.rpc("eth_sendRawTransactionSync", [raw]))
})

/** What becomes of a transaction that the chain need not take: it has had the time for it. */
const tryBroadcast = Effect.fnUntraced(function*(raw: Hex) {
  const chain = yield* Tempo.TempoChain
  yield* Effect.ignore(chain.rpc("eth_sendRawTransaction", [raw]))
  yield* chain.mine(2)
})

/** Transfers to a payee, whoever paid. */
const transfersTo = Effect.fnUntraced(function*(to: string) {
  const chain = yield* Tempo.TempoChain
  return (yield* chain.transfers()).filter((transfer) => transfer.to.toLowerCase() === to)
})

/** What a merchant makes of a transaction whose fee he pays. */
const cosigned = Effect.fnUntraced(function*(raw: Hex) {
  const chain = yield* Tempo.TempoChain
  const sponsor = privateKeyToAccount(Redacted.value(chain.accounts[3]!.privateKey))
  const client = createClient({
    account: sponsor,
    chain: { ...tempoLocalnet, id: chain.chainId as 1337 },
    transport: http(chain.rpcUrl)
  })
  const transaction = Transaction.deserialize(`0x78${raw.slice(4)}` as const)
  return yield* Effect.promise(() =>
    signTransaction(client, { ...transaction, feePayer: sponsor, feeToken: tempo.token })
  )
})

const address = () => privateKeyToAccount(generatePrivateKey()).address.toLowerCase()

/** An account that the chain has given everything, moves what a test wants moved. */
const spend = Effect.fnUntraced(function*(account: LocalAccount, units: bigint) {
  const chain = yield* Tempo.TempoChain
  const now = yield* Clock.currentTimeMillis
  const transaction: TempoTransaction.Unsigned = {
    chainId: chain.chainId,
    from: account.address,
    calls: [TempoTransaction.calls(tempo.token, [{ to: tempo.third, units }])[0]!],
    gas: "500000",
    maxFeePerGas: "50000000000",
    maxPriorityFeePerGas: "1000000000",
    validBefore: Math.floor(now / 1000) + 25,
    feeToken: tempo.token,
    sponsored: false
  }
  const raw = yield* Effect.promise(() =>
    account.signTransaction(TempoTransaction.serializable(transaction), { serializer: Transaction.serialize })
  )
  yield* broadcast(raw)
})

/** Waits for the chain to make a verdict certain. */
const proven = (rail: Rails.Rail, plan: Rails.Plan) =>
  rail.reconcile(plan).pipe(
    Effect.repeat({ schedule: Schedule.spaced("200 millis"), until: ({ evidence }) => evidence.rank === "proven" }),
    Effect.timeout("20 seconds")
  )

const run = (credential: Rails.Credential) =>
  credential.broadcast === undefined ? Effect.die("nothing is broadcast") : credential.broadcast.run

const answering = (reference: string) => ({
  status: 200,
  headers: {
    "payment-receipt": Receipt.encode({ method: "tempo", reference, timestamp: "2026-01-01T00:00:00Z" })
  },
  body: undefined
})

describe("TempoCharge", () => {
  layer(World, { excludeTestServices: true })("on a chain", (it) => {
    it.effect("pays by a transaction that the merchant broadcasts, known by its hash beforehand", () =>
      Effect.gen(function*() {
        const chain = yield* Tempo.TempoChain
        const { account, wallet } = yield* stranger(1_000_000n)
        const rail = yield* tempo.railOn({}, wallet)
        const plan = yield* rail.plan(yield* offer(), tempo.context)
        const credential = yield* rail.sign(plan)
        const raw = tempo.signed(credential)
        yield* broadcast(raw)

        const hash = TempoTransaction.hash(raw)
        const verdict = rail.judge(plan, answering(hash), yield* Clock.currentTimeMillis)
        assert.strictEqual(verdict._tag, "Settled")
        assert.strictEqual(verdict.evidence.reference, hash)

        const found = yield* proven(rail, plan)
        assert.strictEqual(found._tag, "Settled")
        if (found._tag !== "Settled") return
        assert.strictEqual(found.evidence.reference, hash)
        assert.isUndefined(found.evidence.mismatch)
        assert.strictEqual(1_000_000n - (yield* chain.balance(account.address)), 10_000n + (found.feeUsd ?? 0n))
        assert.isTrue((found.feeUsd ?? 0n) > 0n && (found.feeUsd ?? 0n) <= (plan.feeUsd ?? 0n))
      }))

    it.effect("signs the same bytes after a crash, so that one payment is made", () =>
      Effect.gen(function*() {
        const to = address()
        const before = yield* tempo.railOn()
        const plan = yield* before.plan(yield* offer({ request: { recipient: to } }), tempo.context)
        const raw = tempo.signed(yield* before.sign(plan))
        const after = yield* tempo.railOn()
        const again = tempo.signed(yield* after.sign(tempo.stored(plan)))
        assert.strictEqual(again, raw)
        yield* broadcast(raw)
        yield* tryBroadcast(again)
        assert.deepStrictEqual((yield* transfersTo(to)).map(({ units }) => units), [10_000n])
      }))

    it.effect("finds its payment again after a crash, without a signature", () =>
      Effect.gen(function*() {
        const before = yield* tempo.railOn()
        const plan = yield* before.plan(yield* offer(), tempo.context)
        const raw = tempo.signed(yield* before.sign(plan))
        const after = yield* tempo.railOn()
        const early = yield* after.reconcile(tempo.stored(plan))
        assert.strictEqual(early._tag, "Unknown")
        assert.strictEqual(early.evidence.what, "transaction not mined so far")
        yield* broadcast(raw)
        const late = yield* after.reconcile(tempo.stored(plan))
        assert.strictEqual(late._tag, "Settled")
        assert.strictEqual(late.evidence.reference, TempoTransaction.hash(raw))
      }))

    it.effect("does not take the transfer of another purchase for its own, though it has the same memo", () =>
      Effect.gen(function*() {
        const memo = `0x${"5a".repeat(32)}`
        const rail = yield* tempo.railOn()
        const one = yield* offer({ details: { memo } })
        const [first, second] = [yield* rail.plan(one, tempo.context), yield* rail.plan(one, tempo.context)]
        const raw = tempo.signed(yield* rail.sign(first))
        yield* broadcast(raw)
        assert.strictEqual((yield* rail.reconcile(tempo.stored(first)))._tag, "Settled")
        assert.strictEqual((yield* rail.reconcile(tempo.stored(second)))._tag, "Unknown")
      }))

    it.effect("pays everybody who gets a part, in one transaction", () =>
      Effect.gen(function*() {
        const [first, second, third, fourth] = [address(), address(), address(), address()]
        const memo = `0x${"77".repeat(32)}` as const
        const rail = yield* tempo.railOn({ maxFee: "0.50" })
        const charge = yield* offer({
          request: { recipient: first },
          details: {
            splits: [
              { amount: "1000", recipient: second },
              { amount: "2000", recipient: third, memo },
              { amount: "1000", recipient: second },
              { amount: "1", recipient: fourth }
            ]
          }
        })
        assert.deepStrictEqual(charge.alsoPays, [second, third, second, fourth])
        const plan = yield* rail.plan(charge, tempo.context)
        yield* broadcast(tempo.signed(yield* rail.sign(plan)))
        const verdict = yield* rail.reconcile(tempo.stored(plan))
        assert.strictEqual(verdict._tag, "Settled")
        assert.isUndefined(verdict.evidence.mismatch)
        assert.deepStrictEqual((yield* transfersTo(first)).map(({ units }) => units), [5_999n])
        assert.deepStrictEqual((yield* transfersTo(second)).map(({ units }) => units), [1_000n, 1_000n])
        assert.deepStrictEqual((yield* transfersTo(third)).map(({ memo, units }) => [units, memo]), [[2_000n, memo]])
        assert.deepStrictEqual((yield* transfersTo(fourth)).map(({ units }) => units), [1n])
      }))

    it.effect("pays nothing but the price where the merchant pays the fee, and finds it by its memo", () =>
      Effect.gen(function*() {
        const chain = yield* Tempo.TempoChain
        const { account, wallet } = yield* stranger(10_000n)
        const rail = yield* tempo.railOn({}, wallet)
        const plan = yield* rail.plan(yield* offer({ details: { feePayer: true } }), tempo.context)
        assert.isUndefined(plan.feeUsd)
        const raw = tempo.signed(yield* rail.sign(plan))
        const sponsored = yield* cosigned(raw)
        yield* broadcast(sponsored)
        assert.strictEqual(yield* chain.balance(account.address), 0n)
        const verdict = yield* rail.reconcile(plan)
        assert.strictEqual(verdict._tag, "Settled")
        assert.strictEqual(verdict._tag === "Settled" ? verdict.feeUsd : undefined, 0n)
        const answer = answering(TempoTransaction.hash(sponsored))
        assert.strictEqual(rail.judge(plan, answer, yield* Clock.currentTimeMillis)._tag, "Settled")
      }))

    it.effect("broadcasts a transaction itself where the merchant takes its hash", () =>
      Effect.gen(function*() {
        const chain = yield* Tempo.TempoChain
        const { account, wallet } = yield* stranger(1_000_000n)
        const rail = yield* tempo.railOn({}, wallet)
        const plan = yield* rail.plan(yield* offer({ details: { supportedModes: ["push"] } }), tempo.context)
        const credential = yield* rail.sign(plan)
        const hash = credential.broadcast?.transaction ?? ""
        assert.deepStrictEqual({ ...tempo.presented(credential).payload }, { type: "hash", hash })
        assert.strictEqual(yield* chain.balance(account.address), 1_000_000n)

        const verdict = yield* run(credential)
        assert.strictEqual(verdict._tag, "Settled")
        assert.strictEqual(verdict.evidence.reference, hash)
        const feeUsd = verdict._tag === "Settled" ? verdict.feeUsd ?? 0n : 0n
        assert.strictEqual(1_000_000n - (yield* chain.balance(account.address)), 10_000n + feeUsd)
        assert.strictEqual((yield* run(credential))._tag, "Settled")
        assert.strictEqual(1_000_000n - (yield* chain.balance(account.address)), 10_000n + feeUsd)
      }))

    it.effect("presents the hash of what it had broadcast before a crash, and signs nothing again", () =>
      Effect.gen(function*() {
        const to = address()
        const before = yield* tempo.railOn({ mode: "push" })
        const plan = yield* before.plan(yield* offer({ request: { recipient: to } }), tempo.context)
        const first = yield* before.sign(plan)
        yield* run(first)
        const account = privateKeyToAccount(tempo.key)
        const asleep: LocalAccount = { ...account, signTransaction: () => Promise.reject(new Error("asleep")) }
        const after = yield* tempo.railOn({ mode: "push" }, Wallet.layer(asleep))
        const again = yield* after.sign(tempo.stored(plan), first.broadcast?.transaction)
        assert.deepStrictEqual(tempo.presented(again), tempo.presented(first))
        assert.strictEqual((yield* run(again))._tag, "Settled")
        assert.strictEqual((yield* transfersTo(to)).length, 1)
      }))

    it.effect("broadcasts again what a crash may have kept from the chain", () =>
      Effect.gen(function*() {
        const to = address()
        const before = yield* tempo.railOn({ mode: "push" })
        const plan = yield* before.plan(yield* offer({ request: { recipient: to } }), tempo.context)
        const first = yield* before.sign(plan)
        const after = yield* tempo.railOn({ mode: "push" })
        const again = yield* after.sign(tempo.stored(plan), first.broadcast?.transaction)
        assert.strictEqual(again.broadcast?.transaction, first.broadcast?.transaction)
        assert.strictEqual((yield* run(again))._tag, "Settled")
        assert.strictEqual((yield* transfersTo(to)).length, 1)
      }))

    it.effect("counts the fee alone where a transaction is reverted", () =>
      Effect.gen(function*() {
        const chain = yield* Tempo.TempoChain
        const { account, wallet } = yield* stranger(200_000n)
        const rail = yield* tempo.railOn({ mode: "push" }, wallet)
        const plan = yield* rail.plan(yield* offer({ request: { amount: "100000" } }), tempo.context)
        const credential = yield* rail.sign(plan)
        yield* spend(account, 110_000n)
        const before = yield* chain.balance(account.address)
        const verdict = yield* run(credential)
        assert.strictEqual(verdict._tag, "Void")
        assert.strictEqual(verdict.evidence.what, "transaction reverted")
        assert.strictEqual(verdict.evidence.rank, "proven")
        const lost = before - (yield* chain.balance(account.address))
        assert.strictEqual(verdict._tag === "Void" ? verdict.feeUsd : undefined, lost)
        assert.isTrue(lost > 0n)

        const found = yield* rail.reconcile(tempo.stored(plan))
        assert.deepStrictEqual(found, verdict)
      }))

    it.effect("says that there is too little money before it signs", () =>
      Effect.gen(function*() {
        const { wallet } = yield* stranger(9_999n)
        const rail = yield* tempo.railOn({}, wallet)
        for (const change of [{}, { details: { feePayer: true } }]) {
          const error = yield* Effect.flip(rail.plan(yield* offer(change), tempo.context))
          assert.strictEqual(error._tag, "InsufficientFunds")
          assert.include(error.message, "9999")
        }
        const rich = yield* tempo.railOn({}, (yield* stranger(10_001n)).wallet)
        const error = yield* Effect.flip(rich.plan(yield* offer(), tempo.context))
        assert.strictEqual(error._tag, "InsufficientFunds")
        yield* rich.plan(yield* offer({ details: { feePayer: true } }), tempo.context)
      }))

    // It changes how the whole process signs.
    it.effect("makes one payment even where a crash changes the signature", () =>
      Effect.gen(function*() {
        const to = address()
        const before = yield* tempo.railOn()
        const plan = yield* before.plan(yield* offer({ request: { recipient: to } }), tempo.context)
        const raw = tempo.signed(yield* before.sign(plan))
        setSignEntropy(true)
        const after = yield* tempo.railOn()
        assert.isTrue(after.repeats)
        const again = tempo.signed(yield* after.sign(tempo.stored(plan)))
        assert.notStrictEqual(again, raw)
        yield* broadcast(raw)
        yield* tryBroadcast(again)
        assert.strictEqual((yield* transfersTo(to)).length, 1)
        const verdict = yield* after.reconcile(tempo.stored(plan))
        assert.strictEqual(verdict._tag, "Settled")
        assert.strictEqual(verdict.evidence.reference, TempoTransaction.hash(raw))
      }))
  })

  layer(World, { excludeTestServices: true })("on a chain that goes ahead", (it) => {
    it.effect("proves that what was never broadcast can never be, by a final block after its end", () =>
      Effect.gen(function*() {
        const chain = yield* Tempo.TempoChain
        const rail = yield* tempo.railOn()
        const plan = yield* rail.plan(yield* offer(), tempo.context)
        const raw = tempo.signed(yield* rail.sign(plan))
        const { validBefore } = tempo.transactionOf(plan)
        yield* chain.setNextTimestamp(BigInt(validBefore) + 5n)
        yield* chain.mine()
        const seen = yield* rail.reconcile(tempo.stored(plan))
        assert.strictEqual(seen._tag, "Unknown")
        yield* chain.mine(2)
        const verdict = yield* rail.reconcile(tempo.stored(plan))
        assert.strictEqual(verdict._tag, "Void")
        assert.strictEqual(verdict.evidence.rank, "proven")
        yield* tryBroadcast(raw)
        assert.strictEqual((yield* rail.reconcile(plan))._tag, "Void")
      }))
  })
})
