import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Result } from "effect"
import { SecureRandom } from "effect/crypto"
import { HttpServerResponse } from "effect/http"
import { TestClock } from "effect/testing"
import { type Address, type Hex, zeroAddress } from "viem"
import * as Chain from "../../src/Chain.ts"
import * as ChannelBooks from "../../src/merchant/ChannelBooks.ts"
import * as Paywall from "../../src/merchant/Paywall.ts"
import * as Secp256k1 from "../../src/Secp256k1.ts"
import type * as Challenge from "../../src/wire/mpp/Challenge.ts"
import * as Channel from "../../src/wire/mpp/Channel.ts"
import {
  additionOf,
  credential,
  type Opening,
  openingOf,
  payee,
  place,
  requestOf,
  reserveNode,
  stranger,
  voucherOf
} from "./channels.ts"
import { ask, challengeOf, content, type Handler, outcomeOf, present, receiptOf, secret } from "./charges.ts"
import { asset, network, payTo, token } from "./tempoChain.ts"

const price = 10_000n

type ReserveNode = ReturnType<typeof reserveNode>

/** A paywall that sells by channels, its books beside it. */
const shop = ({ node }: ReserveNode, options: Partial<Paywall.ChannelsOptions> = {}) =>
  Paywall.layer({ ways: [Paywall.channels({ secret, account: payee, accepts: [{ asset }], ...options })] }).pipe(
    Layer.provideMerge(ChannelBooks.layerMemory),
    Layer.provide(SecureRandom.layerWebCrypto),
    Layer.provide(Layer.succeed(Chain.Chain, {
      nodes: (asked) => asked === network ? [node] : [],
      networks: [network]
    }))
  )

const challenge = Effect.map(ask(), challengeOf)

const head: RequestInit = { method: "HEAD" }

/** Presents a credential; `HEAD` manages the channel, and `GET` buys. */
const send = Effect.fnUntraced(function*(
  to: Challenge.Challenge,
  action: "open" | "voucher" | "close",
  opening: Opening,
  cumulative: bigint,
  options: { readonly init?: RequestInit; readonly signature?: Hex; readonly handler?: Handler } = {}
) {
  const presented = yield* credential(to, action, opening, cumulative, options.signature)
  return yield* ask(
    "/data",
    present(presented, options.init),
    options.handler === undefined ? {} : { handler: options.handler }
  )
})

/** Opens a channel with a dollar in it, and buys nothing yet. */
const opened = Effect.fnUntraced(function*(change: Parameters<typeof openingOf>[0] = {}) {
  const to = yield* challenge
  const opening = yield* openingOf(change)
  const answer = yield* send(to, "open", opening, 0n, { init: head })
  assert.deepStrictEqual(yield* outcomeOf(answer), [204, undefined])
  return { to, opening, answer }
})

const booked = (channelId: Hex) =>
  Effect.map(ChannelBooks.ChannelBooks.use((books) => books.get(channelId)), Option.getOrThrow)

const figures = (channelId: Hex) =>
  Effect.map(booked(channelId), ({ accepted, spent, units }) => [accepted, spent, units])

const members = (response: Response) => Option.getOrThrow(receiptOf(response)).members

/** Gives promises time, without letting time pass. */
const settled = Effect.promise(async () => {
  for (let nth = 0; nth < 50; nth++) await new Promise((resolve) => setImmediate(resolve))
})

describe("what a paywall asks of those who pay by channels", () => {
  it.effect("is a voucher for each request, out of a channel to the payee", () =>
    Effect.gen(function*() {
      const request = yield* Effect.flatMap(challenge, requestOf)
      assert.deepStrictEqual(request, {
        amount: price,
        unitType: "request",
        suggestedDeposit: 1_000_000n,
        currency: token,
        recipient: Channel.lower(payee.address),
        methodDetails: { sessionProtocol: "v2", chainId: 1337, escrowContract: Channel.escrowV2 }
      })
    }).pipe(Effect.provide(shop(reserveNode()))))

  it.effect("names the operator where somebody else is paid than who settles", () =>
    Effect.gen(function*() {
      const { methodDetails, recipient } = yield* Effect.flatMap(challenge, requestOf)
      assert.deepStrictEqual(
        [recipient, "operator" in methodDetails ? methodDetails.operator : undefined],
        [payTo, Channel.lower(payee.address)]
      )
    }).pipe(Effect.provide(shop(reserveNode(), { accepts: [{ asset, payTo }] }))))

  it("is checked before anything is sold", () => {
    assert.throws(() => shop(reserveNode(), { settleAt: "much" }), RangeError)
    assert.throws(() => shop(reserveNode(), { accepts: [{ asset, payTo: "me" }] }), RangeError)
  })
})

