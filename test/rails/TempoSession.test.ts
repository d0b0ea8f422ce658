import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { TestClock } from "effect/testing"
import { type Hex, recoverTypedDataAddress, zeroAddress } from "viem"
import { generatePrivateKey } from "viem/accounts"
import * as Rails from "../../src/Rails.ts"
import * as Wallet from "../../src/Wallet.ts"
import * as Channel from "../../src/wire/mpp/Channel.ts"
import * as Credential from "../../src/wire/mpp/Credential.ts"
import * as TempoTransaction from "../../src/wire/mpp/TempoTransaction.ts"
import * as Voucher from "../../src/wire/mpp/Voucher.ts"
import {
  type Instead,
  makeChain,
  makeShop,
  offer,
  opening,
  price,
  problem,
  railWith,
  receipt,
  ticking,
  walk
} from "./channels.ts"
import * as tempo from "./tempo.ts"

const noMoney: Rails.Drawn = { limit: 1_000_000n, spent: 0n, reserved: 0n }

/** A world of its own: a chain, a merchant, and the rail. */
const worldOf = Effect.fnUntraced(function*(change: tempo.Change = {}) {
  const chain = makeChain()
  const shop = makeShop(chain, change)
  const made = yield* railWith({ nodes: [chain.node], client: shop.client })
  return { chain, shop, ...made }
})

/** The same with a channel. */
const channelOf = Effect.fnUntraced(function*() {
  const world = yield* worldOf()
  const plan = yield* world.ops.planOpen(offer(), opening)
  const handle = yield* world.ops.establish(plan)
  return { ...world, plan, handle, channelId: handle.wireId as Hex }
})

/** Every form of a credential: what it pays, and to what challenge. */
const vouchersOf = ({ envelopes }: Rails.Credential) =>
  envelopes.map((envelope) => {
    const header = Redacted.value(Object.values(envelope)[0]!)
    const presented = Option.getOrThrow(Credential.parse(header))
    if (presented._tag !== "Standard") throw new Error("no credential")
    return {
      header: Object.keys(envelope)[0],
      challenge: presented.credential.challenge.id,
      payload: presented.credential.payload as { readonly [member: string]: string }
    }
  })

const figuresOf = (credential: Rails.Credential) =>
  vouchersOf(credential).map(({ payload }) => BigInt(payload.cumulativeAmount!))

const shown = (verdict: Rails.Verdict) => {
  const { mismatch, what } = verdict.evidence
  const next = verdict._tag === "Unknown" ? ` -> ${verdict.next._tag}` : ""
  const content = "content" in verdict && verdict.content ? " with content" : ""
  return `${verdict._tag}${content} (${what}${mismatch === true ? ", mismatch" : ""})${next}`
}

const answerOf = (status: number, code?: string, headers: { readonly [name: string]: string } = {}) => ({
  status,
  headers: { "content-type": "application/problem+json", ...headers },
  body: code === undefined ? undefined : JSON.stringify({ type: `https://paymentauth.org/problems/${code}`, status })
})

const receiptOf = (status: number, channelId: Hex, accepted: bigint, spent: bigint) => ({
  status,
  headers: { "payment-receipt": receipt(channelId, accepted, spent) },
  body: undefined
})

const whyNot = (change: tempo.Change, options: Parameters<typeof railWith>[0] = {}) =>
  Effect.map(railWith(options), ({ rail }) =>
    Result.match(rail.accepts(offer(change), tempo.origin), {
      onSuccess: () => "accepted",
      onFailure: ({ rule, why }) => rule === undefined ? why : `${rule}: ${why}`
    }))

