import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Option } from "effect"
import { SecureRandom } from "effect/crypto"
import { TestClock } from "effect/testing"
import { type Hex, keccak256 } from "viem"
import { fromRlp, toRlp } from "viem/utils"
import * as Asset from "../../src/Asset.ts"
import * as Paywall from "../../src/merchant/Paywall.ts"
import * as TempoCharges from "../../src/merchant/TempoCharges.ts"
import type * as TempoSponsor from "../../src/merchant/tempoCharges/Sponsor.ts"
import type * as Challenge from "../../src/wire/mpp/Challenge.ts"
import type * as Credential from "../../src/wire/mpp/Credential.ts"
import * as Source from "../../src/wire/mpp/Source.ts"
import * as TempoCharge from "../../src/wire/mpp/TempoCharge.ts"
import * as TempoTransaction from "../../src/wire/mpp/TempoTransaction.ts"
import { ask, challengeOf, challengesOf, content, outcomeOf, present, receiptOf, secret } from "./charges.ts"
import {
  account,
  affiliate,
  asset,
  chainOf,
  type Change,
  type FakeNode,
  fakeNode,
  payTo,
  prove,
  receiptOf as receiptOfTransaction,
  sign,
  sponsor,
  stranger,
  token
} from "./tempoChain.ts"

const shop = (node: FakeNode | ReadonlyArray<FakeNode>, options: Partial<Paywall.TempoOptions> = {}) =>
  Paywall.layer({ ways: [Paywall.tempo({ secret, accepts: [{ asset, payTo }], ...options })] }).pipe(
    Layer.provide(SecureRandom.layerWebCrypto),
    Layer.provide(chainOf(...[node].flat()))
  )

const challenge = Effect.map(ask(), challengeOf)

const answer = (challenge: Challenge.Challenge, payload: Credential.Credential["payload"], source?: string) =>
  ask("/data", present({ challenge, payload, ...(source === undefined ? {} : { source }) }))

const pull = (challenge: Challenge.Challenge, signature: Hex, source?: string) =>
  answer(challenge, { type: "transaction", signature }, source)

const push = (challenge: Challenge.Challenge, hash: Hex, source?: string) =>
  answer(challenge, { type: "hash", hash }, source)

/** Waits as long as it takes. */
const patiently = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(effect, { startImmediately: true })
    for (let times = 0; times < 100 && fiber.pollUnsafe() === undefined; times++) yield* TestClock.adjust("1 second")
    return yield* Fiber.join(fiber)
  })

const statusOf = (asked: Effect.Effect<Response, never, Paywall.Paywall>) => Effect.map(asked, ({ status }) => status)

const sponsored: TempoSponsor.Options = { account: sponsor }

/** The same transaction in another form: with a zero in the place of the sender. */
const asPlain = (signed: Hex): Hex => {
  const items = fromRlp(`0x${signed.slice(4)}`, "hex")
  if (typeof items === "string") return signed
  return `0x76${toRlp(items.map((item, at) => at === 11 ? "0x00" : item)).slice(2)}`
}

/** As if a key of `owner` had signed it, which only the chain can know. */
const inTheNameOf = (owner: Hex, signed: Hex): Hex => {
  const items = fromRlp(`0x${signed.slice(4)}`, "hex")
  if (typeof items === "string") return signed
  const sender: Hex = `0x${owner.slice(2).toLowerCase()}`
  const forged = items.map((item, at): typeof item => {
    if (at === 11) return sender
    return at === items.length - 1 && typeof item === "string" ? `0x03${sender.slice(2)}${item.slice(2)}` : item
  })
  return `0x78${toRlp(forged).slice(2)}`
}