describe("a channel", () => {
  it.effect("is opened by HEAD, which buys nothing, and pays by vouchers", () => {
    const node = reserveNode()
    return Effect.gen(function*() {
      const { answer, opening, to } = yield* opened()
      const { channelId } = opening
      const { challengeId, txHash, ...first } = members(answer)
      assert.deepStrictEqual([challengeId, typeof txHash], [to.id, "string"])
      assert.deepStrictEqual(first, {
        method: "tempo",
        intent: "session",
        status: "success",
        timestamp: "1970-01-01T00:00:00.000Z",
        reference: channelId,
        channelId,
        acceptedCumulative: "0",
        spent: "0",
        units: 0
      })
      for (let nth = 1n; nth <= 3n; nth++) {
        const response = yield* send(to, "voucher", opening, price * nth)
        assert.strictEqual(response.status, 200)
        assert.deepStrictEqual(yield* Effect.promise(() => response.json()), { secret: 42 })
        const { acceptedCumulative, spent, units } = members(response)
        assert.deepStrictEqual([acceptedCumulative, spent, units], [`${price * nth}`, `${price * nth}`, Number(nth)])
        assert.strictEqual(response.headers.get("cache-control"), "private")
      }
      assert.strictEqual(node.sent.length, 1)
    }).pipe(Effect.provide(shop(node)))
  })

  it.effect("pays for the request that opens it", () => {
    const node = reserveNode()
    return Effect.gen(function*() {
      const opening = yield* openingOf()
      const response = yield* send(yield* challenge, "open", opening, price)
      assert.deepStrictEqual([response.status, members(response)["spent"]], [200, `${price}`])
      // The payer has heard nothing, and sends it again: it is open, and its voucher is used up.
      const again = yield* send(yield* challenge, "open", opening, price)
      assert.deepStrictEqual(yield* outcomeOf(again), [402, "insufficient-balance"])
      assert.strictEqual(node.sent.length, 1)
      assert.deepStrictEqual(yield* figures(opening.channelId), [price, price, 1])
    }).pipe(Effect.provide(shop(node)))
  })

  it.effect("is not opened where its transaction opens one of another id", () => {
    const node = reserveNode()
    return Effect.gen(function*() {
      const { descriptor, transaction } = yield* openingOf()
      const other = { ...descriptor, expiringNonceHash: `0x${"99".repeat(32)}` as const }
      const opening = { descriptor: other, channelId: Channel.id(other, place), transaction }
      const response = yield* send(yield* challenge, "open", opening, price)
      assert.deepStrictEqual(yield* outcomeOf(response), [402, "verification-failed"])
      const renamed = { descriptor, channelId: Channel.id(other, place), transaction }
      const foreign = yield* send(yield* challenge, "open", renamed, price)
      assert.deepStrictEqual(yield* outcomeOf(foreign), [402, "verification-failed"])
      assert.deepStrictEqual(node.sent, [])
    }).pipe(Effect.provide(shop(node)))
  })

  it.effect("is opened once where its opening comes many times at once", () => {
    const node = reserveNode()
    return Effect.gen(function*() {
      const to = yield* challenge
      const opening = yield* openingOf()
      const answers = yield* Effect.replicateEffect(send(to, "open", opening, price), 8, { concurrency: "unbounded" })
      assert.strictEqual(answers.filter(({ status }) => status === 200).length, 1)
      assert.deepStrictEqual(yield* figures(opening.channelId), [price, price, 1])
    }).pipe(Effect.provide(shop(node)))
  })

  const other: Address = `0x${"77".repeat(20)}`
  const openings: ReadonlyArray<readonly [string, Parameters<typeof openingOf>[0], bigint, string]> = [
    ["pays somebody else", { payee: other }, price, "verification-failed"],
    ["has an operator that nobody asked for", { operator: other }, price, "verification-failed"],
    ["is of another token", { token: other }, price, "verification-failed"],
    ["is paid for by somebody else", { signer: stranger }, price, "verification-failed"],
    ["is opened among other calls", { calls: (call) => [call, call] }, price, "verification-failed"],
    ["is opened in another contract", { calls: ({ data }) => [{ to: other, data }] }, price, "verification-failed"],
    [
      "is not the one that its transaction opens",
      {
        calls: () => [
          Channel.openCall({
            payee: other,
            operator: zeroAddress,
            token,
            deposit: 1_000_000n,
            salt: `0x${"5a".repeat(32)}`,
            authorizedSigner: zeroAddress
          })
        ]
      },
      price,
      "verification-failed"
    ],
    ["awaits a fee payer where none is offered", { sponsored: true }, price, "verification-failed"],
    ["has less in it than its voucher", { deposit: price - 1n }, price, "amount-exceeds-deposit"],
    ["has a voucher that is less than the price", {}, price - 1n, "payment-insufficient"],
    ["has vouchers that another key signs", { authorizedSigner: other }, price, "invalid-signature"]
  ]
  for (const [what, change, cumulative, code] of openings) {
    it.effect(`is not opened where it ${what}`, () => {
      const node = reserveNode()
      return Effect.gen(function*() {
        const response = yield* send(yield* challenge, "open", yield* openingOf(change), cumulative)
        assert.deepStrictEqual(yield* outcomeOf(response), [402, code])
        assert.deepStrictEqual(node.sent, [])
      }).pipe(Effect.provide(shop(node)))
    })
  }

  it.effect("pays only where it is known", () =>
    Effect.gen(function*() {
      const response = yield* send(yield* challenge, "voucher", yield* openingOf(), price)
      assert.deepStrictEqual(yield* outcomeOf(response), [410, "channel-not-found"])
    }).pipe(Effect.provide(shop(reserveNode()))))

  it.effect("holds more after its payer has added to it, with our help or without", () => {
    const node = reserveNode()
    return Effect.gen(function*() {
      const { opening, to } = yield* opened({ deposit: price })
      assert.strictEqual((yield* send(to, "voucher", opening, price)).status, 200)
      const above = yield* send(to, "voucher", opening, 2n * price)
      assert.deepStrictEqual(yield* outcomeOf(above), [402, "amount-exceeds-deposit"])
      const { channelId, descriptor } = opening
      const transaction = yield* additionOf(opening, price)
      const topUp = (additional: bigint) =>
        ask(
          "/data",
          present({
            challenge: to,
            payload: {
              action: "topUp",
              type: "transaction",
              channelId,
              descriptor,
              transaction,
              additionalDeposit: `${additional}`
            }
          }, { method: "POST" })
        )
      assert.deepStrictEqual(yield* outcomeOf(yield* topUp(2n * price)), [402, "verification-failed"])
      assert.deepStrictEqual(yield* outcomeOf(yield* topUp(price)), [204, undefined])
      assert.strictEqual((yield* send(to, "voucher", opening, 2n * price)).status, 200)
      node.channels.get(channelId)!.deposit += price
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* send(to, "voucher", opening, 3n * price)).status, 200)
    }).pipe(Effect.provide(shop(node)))
  })
})