describe("what a session has to be like", () => {
  const refused: ReadonlyArray<readonly [string, tempo.Change, RegExp]> = [
    ["another escrow than the reserve", { details: { escrowContract: tempo.third } }, /^escrow: /],
    ["an operator that nobody allowed", { details: { operator: tempo.third } }, /^operator: /],
    ["version 1", { details: { sessionProtocol: "v1" } }, /version 1/],
    ["no version, which is version 1", { details: { sessionProtocol: undefined } }, /version 1/],
    ["a version of the future", { details: { sessionProtocol: "v3" } }, /protocol is not known/],
    ["version 2 without a chain", { details: { chainId: undefined } }, /no chain/],
    ["version 2 without an escrow", { details: { escrowContract: undefined } }, /no escrow/],
    ["a voucher that has to rise by more than the price", { details: { minVoucherDelta: "10001" } }, /raised by more/],
    ["a token that is not in the table", { request: { currency: tempo.third } }, /token is none/],
    ["a challenge without an end", { challenge: { expires: undefined } }, /never expires/],
    ["the payer as the payee", { request: { recipient: tempo.payer } }, /pays the payer/],
    ["the zero address as the payee", { request: { recipient: zeroAddress } }, /zero address/],
    ["the token as the payee", { request: { recipient: tempo.token } }, /or the token/]
  ]

  for (const [what, change, why] of refused) {
    it.effect(`refuses ${what}`, () =>
      Effect.gen(function*() {
        assert.match(yield* whyNot(change), why)
      }))
  }

  it.effect("takes what is in order, also with a smaller step, a zero operator and members that it does not know", () =>
    Effect.gen(function*() {
      const details = { minVoucherDelta: "10000", operator: zeroAddress, feeToken: tempo.alpha, nobodyKnows: true }
      assert.strictEqual(yield* whyNot({ details }), "accepted")
      assert.strictEqual(
        yield* whyNot({ details: { escrowContract: Channel.escrowV2.toUpperCase().replace("X", "x") } }),
        "accepted"
      )
    }))

  it.effect("takes what the program allows: an operator, a challenge without an end", () =>
    Effect.gen(function*() {
      const rail = { operators: [tempo.third.toUpperCase().replace("X", "x")], allowNoExpiry: true }
      assert.strictEqual(
        yield* whyNot({ details: { operator: tempo.third }, challenge: { expires: undefined } }, { rail }),
        "accepted"
      )
    }))

  it.effect("refuses what the program forbids: another chain, an opening that the merchant pays for", () =>
    Effect.gen(function*() {
      assert.match(yield* whyNot({}, { rail: { chainId: 4217 } }), /^network: /)
      assert.match(yield* whyNot({ details: { feePayer: true } }, { rail: { sponsored: false } }), /merchant pays/)
      assert.match(yield* whyNot({}, { nodes: [] }), /no RPC/)
    }))
})

describe("the deposit", () => {
  const deposits: ReadonlyArray<readonly [string, string | undefined, bigint]> = [
    ["what is allowed, if the merchant suggests a million dollars", "1000000000000", 1_000_000n],
    ["what is allowed, if it suggests nothing", undefined, 1_000_000n],
    ["what it suggests, if that is less", "250000", 250_000n],
    ["one price at least", "1", price]
  ]
  for (const [what, suggestedDeposit, units] of deposits) {
    it.effect(`is ${what}`, () =>
      Effect.gen(function*() {
        const { ops } = yield* worldOf()
        const plan = yield* ops.planOpen(offer({ request: { suggestedDeposit } }), opening)
        assert.strictEqual(plan.units, units)
      }))
  }

  it.effect("leaves room for the fee of the opening, and for the two transactions that end a channel alone", () =>
    Effect.gen(function*() {
      const { ops } = yield* worldOf()
      const plan = yield* ops.planOpen(offer(), opening)
      const sponsored = yield* ops.planOpen(offer({ details: { feePayer: true } }), opening)
      assert.isTrue(plan.feeUsd! > sponsored.feeUsd!)
      assert.isTrue(sponsored.feeUsd! > 0n)
    }))

  it.effect("is not put into a channel whose opening may cost more than is allowed", () =>
    Effect.gen(function*() {
      const { ops } = yield* railWith({ rail: { maxFee: "0.000001" } })
      const denied = yield* Effect.flip(ops.planOpen(offer(), opening))
      assert.deepStrictEqual([denied._tag, "rule" in denied && denied.rule], ["PolicyDenied", "fee"])
    }))

  it.effect("is not risked in the last seconds of a challenge", () =>
    Effect.gen(function*() {
      const { ops } = yield* worldOf()
      yield* TestClock.setTime(295_000)
      const denied = yield* Effect.flip(ops.planOpen(offer(), opening))
      assert.deepStrictEqual([denied._tag, "rule" in denied && denied.rule], ["PolicyDenied", "validity"])
    }))

  it.effect("goes into two channels with two names, and none outlives its challenge", () =>
    Effect.gen(function*() {
      const { ops } = yield* worldOf()
      yield* TestClock.setTime(290_000)
      const plans = [yield* ops.planOpen(offer(), opening), yield* ops.planOpen(offer(), opening)]
      const ids = plans.map(({ data }) => (data as { channelId: string }).channelId)
      assert.notStrictEqual(ids[0], ids[1])
      for (const plan of plans) assert.isAtMost(tempo.transactionOf(plan).validBefore, 300)
    }))
})