describe("a charge on Tempo", () => {
  it.effect("asks for what is sold, on its chain", () =>
    Effect.gen(function*() {
      const request = yield* Effect.fromResult(TempoCharge.fromChallenge(yield* challenge))
      assert.deepStrictEqual(request, {
        amount: 10_000n,
        currency: token,
        recipient: payTo,
        methodDetails: { chainId: 1337 }
      })
    }).pipe(Effect.provide(shop(fakeNode()))))

  it.effect("asks for a share for everybody who is to get one", () =>
    Effect.gen(function*() {
      const terms = { price: "0.000003", externalId: "order-1" }
      const request = yield* Effect.fromResult(
        TempoCharge.fromChallenge(challengeOf(yield* ask("/data", {}, { terms })))
      )
      assert.deepStrictEqual(request, {
        amount: 3n,
        currency: token,
        recipient: payTo,
        externalId: "order-1",
        methodDetails: { chainId: 1337, splits: [{ amount: 1n, recipient: affiliate }], supportedModes: ["push"] }
      })
    }).pipe(Effect.provide(shop(fakeNode(), {
      modes: ["push"],
      splits: [{ payTo: affiliate, basisPoints: 5_000 }, { payTo: stranger.address, basisPoints: 100 }]
    }))))

  it.effect("asks for transactions that are broadcast here where the fee is paid here", () =>
    Effect.gen(function*() {
      const request = yield* Effect.fromResult(TempoCharge.fromChallenge(yield* challenge))
      assert.deepStrictEqual(request.methodDetails, { chainId: 1337, feePayer: true, supportedModes: ["pull"] })
    }).pipe(Effect.provide(shop(fakeNode(), { feePayer: sponsored }))))

  it("is not offered on terms that nobody can keep", () => {
    const options = { secret, accepts: [{ asset, payTo }] }
    const wrong: ReadonlyArray<Partial<Paywall.TempoOptions>> = [
      { accepts: [{ asset, payTo: "0x1" }] },
      { accepts: [{ asset: Asset.sessionUsdc, payTo }] },
      { modes: [] },
      { modes: ["push"], feePayer: sponsored },
      { feePayer: { ...sponsored, maxFee: "much" } },
      { splits: [{ payTo: "me", basisPoints: 1 }] },
      { splits: [{ payTo: affiliate, basisPoints: 0 }] },
      { splits: [{ payTo: affiliate, basisPoints: 0.5 }] },
      { splits: [{ payTo: affiliate, basisPoints: 6_000 }, { payTo: affiliate, basisPoints: 4_000 }] },
      { splits: Array.from({ length: 11 }, () => ({ payTo: affiliate, basisPoints: 1 })) }
    ]
    for (const change of wrong) assert.throws(() => TempoCharges.make({ ...options, ...change }), RangeError)
  })

  it.effect("is not offered on a chain that nobody can ask", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Effect.provide(Effect.void, shop([])))
      assert.strictEqual(exit._tag, "Failure")
    }))
})