describe("a voucher", () => {
  it.effect("pays for as much as it is good for, and is looked at once", () => {
    let recovered = 0
    const Counting = Layer.effect(
      Secp256k1.Secp256k1,
      Effect.map(Secp256k1.Secp256k1, (curve) => ({
        ...curve,
        recover: (...args: Parameters<typeof curve.recover>) => {
          recovered++
          return curve.recover(...args)
        }
      }))
    )
    return Effect.gen(function*() {
      const { opening, to } = yield* opened()
      recovered = 0
      for (let nth = 1n; nth <= 3n; nth++) {
        const response = yield* send(to, "voucher", opening, 3n * price)
        assert.deepStrictEqual([response.status, members(response)["spent"]], [200, `${nth * price}`])
      }
      const response = yield* send(to, "voucher", opening, 3n * price)
      const problem = (yield* Effect.promise(() => response.json())) as Record<string, unknown>
      assert.deepStrictEqual(
        [response.status, problem["type"], problem["requiredTopUp"], problem["channelId"]],
        [402, "https://paymentauth.org/problems/session/insufficient-balance", `${price}`, opening.channelId]
      )
      assert.isTrue(response.headers.has("www-authenticate"))
      assert.strictEqual(recovered, 1)
    }).pipe(Effect.provide(shop(reserveNode())), Effect.provide(Counting))
  })

  it.effect("is not taken back by a lower one", () =>
    Effect.gen(function*() {
      const { opening, to } = yield* opened()
      assert.strictEqual((yield* send(to, "voucher", opening, 2n * price)).status, 200)
      assert.deepStrictEqual(yield* outcomeOf(yield* send(to, "voucher", opening, price)), [402, "delta-too-small"])
      assert.deepStrictEqual(yield* figures(opening.channelId), [2n * price, price, 1])
    }).pipe(Effect.provide(shop(reserveNode()))))

  it.effect("is kept where it is too low for the price", () =>
    Effect.gen(function*() {
      const { opening, to } = yield* opened()
      const response = yield* send(to, "voucher", opening, price - 1n)
      assert.deepStrictEqual(yield* outcomeOf(response), [402, "insufficient-balance"])
      assert.deepStrictEqual(yield* figures(opening.channelId), [price - 1n, 0n, 0])
    }).pipe(Effect.provide(shop(reserveNode()))))

  it.effect("has to be as much above the one before as was asked for", () =>
    Effect.gen(function*() {
      const { opening, to } = yield* opened()
      assert.strictEqual((yield* send(to, "voucher", opening, price)).status, 200)
      const response = yield* send(to, "voucher", opening, price + 1n)
      assert.deepStrictEqual(yield* outcomeOf(response), [402, "delta-too-small"])
    }).pipe(Effect.provide(shop(reserveNode(), { minVoucherDelta: "0.01" }))))

  it.effect("changes nothing unless the channel's own signer signed it, in the one form", () =>
    Effect.gen(function*() {
      const { opening, to } = yield* opened()
      const good = yield* voucherOf(opening, price)
      const s = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n - BigInt(`0x${good.slice(66, 130)}`)
      const flipped = good.endsWith("1b") ? "1c" : "1b"
      const forged: ReadonlyArray<Hex> = [
        yield* voucherOf(opening, price, stranger),
        yield* voucherOf(opening, price + 1n),
        yield* voucherOf({ channelId: `0x${"ab".repeat(32)}` }, price),
        `${good.slice(0, 66)}${s.toString(16).padStart(64, "0")}${flipped}` as Hex,
        "0x00",
        `0x${"00".repeat(65)}`
      ]
      for (const signature of forged) {
        const response = yield* send(to, "voucher", opening, price, { signature })
        assert.deepStrictEqual(yield* outcomeOf(response), [402, "invalid-signature"])
      }
      assert.deepStrictEqual(yield* figures(opening.channelId), [0n, 0n, 0])
      assert.strictEqual((yield* send(to, "voucher", opening, price, { signature: good })).status, 200)
    }).pipe(Effect.provide(shop(reserveNode()))))

  it.effect("is known again by its figure and its signature together", () =>
    Effect.gen(function*() {
      const { opening, to } = yield* opened()
      const signature = yield* voucherOf(opening, price)
      assert.strictEqual((yield* send(to, "voucher", opening, price, { signature })).status, 200)
      const higher = yield* send(to, "voucher", opening, 2n * price, { signature })
      assert.deepStrictEqual(yield* outcomeOf(higher), [402, "invalid-signature"])
      const foreign = yield* voucherOf(opening, price, stranger)
      const equal = yield* send(to, "voucher", opening, price, { signature: foreign, init: head })
      assert.deepStrictEqual(yield* outcomeOf(equal), [402, "invalid-signature"])
      assert.deepStrictEqual(yield* figures(opening.channelId), [price, price, 1])
    }).pipe(Effect.provide(shop(reserveNode()))))

  it.effect("belongs to the payer that the credential names", () =>
    Effect.gen(function*() {
      const { opening, to } = yield* opened()
      const presented = yield* credential(to, "voucher", opening, price)
      const source = `did:pkh:eip155:1337:${stranger.address}`
      const response = yield* ask("/data", present({ ...presented, source }))
      assert.deepStrictEqual(yield* outcomeOf(response), [402, "verification-failed"])
    }).pipe(Effect.provide(shop(reserveNode()))))

  it.effect("is raised by HEAD and by POST without a body, which buy nothing", () =>
    Effect.gen(function*() {
      const { opening, to } = yield* opened()
      const { channelId } = opening
      assert.strictEqual((yield* send(to, "voucher", opening, price, { init: head })).status, 204)
      assert.strictEqual((yield* send(to, "voucher", opening, 2n * price, { init: { method: "POST" } })).status, 204)
      assert.deepStrictEqual(yield* figures(channelId), [2n * price, 0n, 0])
      const init = { method: "POST", body: "question" }
      assert.strictEqual((yield* send(to, "voucher", opening, 2n * price, { init })).status, 200)
      assert.deepStrictEqual(yield* figures(channelId), [2n * price, price, 1])
    }).pipe(Effect.provide(shop(reserveNode()))))

  it.effect("is good for another answer where there was none", () =>
    Effect.gen(function*() {
      const { opening, to } = yield* opened()
      const handler = Effect.succeed(HttpServerResponse.empty({ status: 500 }))
      const response = yield* send(to, "voucher", opening, price, { handler })
      assert.deepStrictEqual([response.status, response.headers.get("payment-receipt")], [500, null])
      assert.deepStrictEqual(yield* figures(opening.channelId), [price, 0n, 0])
      assert.strictEqual((yield* send(to, "voucher", opening, price)).status, 200)
    }).pipe(Effect.provide(shop(reserveNode()))))

  it.effect("never pays for more than was signed, however many ask at once", () =>
    Effect.gen(function*() {
      const { opening, to } = yield* opened()
      let served = 0
      const handler = Effect.andThen(Effect.yieldNow, Effect.suspend(() => (served++, content)))
      const statuses = yield* Effect.forEach(
        Array.from({ length: 32 }, (_, nth) => nth),
        (nth) =>
          Effect.map(
            send(to, "voucher", opening, nth % 2 === 0 ? 10n * price : 12n * price, { handler }),
            ({ status }) => status
          ),
        { concurrency: "unbounded" }
      )
      const { accepted, spent, units } = yield* booked(opening.channelId)
      assert.deepStrictEqual([accepted, spent, units, served], [12n * price, 12n * price, 12, 12])
      assert.strictEqual(statuses.filter((status) => status === 200).length, 12)
    }).pipe(Effect.provide(shop(reserveNode()))))

  const wrong: ReadonlyArray<readonly [string, (to: Challenge.Challenge) => Challenge.Challenge, string]> = [
    ["is not ours", (to) => ({ ...to, id: "A".repeat(43) }), "invalid-challenge"],
    ["is of another realm", (to) => ({ ...to, realm: "elsewhere" }), "invalid-challenge"],
    ["was changed", (to) => ({ ...to, request: "e30" }), "invalid-challenge"]
  ]
  for (const [what, change, code] of wrong) {
    it.effect(`is refused where its challenge ${what}`, () =>
      Effect.gen(function*() {
        const { opening, to } = yield* opened()
        assert.deepStrictEqual(yield* outcomeOf(yield* send(change(to), "voucher", opening, price)), [402, code])
      }).pipe(Effect.provide(shop(reserveNode()))))
  }

  it.effect("is refused after its challenge has expired, or where something else costs another price", () =>
    Effect.gen(function*() {
      const { opening, to } = yield* opened()
      const presented = yield* credential(to, "voucher", opening, 100n * price)
      const dear = yield* ask("/dear", present(presented), { terms: { price: "0.02" } })
      assert.deepStrictEqual(yield* outcomeOf(dear), [402, "invalid-challenge"])
      yield* TestClock.adjust("6 minutes")
      assert.deepStrictEqual(yield* outcomeOf(yield* ask("/data", present(presented))), [402, "payment-expired"])
    }).pipe(Effect.provide(shop(reserveNode(), { sweepEvery: "1 hour" }))))
})