describe("an opening", () => {
  it.effect("asks by a request that buys nothing, with a voucher for one price", () =>
    Effect.gen(function*() {
      const { channelId, chain, handle, plan, shop } = yield* channelOf()
      assert.deepStrictEqual(walk(shop.seen), ["HEAD open 10000 204"])
      const { payload } = shop.seen[0]!
      if (payload?.action !== "open" || payload.descriptor === undefined) throw new Error("no opening")
      assert.strictEqual(
        Channel.id(payload.descriptor, { chainId: tempo.chainId, escrow: Channel.escrowV2 }),
        channelId
      )
      const { authorizedSigner, operator, payee, payer, token } = payload.descriptor
      assert.deepStrictEqual([payer, authorizedSigner, payee, operator, token], [
        tempo.payer.toLowerCase(),
        tempo.payer.toLowerCase(),
        tempo.payee,
        zeroAddress,
        tempo.token
      ])
      const { from } = Option.getOrThrow(TempoTransaction.decode(payload.transaction))
      assert.strictEqual(from, tempo.payer.toLowerCase())
      assert.strictEqual(chain.channels.get(channelId)?.deposit, plan.units)
      assert.strictEqual(handle.limit, plan.units)
    }))

  it.effect("is asked for by a request without a body where the server does not know the other", () =>
    Effect.gen(function*() {
      for (const status of [404, 405, 501]) {
        const { ops, shop } = yield* worldOf()
        shop.script.next = [() => Effect.succeed(new Response(null, { status }))]
        yield* ops.establish(yield* ops.planOpen(offer(), opening))
        assert.deepStrictEqual(walk(shop.seen), [`HEAD open 10000 ${status}`, "POST open 10000 204"])
        assert.strictEqual(shop.seen[0]!.headers.authorization, shop.seen[1]!.headers.authorization)
      }
    }))

  it.effect("counts as sent once the first request has left, also if the second does not leave", () =>
    Effect.gen(function*() {
      const { ops, shop } = yield* worldOf()
      shop.script.next = [
        () => Effect.succeed(new Response(null, { status: 405 })),
        () => Effect.succeed("refused")
      ]
      const failure = yield* Effect.flip(ops.establish(yield* ops.planOpen(offer(), opening)))
      assert.deepStrictEqual([failure._tag, "notSent" in failure && failure.notSent], ["Unavailable", false])
    }))

  it.effect("is repeated with the same channel", () =>
    Effect.gen(function*() {
      const { ops, shop } = yield* worldOf()
      const plan = tempo.stored(yield* ops.planOpen(offer(), opening))
      shop.script.next = [(_, carryOut) => Effect.as(carryOut, "lost")]
      yield* Effect.flip(ops.establish(plan))
      yield* ops.establish(plan)
      assert.strictEqual(shop.seen[0]!.headers.authorization, shop.seen[1]!.headers.authorization)
      assert.strictEqual(shop.books.size, 1)
    }))

  const answers: ReadonlyArray<readonly [string, Instead, string]> = [
    ["a refusal", () => Effect.succeed(problem(402, "verification-failed")), "PaymentRejected"],
    ["too many requests", () => Effect.succeed(problem(429, "unspecified")), "RateLimited"],
    ["a failure of the server", () => Effect.succeed(new Response(null, { status: 500 })), "ProtocolError"],
    ["success without a receipt", () => Effect.succeed(new Response(null, { status: 204 })), "ProtocolError"],
    ["the receipt of another channel", () =>
      Effect.succeed(
        new Response(null, { status: 204, headers: { "payment-receipt": receipt(`0x${"12".repeat(32)}`, price, 0n) } })
      ), "ProtocolError"],
    ["a receipt for more than was signed", (seen) =>
      Effect.succeed(
        new Response(null, {
          status: 204,
          headers: { "payment-receipt": receipt(seen.payload!.channelId, price + 1n, 0n) }
        })
      ), "ProtocolError"],
    ["silence", () => Effect.succeed("lost"), "Unavailable"],
    ["a connection that never came about", () => Effect.succeed("refused"), "Unavailable"]
  ]
  for (const [what, instead, tag] of answers) {
    it.effect(`fails by ${what}, and only a request that never left proves that there is no channel`, () =>
      Effect.gen(function*() {
        const { ops, shop } = yield* worldOf()
        shop.script.next = [instead]
        const failure = yield* Effect.flip(ops.establish(yield* ops.planOpen(offer(), opening)))
        assert.strictEqual(failure._tag, tag)
        assert.strictEqual(failure._tag === "Unavailable" && failure.notSent, what.includes("never came about"))
        assert.isFalse(ops.attests)
      }))
  }

  it.effect("of another wallet is not signed", () =>
    Effect.gen(function*() {
      const { ops } = yield* worldOf()
      const plan = yield* ops.planOpen(offer(), opening)
      const shop = makeShop(makeChain())
      const other = yield* railWith({
        client: shop.client,
        wallet: Wallet.layerPrivateKey(Redacted.make(generatePrivateKey()))
      })
      assert.strictEqual((yield* Effect.flip(other.ops.establish(plan)))._tag, "WalletError")
      assert.deepStrictEqual(shop.seen, [])
    }))

  it.effect("whose channel has another name than its parts make is not sent", () =>
    Effect.gen(function*() {
      const { ops, shop } = yield* worldOf()
      const plan = yield* ops.planOpen(offer(), opening)
      const data = { ...(plan.data as object), channelId: `0x${"12".repeat(32)}` }
      const failure = yield* Effect.flip(ops.establish(new Rails.Plan({ ...plan, data })))
      assert.strictEqual(failure._tag, "WalletError")
      assert.deepStrictEqual(shop.seen, [])
    }))
})