describe("a signed transaction", () => {
  it.effect("is sent, and buys one answer", () => {
    const { node, ...rest } = fakeNode()
    return Effect.gen(function*() {
      const asked = yield* challenge
      const signed = yield* sign(asked)
      const paid = yield* pull(asked, signed, Source.format(1337, account.address))
      assert.strictEqual(paid.status, 200)
      assert.strictEqual(Option.getOrThrow(receiptOf(paid)).reference, keccak256(signed))
      assert.strictEqual((yield* pull(asked, signed)).status, 402)
      assert.deepStrictEqual(rest.sent, [signed])
    }).pipe(Effect.provide(shop({ node, ...rest })))
  })

  const wrong: ReadonlyArray<readonly [what: string, change: Change, source?: string]> = [
    ["without the memo of its challenge", { memo: `0x${"0a".repeat(32)}` }],
    ["of less", { transfers: ([first]) => [{ ...first, units: 9_999n }] }],
    ["to somebody else", { transfers: ([first]) => [{ ...first, to: affiliate }] }],
    ["of nothing", { transfers: () => [{ to: payTo, units: 0n }] }],
    ["for another chain", { chainId: 4217 }],
    ["that is valid for longer than its challenge", { validBefore: 100_000 }],
    ["of another account than the credential names", {}, Source.format(1337, stranger.address)],
    ["of an account on another chain", {}, Source.format(4217, account.address)],
    ["of no account", {}, "did:key:z6Mk"]
  ]
  for (const [what, change, source] of wrong) {
    it.effect(`${what} is refused, and not sent`, () => {
      const node = fakeNode()
      return Effect.gen(function*() {
        const asked = yield* challenge
        const refused = yield* pull(asked, yield* sign(asked, change), source)
        assert.notStrictEqual(challengeOf(refused).id, asked.id)
        assert.deepStrictEqual(yield* outcomeOf(refused), [402, "verification-failed"])
        assert.deepStrictEqual(node.sent, [])
      }).pipe(Effect.provide(shop(node)))
    })
  }

  it.effect("for another challenge is refused", () => {
    const node = fakeNode()
    return Effect.gen(function*() {
      const refused = yield* pull(yield* challenge, yield* sign(yield* challenge))
      assert.deepStrictEqual(yield* outcomeOf(refused), [402, "verification-failed"])
      assert.deepStrictEqual(node.sent, [])
    }).pipe(Effect.provide(shop(node)))
  })

  it.effect("that is none is refused, and so is what is no payload", () =>
    Effect.gen(function*() {
      const asked = yield* challenge
      for (const signature of ["0x76", "0x02c0", "0x78c0", `0x76${"ff".repeat(100)}`] as const) {
        assert.deepStrictEqual(yield* outcomeOf(yield* pull(asked, signature)), [402, "verification-failed"])
      }
      for (const payload of [{}, { type: "transaction" }, { type: "hash", hash: "0x1" }, { type: "cash" }]) {
        assert.deepStrictEqual(yield* outcomeOf(yield* answer(asked, payload)), [402, "malformed-credential"])
      }
    }).pipe(Effect.provide(shop(fakeNode()))))

  it.effect("may do more than pay where it pays its own fee", () =>
    Effect.gen(function*() {
      const asked = yield* challenge
      const transfers: Change["transfers"] = (same) => [{ to: affiliate, units: 1n }, ...same]
      assert.strictEqual(yield* statusOf(pull(asked, yield* sign(asked, { transfers }))), 200)
    }).pipe(Effect.provide(shop(fakeNode()))))

  it.effect("pays everybody whom it should, in whatever order", () =>
    Effect.gen(function*() {
      const asked = yield* challenge
      const part = yield* sign(asked, { transfers: ([first]) => [first] })
      assert.deepStrictEqual(yield* outcomeOf(yield* pull(asked, part)), [402, "verification-failed"])
      const whole = yield* sign(asked, { transfers: ([first, second]) => [second!, first] })
      assert.strictEqual(yield* statusOf(pull(asked, whole)), 200)
    }).pipe(Effect.provide(shop(fakeNode(), { splits: [{ payTo: affiliate, basisPoints: 100 }] }))))

  it.effect("that would be reverted is not sent", () => {
    const node = fakeNode({ estimate: "reverts" })
    return Effect.gen(function*() {
      const asked = yield* challenge
      const signed = yield* sign(asked)
      assert.deepStrictEqual(yield* outcomeOf(yield* pull(asked, signed)), [402, "verification-failed"])
      assert.deepStrictEqual(node.sent, [])
      node.behave({ estimate: "fits" })
      assert.strictEqual(yield* statusOf(pull(asked, signed)), 200)
    }).pipe(Effect.provide(shop(node)))
  })

  it.effect("is not called reverted where a node has it already", () => {
    const node = fakeNode({ estimate: "reverts" })
    return Effect.gen(function*() {
      const asked = yield* challenge
      const signed = yield* sign(asked)
      node.known.add(keccak256(signed))
      assert.strictEqual(yield* statusOf(pull(asked, signed)), 200)
    }).pipe(Effect.provide(shop(node)))
  })

  it.effect("is not sent where no node answers, and stays good", () => {
    const node = fakeNode({ isUp: false })
    return Effect.gen(function*() {
      const asked = yield* challenge
      const signed = yield* sign(asked)
      assert.strictEqual(yield* statusOf(pull(asked, signed)), 503)
      node.behave({ isUp: true, estimate: "down" })
      assert.strictEqual(yield* statusOf(pull(asked, signed)), 503)
      assert.deepStrictEqual(node.sent, [])
      node.behave({ estimate: "fits" })
      assert.strictEqual(yield* statusOf(pull(asked, signed)), 200)
    }).pipe(Effect.provide(shop(node)))
  })

  it.effect("that is void already is not sent", () => {
    const node = fakeNode()
    return Effect.gen(function*() {
      const asked = yield* challenge
      const signed = yield* sign(asked)
      yield* TestClock.adjust("25 seconds")
      assert.deepStrictEqual(yield* outcomeOf(yield* pull(asked, signed)), [402, "verification-failed"])
      assert.deepStrictEqual(node.sent, [])
    }).pipe(Effect.provide(shop(node)))
  })

  it.effect("is sent by any node that answers", () => {
    const [down, up] = [fakeNode({ isUp: false, estimate: "down" }), fakeNode()]
    return Effect.gen(function*() {
      const asked = yield* challenge
      assert.strictEqual(yield* statusOf(pull(asked, yield* sign(asked))), 200)
      assert.strictEqual(up.sent.length, 1)
    }).pipe(Effect.provide(shop([down, up])))
  })

  it.effect("that was reverted is said to be, with another challenge", () => {
    const node = fakeNode({ send: ["reverted"] })
    return Effect.gen(function*() {
      const asked = yield* challenge
      const signed = yield* sign(asked)
      const refused = yield* pull(asked, signed)
      assert.notStrictEqual(challengeOf(refused).id, asked.id)
      assert.deepStrictEqual(yield* outcomeOf(refused), [402, "verification-failed"])
      assert.deepStrictEqual(yield* outcomeOf(yield* pull(asked, signed)), [402, "verification-failed"])
      assert.strictEqual(node.sent.length, 1)
    }).pipe(Effect.provide(shop(node)))
  })

  it.effect("is found on the chain where the node's answer was lost", () =>
    Effect.gen(function*() {
      const asked = yield* challenge
      assert.strictEqual(yield* statusOf(pull(asked, yield* sign(asked))), 200)
    }).pipe(Effect.provide(shop(fakeNode({ send: ["lost"] })))))

  it.effect("is waited for, and then said to be uncertain; it is good for its answer when it is mined", () => {
    const node = fakeNode({ send: ["pooled"] })
    return Effect.gen(function*() {
      const asked = yield* challenge
      const signed = yield* sign(asked)
      const uncertain = yield* patiently(pull(asked, signed))
      assert.deepStrictEqual(challengesOf(uncertain), [])
      assert.isNotNull(uncertain.headers.get("retry-after"))
      assert.deepStrictEqual(yield* outcomeOf(uncertain), [503, "internal-payment-error"])
      node.mined.set(keccak256(signed), receiptOfTransaction(signed))
      assert.strictEqual(yield* statusOf(pull(asked, signed)), 200)
      assert.strictEqual(yield* statusOf(pull(asked, signed)), 402)
      assert.strictEqual(node.sent.length, 1)
    }).pipe(Effect.provide(shop(node)))
  })

  it.effect("is demanded anew only when it is void", () => {
    const node = fakeNode({ send: ["pooled", "refused"] })
    return Effect.gen(function*() {
      const asked = yield* challenge
      const signed = yield* sign(asked)
      // Valid for 25 seconds, and waited for 15 at a time.
      assert.strictEqual((yield* patiently(pull(asked, signed))).status, 503)
      const refused = yield* patiently(pull(asked, signed))
      challengeOf(refused)
      assert.deepStrictEqual(yield* outcomeOf(refused), [402, "verification-failed"])
    }).pipe(Effect.provide(shop(node)))
  })

  it.effect("is void only if every node says so", () => {
    const [one, other] = [fakeNode({ send: ["pooled"] }), fakeNode({ send: ["pooled"] })]
    return Effect.gen(function*() {
      const asked = yield* challenge
      const signed = yield* sign(asked)
      assert.strictEqual((yield* patiently(pull(asked, signed))).status, 503)
      for (const doubt of [{ isUp: false, behind: 0 }, { isUp: true, behind: 3_600 }]) {
        other.behave(doubt)
        assert.strictEqual((yield* patiently(pull(asked, signed))).status, 503)
      }
      other.mined.set(keccak256(signed), receiptOfTransaction(signed))
      assert.strictEqual(yield* statusOf(pull(asked, signed)), 200)
    }).pipe(Effect.provide(shop([one, other])))
  })

  it.effect("that somebody has sent before is not sent again", () => {
    const node = fakeNode()
    return Effect.gen(function*() {
      const asked = yield* challenge
      const signed = yield* sign(asked)
      node.mined.set(keccak256(signed), receiptOfTransaction(signed))
      assert.strictEqual(yield* statusOf(pull(asked, signed)), 200)
      assert.deepStrictEqual(node.sent, [])
    }).pipe(Effect.provide(shop(node)))
  })

  it.effect("does not buy a second answer by its hash", () =>
    Effect.gen(function*() {
      const asked = yield* challenge
      const signed = yield* sign(asked)
      assert.strictEqual(yield* statusOf(pull(asked, signed)), 200)
      assert.strictEqual(yield* statusOf(push(asked, keccak256(signed))), 402)
    }).pipe(Effect.provide(shop(fakeNode()))))

  it.effect("that awaits a fee payer is not for a shop that is none", () =>
    Effect.gen(function*() {
      const asked = yield* challenge
      const signed = yield* sign(asked, { sponsored: true })
      assert.deepStrictEqual(yield* outcomeOf(yield* pull(asked, signed)), [402, "verification-failed"])
    }).pipe(Effect.provide(shop(fakeNode()))))

  it.effect("is not taken where payers broadcast", () =>
    Effect.gen(function*() {
      const asked = yield* challenge
      assert.deepStrictEqual(yield* outcomeOf(yield* pull(asked, yield* sign(asked))), [402, "verification-failed"])
    }).pipe(Effect.provide(shop(fakeNode(), { modes: ["push"] }))))
})