describe("the end of a channel", () => {
  it.effect("gives the payee what was delivered for, however high the voucher, and is not repeated", () => {
    const node = reserveNode()
    return Effect.gen(function*() {
      const { opening, to } = yield* opened()
      for (let nth = 0; nth < 3; nth++) yield* send(to, "voucher", opening, 50n * price)
      const closed = yield* send(to, "close", opening, 60n * price, { init: head })
      assert.strictEqual(closed.status, 204)
      assert.deepStrictEqual(node.closed, [
        { channelId: opening.channelId, cumulative: 60n * price, captured: 3n * price }
      ])
      const again = yield* send(to, "close", opening, 60n * price, { init: head })
      assert.deepStrictEqual([again.status, members(again)["txHash"]], [204, members(closed)["txHash"]])
      assert.strictEqual(node.sent.length, 2)
      const late = yield* send(to, "voucher", opening, 70n * price)
      assert.deepStrictEqual(yield* outcomeOf(late), [410, "channel-finalized"])
    }).pipe(Effect.provide(shop(node)))
  })

  it.effect("takes a voucher of at least what was delivered for", () => {
    const node = reserveNode()
    return Effect.gen(function*() {
      const { opening, to } = yield* opened()
      for (let nth = 0; nth < 2; nth++) yield* send(to, "voucher", opening, 2n * price)
      const low = yield* send(to, "close", opening, price, { init: head })
      assert.deepStrictEqual(yield* outcomeOf(low), [402, "insufficient-balance"])
      const forged = yield* send(to, "close", opening, 2n * price, {
        signature: yield* voucherOf(opening, 2n * price, stranger)
      })
      assert.deepStrictEqual(yield* outcomeOf(forged), [402, "invalid-signature"])
      assert.deepStrictEqual(node.closed, [])
    }).pipe(Effect.provide(shop(node)))
  })

  it.effect("is one, where it is asked for many times at once", () => {
    const node = reserveNode()
    return Effect.gen(function*() {
      const { opening, to } = yield* opened()
      yield* send(to, "voucher", opening, price)
      const statuses = yield* Effect.replicateEffect(
        Effect.map(send(to, "close", opening, price), ({ status }) => status),
        8,
        { concurrency: "unbounded" }
      )
      assert.isTrue(statuses.includes(204) && statuses.every((status) => status === 204 || status === 503))
      assert.strictEqual(node.closed.length, 1)
    }).pipe(Effect.provide(shop(node)))
  })

  it.effect("waits for a chain that does not answer, and the channel goes on meanwhile", () => {
    const node = reserveNode()
    return Effect.gen(function*() {
      const { opening, to } = yield* opened()
      node.behave(false)
      assert.strictEqual((yield* send(to, "close", opening, 0n, { init: head })).status, 503)
      assert.strictEqual((yield* send(to, "voucher", opening, price)).status, 200)
      node.behave(true)
      assert.strictEqual((yield* send(to, "close", opening, price, { init: head })).status, 204)
      assert.strictEqual(node.closed[0]?.captured, price)
    }).pipe(Effect.provide(shop(node)))
  })

  it.effect("comes by itself where the payer asks the chain for it, before that takes the money back", () => {
    const node = reserveNode()
    return Effect.gen(function*() {
      const { opening, to } = yield* opened()
      assert.strictEqual((yield* send(to, "voucher", opening, price)).status, 200)
      node.channels.get(opening.channelId)!.closeRequestedAt = 1
      assert.strictEqual((yield* send(to, "voucher", opening, 2n * price)).status, 200)
      yield* TestClock.adjust("5 seconds")
      const late = yield* send(to, "voucher", opening, 3n * price)
      assert.deepStrictEqual(yield* outcomeOf(late), [410, "channel-finalized"])
      yield* TestClock.adjust("1 minute")
      yield* settled
      assert.deepStrictEqual(node.closed.map(({ captured }) => captured), [2n * price])
    }).pipe(Effect.provide(shop(node)))
  })

  it.effect("is preceded by settlements where these are asked for, of nothing that was not delivered for", () => {
    const node = reserveNode()
    return Effect.gen(function*() {
      const { opening, to } = yield* opened()
      yield* send(to, "voucher", opening, price)
      yield* TestClock.adjust("1 minute")
      yield* settled
      assert.deepStrictEqual(node.settled, [])
      yield* send(to, "voucher", opening, 3n * price)
      yield* TestClock.adjust("1 minute")
      yield* settled
      assert.deepStrictEqual(node.settled, [])
      yield* send(to, "voucher", opening, 3n * price)
      yield* TestClock.adjust("1 minute")
      yield* settled
      assert.deepStrictEqual(node.settled, [3n * price])
    }).pipe(Effect.provide(shop(node, { settleAt: "0.02" })))
  })

  it.effect("is looked for on the chain every few seconds, and not for each request", () => {
    const node = reserveNode()
    return Effect.gen(function*() {
      const { opening, to } = yield* opened()
      const before = node.asked.states
      for (let nth = 1n; nth <= 5n; nth++) yield* send(to, "voucher", opening, nth * price)
      assert.strictEqual(node.asked.states, before)
      yield* TestClock.adjust("5 seconds")
      yield* Effect.replicateEffect(send(to, "voucher", opening, 20n * price), 5, { concurrency: "unbounded" })
      assert.strictEqual(node.asked.states, before + 1)
    }).pipe(Effect.provide(shop(node)))
  })
})