describe("what became of an opening", () => {
  const opened = Effect.fnUntraced(function*(mined: boolean) {
    const world = yield* worldOf()
    const plan = tempo.stored(yield* world.ops.planOpen(offer(), opening))
    world.shop.script.next = [
      (_, carryOut) => mined ? Effect.as(carryOut, "lost") : Effect.succeed("lost")
    ]
    yield* Effect.flip(world.ops.establish(plan))
    return { ...world, plan }
  })

  it.effect("is open until the last second in which it can be mined is final", () =>
    Effect.gen(function*() {
      const { plan, rail } = yield* opened(false)
      const { validBefore } = tempo.transactionOf(plan)
      for (const after of [0, validBefore, validBefore + 6]) {
        yield* TestClock.setTime(after * 1000)
        assert.strictEqual((yield* rail.reconcile(plan))._tag, "Unknown")
      }
      yield* TestClock.setTime((validBefore + 8) * 1000)
      const verdict = yield* rail.reconcile(plan)
      assert.deepStrictEqual([verdict._tag, verdict.evidence.rank], ["Void", "proven"])
    }))

  it.effect("is not said by a clock that is ahead of the chain's", () =>
    Effect.gen(function*() {
      const { chain, plan, rail } = yield* opened(false)
      chain.script.skew = -200
      yield* TestClock.setTime(150_000)
      assert.strictEqual((yield* rail.reconcile(plan))._tag, "Unknown")
    }))

  it.effect("is not said as long as a node is silent", () =>
    Effect.gen(function*() {
      const { chain, plan, rail } = yield* opened(false)
      chain.script.broken = true
      yield* TestClock.setTime(150_000)
      assert.strictEqual((yield* Effect.flip(rail.reconcile(plan)))._tag, "ChainError")
    }))

  it.effect("is closed at the merchant, if there is a channel that nobody draws on", () =>
    Effect.gen(function*() {
      const { plan, rail, shop } = yield* opened(true)
      const verdict = yield* ticking(rail.reconcile(plan))
      assert.deepStrictEqual(
        [verdict._tag, verdict.evidence.rank, verdict._tag === "Settled" && verdict.units],
        ["Settled", "proven", 0n]
      )
      assert.deepStrictEqual(walk(shop.seen), ["HEAD open 10000 lost", "HEAD - 402", "HEAD close 0 204"])
    }))
})