describe("a transaction whose fee the merchant pays", () => {
  it.effect("is signed by the fee payer too, in one form whatever its own was", () => {
    const node = fakeNode({ send: ["pooled"] })
    return Effect.gen(function*() {
      const asked = yield* challenge
      const signed = yield* sign(asked)
      assert.strictEqual((yield* patiently(pull(asked, signed))).status, 503)
      const [sent] = node.sent
      const decoded = Option.getOrThrow(TempoTransaction.decode(sent!))
      assert.isTrue(decoded.feePayerSigned)
      assert.strictEqual(decoded.feeToken, token)
      assert.strictEqual(decoded.from, account.address.toLowerCase() as Hex)
      assert.notStrictEqual(asPlain(signed), signed)
      node.mined.set(keccak256(sent!), receiptOfTransaction(sent!))
      const paid = yield* pull(asked, asPlain(signed))
      assert.strictEqual(Option.getOrThrow(receiptOf(paid)).reference, keccak256(sent!))
      assert.strictEqual(yield* statusOf(pull(asked, signed)), 402)
      assert.strictEqual(node.sent.length, 1)
    }).pipe(Effect.provide(shop(node, { feePayer: sponsored })))
  })

  it.effect("may have its own fee paid by the payer", () =>
    Effect.gen(function*() {
      const asked = yield* challenge
      const signed = yield* sign(asked, { sponsored: false, feeToken: token })
      assert.strictEqual(yield* statusOf(pull(asked, signed)), 200)
    }).pipe(Effect.provide(shop(fakeNode(), { feePayer: sponsored }))))

  const refused: ReadonlyArray<readonly [what: string, change: Change, more?: Parameters<typeof sign>[2]]> = [
    ["does more than pay", { transfers: (same) => [...same, { to: affiliate, units: 1n }] }],
    ["pays twice", { transfers: ([first]) => [first, first] }],
    ["takes too much gas", { gas: "2000001" }],
    ["pays too much for its gas", { maxFeePerGas: "100000000001" }],
    ["costs too much", { gas: "2000000", maxFeePerGas: "30000000000" }],
    ["could be sent again", {}, { nonceKey: 0n }],
    ["warms storage", {}, { accessList: [{ address: token, storageKeys: [] }] }],
    ["is not valid yet", {}, { validAfter: 20 }],
    ["is valid for too long", { validBefore: 11 }]
  ]
  for (const [what, change, more] of refused) {
    it.effect(`is neither signed nor sent where it ${what}`, () => {
      const node = fakeNode()
      return Effect.gen(function*() {
        const asked = yield* challenge
        const response = yield* pull(asked, yield* sign(asked, change, more))
        assert.include(
          yield* Effect.promise(() => response.clone().text()),
          "The fee of the transaction is not paid"
        )
        assert.deepStrictEqual(yield* outcomeOf(response), [402, "verification-failed"])
        assert.deepStrictEqual(node.sent, [])
      }).pipe(Effect.provide(shop(node, {
        feePayer: what === "is valid for too long" ? { ...sponsored, maxValiditySeconds: 10 } : sponsored
      })))
    })
  }

  it.effect("is tried out when the one before it is done, so that an account is not emptied twice", () => {
    const node = fakeNode()
    return Effect.gen(function*() {
      const asked = [yield* challenge, yield* challenge, yield* challenge]
      const signed = yield* Effect.forEach(asked, (it) => sign(it))
      // The account has enough for one of them.
      const send = node.node.send
      const emptied = {
        ...node.node,
        send: (it: Hex) => Effect.tap(send(it), () => Effect.sync(() => node.behave({ estimate: "reverts" })))
      }
      const statuses = Effect.all(asked.map((it, at) => statusOf(pull(it, signed[at]!))), { concurrency: "unbounded" })
      const sold = yield* Effect.provide(statuses, shop({ ...node, node: emptied }, { feePayer: sponsored }))
      assert.deepStrictEqual(sold.toSorted(), [200, 402, 402])
      assert.strictEqual(node.sent.length, 1)
    }).pipe(Effect.provide(shop(node, { feePayer: sponsored })))
  })

  const stuck = (node: FakeNode, isStuck: (signed: Hex) => boolean) => ({
    ...node,
    node: { ...node.node, send: (signed: Hex) => isStuck(signed) ? Effect.never : node.node.send(signed) }
  })

  it.effect("does not wait for what a stranger sends in the name of its account", () => {
    const node = fakeNode()
    const isForged = (signed: Hex) => signed.includes(`03${account.address.slice(2).toLowerCase()}`)
    return Effect.gen(function*() {
      const [theirs, ours] = [yield* challenge, yield* challenge]
      const forged = inTheNameOf(account.address, yield* sign(theirs, { signer: stranger }))
      const forging = yield* Effect.forkChild(pull(theirs, forged), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      assert.isUndefined(forging.pollUnsafe())
      assert.strictEqual(yield* statusOf(pull(ours, yield* sign(ours))), 200)
      yield* TestClock.adjust("1 minute")
      assert.isFalse((yield* Fiber.join(forging)).ok)
    }).pipe(Effect.provide(shop(stuck(node, isForged), { feePayer: sponsored })))
  })

  it.effect("is told to come back where too many of its account wait already", () =>
    Effect.gen(function*() {
      const first = yield* challenge
      const asked = yield* Effect.forEach(Array.from({ length: 18 }), () => challenge)
      const waiting = yield* Effect.forEach(
        asked,
        (it) => Effect.flatMap(sign(it), (signed) => Effect.forkChild(pull(it, signed), { startImmediately: true }))
      )
      const refused = yield* pull(first, yield* sign(first))
      assert.isNotNull(refused.headers.get("retry-after"))
      assert.deepStrictEqual(yield* outcomeOf(refused), [503, "internal-payment-error"])
      for (const _ of waiting) yield* TestClock.adjust("1 minute")
      yield* Fiber.joinAll(waiting)
    }).pipe(Effect.provide(shop(stuck(fakeNode(), () => true), { feePayer: sponsored }))))

  it.effect("is not taken by its hash: nobody but the merchant can have sent it", () =>
    Effect.gen(function*() {
      const refused = yield* push(yield* challenge, `0x${"11".repeat(32)}`)
      assert.deepStrictEqual(yield* outcomeOf(refused), [402, "verification-failed"])
    }).pipe(Effect.provide(shop(fakeNode(), { feePayer: sponsored }))))

  it.effect("waits where the fee payer does not sign", () => {
    const node = fakeNode()
    const silent = { ...sponsor, sign: () => Promise.reject(new Error("0xsecret")) }
    return Effect.gen(function*() {
      const asked = yield* challenge
      const response = yield* pull(asked, yield* sign(asked))
      assert.notInclude(yield* Effect.promise(() => response.clone().text()), "0xsecret")
      assert.deepStrictEqual([response.status, node.sent], [503, []])
    }).pipe(Effect.provide(shop(node, { feePayer: { account: silent } })))
  })
})

describe("the hash of a transaction", () => {
  const mine = (node: FakeNode, signed: Hex, succeeded = true) => {
    node.mined.set(keccak256(signed), receiptOfTransaction(signed, succeeded))
    return keccak256(signed)
  }

  it.effect("buys one answer, with the account named or not", () => {
    const node = fakeNode()
    return Effect.gen(function*() {
      for (const source of [undefined, Source.format(1337, account.address)]) {
        const asked = yield* challenge
        const hash = mine(node, yield* sign(asked))
        const paid = yield* push(asked, hash, source)
        assert.strictEqual(Option.getOrThrow(receiptOf(paid)).reference, hash)
        assert.strictEqual(yield* statusOf(push(asked, hash, source)), 402)
      }
      assert.deepStrictEqual(node.sent, [])
    }).pipe(Effect.provide(shop(node)))
  })

  it.effect("pays for no other challenge, before or after its own", () => {
    const node = fakeNode()
    return Effect.gen(function*() {
      const [before, own, after] = [yield* challenge, yield* challenge, yield* challenge]
      const hash = mine(node, yield* sign(own))
      for (const other of [before, after]) {
        assert.deepStrictEqual(yield* outcomeOf(yield* push(other, hash)), [402, "verification-failed"])
      }
      assert.strictEqual(yield* statusOf(push(own, hash)), 200)
    }).pipe(Effect.provide(shop(node)))
  })

  it.effect("pays nothing where the transaction does not", () => {
    const node = fakeNode()
    return Effect.gen(function*() {
      const wrong: ReadonlyArray<readonly [Change, source?: string]> = [
        [{ transfers: ([first]) => [{ ...first, units: 1n }] }],
        [{ transfers: ([first]) => [{ ...first, to: affiliate }] }],
        [{}, Source.format(1337, stranger.address)]
      ]
      for (const [change, source] of wrong) {
        const asked = yield* challenge
        const refused = yield* push(asked, mine(node, yield* sign(asked, change)), source)
        assert.deepStrictEqual(yield* outcomeOf(refused), [402, "verification-failed"])
      }
      const asked = yield* challenge
      const refused = yield* push(asked, mine(node, yield* sign(asked), false))
      assert.deepStrictEqual(yield* outcomeOf(refused), [402, "verification-failed"])
    }).pipe(Effect.provide(shop(node)))
  })

  it.effect("that no node has yet is uncertain, and blocks nothing", () => {
    const node = fakeNode()
    return Effect.gen(function*() {
      const asked = yield* challenge
      const signed = yield* sign(asked)
      const uncertain = yield* patiently(push(asked, keccak256(signed)))
      assert.deepStrictEqual([uncertain.status, challengesOf(uncertain)], [503, []])
      assert.strictEqual(yield* statusOf(push(asked, mine(node, signed))), 200)
    }).pipe(Effect.provide(shop(node)))
  })

  it.effect("is not taken where the merchant broadcasts", () => {
    const node = fakeNode()
    return Effect.gen(function*() {
      const asked = yield* challenge
      const refused = yield* push(asked, mine(node, yield* sign(asked)))
      assert.deepStrictEqual(yield* outcomeOf(refused), [402, "verification-failed"])
    }).pipe(Effect.provide(shop(node, { modes: ["pull"] })))
  })
})

describe("a proof", () => {
  const terms = { price: "0" }
  const source = Source.format(1337, account.address)
  const free = Effect.map(ask("/data", {}, { terms }), challengeOf)
  const present_ = (challenge: Challenge.Challenge, signature: Hex, named: string | undefined = source) =>
    ask(
      "/data",
      present({ challenge, payload: { type: "proof", signature }, ...(named === "" ? {} : { source: named }) }),
      { terms, handler: Effect.andThen(Paywall.Paid, content) }
    )

  it.effect("is asked for where nothing is charged, once for each network", () =>
    Effect.gen(function*() {
      const response = yield* ask("/data", {}, { terms })
      const requests = yield* Effect.forEach(
        challengesOf(response),
        (it) => Effect.fromResult(TempoCharge.fromChallenge(it))
      )
      assert.deepStrictEqual(requests, [
        { amount: 0n, currency: token, recipient: payTo, methodDetails: { chainId: 1337 } }
      ])
    }).pipe(Effect.provide(shop(fakeNode(), {
      accepts: [{ asset, payTo }, { asset: new Asset.Asset({ ...asset, address: affiliate }), payTo }],
      feePayer: sponsored,
      splits: [{ payTo: affiliate, basisPoints: 100 }]
    }))))

  it.effect("of an account serves once, and names the challenge in its receipt", () =>
    Effect.gen(function*() {
      const asked = yield* free
      const signature = yield* prove(asked)
      const served = yield* present_(asked, signature)
      assert.strictEqual(Option.getOrThrow(receiptOf(served)).reference, asked.id)
      assert.strictEqual((yield* present_(asked, signature)).status, 402)
    }).pipe(Effect.provide(shop(fakeNode()))))

  it.effect("that is signed by another, for another chain or challenge, or for nobody, is refused", () =>
    Effect.gen(function*() {
      const asked = yield* free
      const wrong: ReadonlyArray<readonly [Hex, string?]> = [
        [yield* prove(asked, { signer: stranger })],
        [yield* prove(asked, { of: stranger })],
        [yield* prove(asked, { chainId: 4217 })],
        [yield* prove(yield* free)],
        [yield* prove(asked), ""],
        [yield* prove(asked), Source.format(4217, account.address)],
        [yield* prove(asked), Source.format(1337, stranger.address)],
        ["0x00"],
        [`0x${"11".repeat(65)}`]
      ]
      for (const [signature, named] of wrong) {
        assert.deepStrictEqual(yield* outcomeOf(yield* present_(asked, signature, named)), [402, "verification-failed"])
      }
      assert.strictEqual((yield* present_(asked, yield* prove(asked))).status, 200)
    }).pipe(Effect.provide(shop(fakeNode()))))

  it.effect("pays for nothing that costs something, and money for nothing that is free", () =>
    Effect.gen(function*() {
      const dear = yield* challenge
      const proof = { type: "proof", signature: yield* prove(dear) }
      assert.deepStrictEqual(yield* outcomeOf(yield* answer(dear, proof, source)), [402, "verification-failed"])
      const asked = yield* free
      const hash = present({ challenge: asked, payload: { type: "hash", hash: `0x${"11".repeat(32)}` }, source })
      assert.deepStrictEqual(yield* outcomeOf(yield* ask("/data", hash, { terms })), [402, "verification-failed"])
    }).pipe(Effect.provide(shop(fakeNode()))))
})