describe("the books", () => {
  const channel: ChannelBooks.Channel = {
    ...place,
    channelId: `0x${"01".repeat(32)}`,
    descriptor: {
      payer: `0x${"01".repeat(20)}`,
      payee: `0x${"02".repeat(20)}`,
      operator: zeroAddress,
      token,
      salt: `0x${"03".repeat(32)}`,
      authorizedSigner: zeroAddress,
      expiringNonceHash: `0x${"04".repeat(32)}`
    },
    deposit: 100n,
    settled: 0n,
    closeRequestedAt: 0,
    seenAt: 0,
    accepted: 20n,
    signature: "0x01",
    spent: 10n,
    units: 1,
    closing: 0
  }
  const rows: ReadonlyArray<
    readonly [string, Partial<ChannelBooks.Channel>, bigint, bigint | undefined, string | readonly [bigint, bigint]]
  > = [
    ["a higher voucher", {}, 30n, 10n, [30n, 20n]],
    ["the same voucher, with something left", {}, 20n, 10n, [20n, 20n]],
    ["the same voucher, used up", { spent: 20n }, 20n, 10n, "insufficient-balance"],
    ["the same voucher, for nothing", { spent: 20n }, 20n, undefined, [20n, 20n]],
    ["a lower voucher", {}, 19n, 1n, "delta-too-small"],
    ["all of the deposit", {}, 100n, 90n, [100n, 100n]],
    ["more than the deposit", {}, 101n, 1n, "amount-exceeds-deposit"],
    ["a price above what is left", {}, 30n, 21n, "insufficient-balance"],
    ["a channel that was closed", { closed: {} }, 30n, 10n, "channel-finalized"],
    ["a channel that is being closed", { closing: 1001 }, 30n, 10n, "channel-finalized"],
    ["a channel whose closing was given up", { closing: 1000 }, 30n, 10n, [30n, 20n]],
    ["a channel whose payer wants its end", { closeRequestedAt: 1 }, 30n, 10n, "channel-finalized"]
  ]
  it.each(rows)("draw: %s", (_, change, cumulative, price, expected) => {
    const draw = ChannelBooks.draw({ cumulative, signature: "0x02", minDelta: 0n, now: 1000, price })
    const [drawn] = draw({ ...channel, ...change })
    const outcome = Result.match(drawn, {
      onFailure: ({ code }): typeof expected => code,
      onSuccess: ({ accepted, spent }): typeof expected => [accepted, spent]
    })
    assert.deepStrictEqual(outcome, expected)
  })

  it("never take back what the chain has shown", () => {
    const [seen] = ChannelBooks.observe({ deposit: 90n, settled: 5n, closeRequestedAt: 7 }, 3)(channel)
    assert.deepStrictEqual(seen, { ...channel, settled: 5n, closeRequestedAt: 7, seenAt: 3 })
  })
})