describe("a draw", () => {
  it.effect("is a voucher for one price more, signed by the payer for this channel", () =>
    Effect.gen(function*() {
      const { channelId, handle, ops, rail } = yield* channelOf()
      const plan = ops.planDraw(handle, offer(), noMoney)
      assert.deepStrictEqual([plan.units, plan.cumulative, plan.kind], [price, price, "draw"])
      const [voucher, ...others] = vouchersOf(yield* rail.sign(tempo.stored(plan)))
      assert.deepStrictEqual(others, [])
      assert.strictEqual(voucher!.header, "authorization")
      const signer = yield* Effect.promise(() =>
        recoverTypedDataAddress({
          ...Voucher.typedData({
            chainId: tempo.chainId,
            escrow: Channel.escrowV2,
            channelId,
            cumulative: BigInt(voucher!.payload.cumulativeAmount!)
          }),
          signature: voucher!.payload.signature as Hex
        })
      )
      assert.strictEqual(signer, tempo.payer)
    }))

  it.effect("takes the other header only if the challenge says so", () =>
    Effect.gen(function*() {
      const { handle, ops, rail } = yield* channelOf()
      const other = ops.planDraw(handle, offer({ challenge: { header: "Payment-Authorization" } }), noMoney)
      assert.deepStrictEqual(vouchersOf(yield* rail.sign(other)).map(({ header }) => header), ["payment-authorization"])
    }))

  it.effect("rises by its own price once the one before is acknowledged", () =>
    Effect.gen(function*() {
      const { channelId, handle, ops, rail } = yield* channelOf()
      for (const spent of [0n, price, 2n * price]) {
        const plan = ops.planDraw(handle, offer(), { ...noMoney, spent })
        assert.deepStrictEqual(figuresOf(yield* rail.sign(plan)), [spent + price])
        const verdict = rail.judge(plan, receiptOf(200, channelId, spent + price, spent + price), 0)
        assert.strictEqual(verdict._tag, "Settled")
      }
    }))

  it.effect("offers the same voucher again, and a higher one beside it, after one that was not answered", () =>
    Effect.gen(function*() {
      const { handle, ops, rail } = yield* channelOf()
      yield* rail.sign(ops.planDraw(handle, offer(), noMoney))
      for (const reserved of [price, 2n * price]) {
        const plan = ops.planDraw(handle, offer(), { ...noMoney, reserved })
        assert.strictEqual(plan.cumulative, reserved + price)
        assert.deepStrictEqual(figuresOf(yield* rail.sign(plan)), [price, reserved + price])
      }
    }))

  it.effect("is never lower than a voucher that may have left", () =>
    Effect.gen(function*() {
      const { handle, ops, rail } = yield* channelOf()
      yield* rail.sign(ops.planDraw(handle, offer(), noMoney))
      const second = ops.planDraw(handle, offer(), { ...noMoney, reserved: price })
      yield* rail.sign(second)
      // The server wants more, gets it, and is not heard of again.
      assert.strictEqual(
        shown(rail.judge(second, answerOf(402, "session/insufficient-balance"), 0)),
        "Unknown (a higher voucher is wanted) -> envelope"
      )
      const third = ops.planDraw(handle, offer(), { ...noMoney, reserved: 2n * price })
      assert.deepStrictEqual(figuresOf(yield* rail.sign(third)), [2n * price, 3n * price])
    }))

  it.effect("says so where more was signed than is paid for", () =>
    Effect.gen(function*() {
      const { channelId, handle, ops, rail } = yield* channelOf()
      yield* rail.sign(ops.planDraw(handle, offer(), noMoney))
      const second = ops.planDraw(handle, offer(), { ...noMoney, reserved: price })
      yield* rail.sign(second)
      rail.judge(second, answerOf(402, "session/insufficient-balance"), 0)
      const third = ops.planDraw(handle, offer(), { ...noMoney, reserved: 2n * price })
      yield* rail.sign(third)
      const verdict = rail.judge(third, receiptOf(200, channelId, 2n * price, price), 0)
      assert.deepStrictEqual(verdict._tag === "Settled" && verdict.session, { total: price, signed: 2n * price })
    }))

  it.effect("of less does not lower the voucher", () =>
    Effect.gen(function*() {
      const { handle, ops, rail } = yield* channelOf()
      yield* rail.sign(ops.planDraw(handle, offer({ request: { amount: "50000" } }), noMoney))
      const cheap = ops.planDraw(handle, offer({ request: { amount: "100" } }), { ...noMoney, reserved: 50_000n })
      assert.deepStrictEqual(figuresOf(yield* rail.sign(cheap)), [50_000n, 50_100n])
    }))

  it.effect("without memory is above all that may have been signed", () =>
    Effect.gen(function*() {
      const { handle } = yield* channelOf()
      const { ops, rail } = yield* railWith()
      const plan = ops.planDraw(handle, offer(), { limit: 1_000_000n, spent: 40_000n, reserved: 30_000n })
      assert.deepStrictEqual(figuresOf(yield* rail.sign(plan)), [80_000n])
    }))

  it.effect("is not signed if it is of another wallet, channel, chain or figure", () =>
    Effect.gen(function*() {
      const { handle, ops, rail, shop } = yield* channelOf()
      const plan = ops.planDraw(handle, offer(), { ...noMoney, reserved: price })
      const changed = (data: object) =>
        new Rails.Plan({ ...plan, data: { ...(plan.data as object), ...data } as never })
      const { descriptor } = plan.data as { descriptor: object }
      const other = yield* railWith({ wallet: Wallet.layerPrivateKey(Redacted.make(generatePrivateKey())) })
      const fresh = yield* railWith({ client: shop.client })
      const attempts = [
        other.rail.sign(plan),
        ...[rail, fresh.rail].flatMap(({ sign }) => [
          sign(changed({ channelId: `0x${"12".repeat(32)}` })),
          sign(changed({ chainId: 4217 })),
          sign(changed({ escrow: tempo.third })),
          sign(changed({ most: "900000" })),
          sign(changed({ first: "900000" })),
          sign(new Rails.Plan({ ...plan, cumulative: 900_000n })),
          sign(new Rails.Plan({ ...plan, data: null })),
          sign(new Rails.Plan({ ...plan, kind: "open" }))
        ]),
        (yield* railWith()).rail.sign(changed({ descriptor: { ...descriptor, payee: tempo.third } }))
      ]
      for (const attempt of attempts) assert.strictEqual((yield* Effect.flip(attempt))._tag, "WalletError")
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(rail.sign(plan))))
    }))

  it.effect("for what another channel would pay for is not signed", () =>
    Effect.gen(function*() {
      const { handle, ops, rail } = yield* channelOf()
      const others = [
        offer({ request: { recipient: tempo.third } }),
        offer({ request: { currency: tempo.alpha } }),
        tempo.offer()
      ]
      for (const other of others) {
        const exit = yield* Effect.exit(rail.sign(ops.planDraw(handle, other, noMoney)))
        assert.isTrue(Exit.isFailure(exit) && !Cause.hasDies(exit.cause))
      }
    }))

  it.effect("answers another challenge with the same voucher, unless it asks for more or for another", () =>
    Effect.gen(function*() {
      const { handle, ops, rail } = yield* channelOf()
      const plan = ops.planDraw(handle, offer(), noMoney)
      const represent = rail.represent!
      const again = represent(plan, offer({ challenge: { id: "challenge-2" } }))
      const vouchers = vouchersOf(yield* rail.sign(Option.getOrThrow(again)))
      assert.deepStrictEqual(
        vouchers.map(({ challenge, payload }) => [challenge, payload.cumulativeAmount]),
        [["challenge-2", "10000"]]
      )
      const others = [
        { request: { amount: "10001" } },
        { request: { recipient: tempo.third } },
        { request: { currency: tempo.alpha } },
        { details: { escrowContract: tempo.third } },
        { details: { sessionProtocol: "v1" } }
      ]
      for (const other of others) assert.isTrue(Option.isNone(represent(plan, offer(other))))
      assert.isTrue(Option.isNone(represent(plan, tempo.offer())))
    }))

  it.effect("goes on until more than three prices, and more than a hundredth of the limit, are of unknown outcome", () =>
    Effect.gen(function*() {
      const { ops } = yield* worldOf()
      const isWorn = (limit: bigint, reserved: bigint) => ops.isWorn!({ limit, spent: 0n, reserved }, price)
      assert.deepStrictEqual([isWorn(1_000_000n, 30_000n), isWorn(1_000_000n, 30_001n)], [false, true])
      assert.deepStrictEqual([isWorn(100_000_000n, 1_000_000n), isWorn(100_000_000n, 1_000_001n)], [false, true])
    }))
})

describe("what an answer says of a draw", () => {
  /** The second draw after one that was not answered: its vouchers are for one price and for two. */
  const drawn = Effect.fnUntraced(function*() {
    const world = yield* channelOf()
    yield* world.rail.sign(world.ops.planDraw(world.handle, offer(), noMoney))
    const plan = world.ops.planDraw(world.handle, offer(), { ...noMoney, reserved: price })
    yield* world.rail.sign(plan)
    return { ...world, plan }
  })

  const cases: ReadonlyArray<readonly [string, (channelId: Hex) => Parameters<Rails.Rail["judge"]>[1], string]> = [
    ["content and a receipt", (id) => receiptOf(200, id, price, price), "Settled with content (receipt)"],
    ["a receipt without content", (id) => receiptOf(204, id, price, price), "Settled (receipt)"],
    ["a failure with a receipt", (id) => receiptOf(500, id, price, price), "Settled (receipt)"],
    [
      "content, and a receipt that counts nothing",
      (id) => receiptOf(200, id, price, 0n),
      "Unknown with content (receipt that counts nothing) -> reconcile"
    ],
    ["content without a receipt", () => answerOf(200), "Unknown with content (no receipt) -> reconcile"],
    ["the answer to a message that manages a channel", () => answerOf(204), "Unknown (no receipt) -> reconcile"],
    [
      "the receipt of another channel",
      () => receiptOf(200, `0x${"12".repeat(32)}`, price, price),
      "Unknown with content (receipt that does not fit, mismatch) -> reconcile"
    ],
    [
      "a receipt for more than was signed",
      (id) => receiptOf(200, id, 2n * price + 1n, price),
      "Unknown with content (receipt that does not fit, mismatch) -> reconcile"
    ],
    [
      "a receipt for a voucher that it was not given",
      (id) => receiptOf(200, id, 2n * price, price),
      "Unknown with content (receipt that does not fit, mismatch) -> reconcile"
    ],
    [
      "a receipt of more than it accepted",
      (id) => receiptOf(200, id, price, price + 1n),
      "Unknown with content (receipt that does not fit, mismatch) -> reconcile"
    ],
    [
      "too little in the first voucher",
      () => answerOf(402, "session/insufficient-balance"),
      "Unknown (a higher voucher is wanted) -> envelope"
    ],
    [
      "too small a step",
      () => answerOf(402, "session/delta-too-small"),
      "Unknown (a higher voucher is wanted) -> envelope"
    ],
    [
      "a challenge that it does not know",
      () => answerOf(402, "session/challenge-not-found"),
      "Unknown (another challenge is wanted) -> challenge"
    ],
    [
      "a challenge that is wrong",
      () => answerOf(402, "invalid-challenge"),
      "Unknown (another challenge is wanted) -> challenge"
    ],
    [
      "a challenge that has expired",
      () => answerOf(402, "payment-expired"),
      "Unknown (another challenge is wanted) -> challenge"
    ],
    ["a demand", () => answerOf(402, "payment-required"), "Unknown (another challenge is wanted) -> challenge"],
    ["a demand without words", () => answerOf(402), "Unknown (another challenge is wanted) -> challenge"],
    [
      "a channel that it does not know",
      () => answerOf(410, "session/channel-not-found"),
      "Rejected (refused, mismatch)"
    ],
    ["a channel that is gone, without words", () => answerOf(410), "Rejected (refused, mismatch)"],
    ["a channel that it has closed", () => answerOf(410, "session/channel-finalized"), "Rejected (refused, mismatch)"],
    [
      "a signature that it does not take",
      () => answerOf(402, "session/invalid-signature"),
      "Rejected (refused, mismatch)"
    ],
    ["another signer", () => answerOf(402, "session/signer-mismatch"), "Rejected (refused, mismatch)"],
    ["more than the deposit", () => answerOf(402, "session/amount-exceeds-deposit"), "Rejected (refused)"],
    ["a failure", () => answerOf(500), "Unknown (status 500) -> resend"],
    ["an outage", () => answerOf(503, "internal-payment-error"), "Unknown (status 503) -> resend"],
    ["too many requests", () => answerOf(429), "Unknown (status 429) -> resend"],
    ["nothing of the kind", () => answerOf(404), "Unknown (status 404) -> reconcile"]
  ]
  for (const [what, answer, expected] of cases) {
    it.effect(`by ${what}`, () =>
      Effect.gen(function*() {
        const { channelId, plan, rail } = yield* drawn()
        assert.strictEqual(shown(rail.judge(plan, answer(channelId), 0)), expected)
      }))
  }

  it.effect("by a demand for more after the highest voucher: no", () =>
    Effect.gen(function*() {
      const { handle, ops, rail } = yield* channelOf()
      const plan = ops.planDraw(handle, offer(), noMoney)
      yield* rail.sign(plan)
      assert.strictEqual(
        shown(rail.judge(plan, answerOf(402, "session/insufficient-balance"), 0)),
        "Rejected (refused)"
      )
    }))

  it.effect("by a receipt of less than before: nothing, and the figures stay as they were", () =>
    Effect.gen(function*() {
      const { channelId, handle, ops, rail } = yield* channelOf()
      const first = ops.planDraw(handle, offer(), noMoney)
      yield* rail.sign(first)
      rail.judge(first, receiptOf(200, channelId, price, price), 0)
      const spent = { ...noMoney, spent: price }
      const second = ops.planDraw(handle, offer(), spent)
      yield* rail.sign(second)
      const lies = [
        receiptOf(200, channelId, price, 0n),
        receiptOf(200, channelId, 900_000n, 900_000n),
        receiptOf(200, `0x${"12".repeat(32)}`, 900_000n, 900_000n)
      ]
      for (const lie of lies) {
        assert.strictEqual(
          shown(rail.judge(second, lie, 0)),
          "Unknown with content (receipt that does not fit, mismatch) -> reconcile"
        )
      }
      const third = ops.planDraw(handle, offer(), { ...spent, reserved: price })
      assert.deepStrictEqual(figuresOf(yield* rail.sign(third)), [2n * price, 3n * price])
    }))

  it.effect("of another rail's plan: nothing", () =>
    Effect.gen(function*() {
      const { plan, rail } = yield* drawn()
      const verdict = rail.judge(new Rails.Plan({ ...plan, data: null }), answerOf(200), 0)
      assert.strictEqual(verdict._tag, "Unknown")
    }))
})
