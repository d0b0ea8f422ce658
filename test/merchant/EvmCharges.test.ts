import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option } from "effect"
import { SecureRandom } from "effect/crypto"
import { TestClock } from "effect/testing"
import type { Hex } from "viem"
import { privateKeyToAccount } from "viem/accounts"
import * as Asset from "../../src/Asset.ts"
import * as EvmCharges from "../../src/merchant/EvmCharges.ts"
import * as Facilitator from "../../src/merchant/Facilitator.ts"
import * as Paywall from "../../src/merchant/Paywall.ts"
import type * as Challenge from "../../src/wire/mpp/Challenge.ts"
import * as EvmCharge from "../../src/wire/mpp/EvmCharge.ts"
import * as Source from "../../src/wire/mpp/Source.ts"
import * as V2 from "../../src/wire/x402/V2.ts"
import { ask, challengeOf, challengesOf, outcomeOf, present, receiptOf, secret } from "./charges.ts"

const asset = Option.getOrThrow(
  Asset.makeTable(Asset.known).find("eip155:84532", "0x036CbD53842c5426634e7929541eC2318f3dCF7e")
)
const payTo = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
const account = privateKeyToAccount("0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d")
const stranger = privateKeyToAccount("0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6")

interface Terms {
  readonly from: Hex
  readonly to: Hex
  readonly value: bigint
  readonly validAfter: bigint
  readonly validBefore: bigint
  readonly nonce: Hex
}

const types = {
  TransferWithAuthorization: [
    { name: "from", type: "address" },
    { name: "to", type: "address" },
    { name: "value", type: "uint256" },
    { name: "validAfter", type: "uint256" },
    { name: "validBefore", type: "uint256" },
    { name: "nonce", type: "bytes32" }
  ]
} as const

/** An authorisation that answers a challenge, but for what differs. */
const authorize = Effect.fnUntraced(function*(
  challenge: Challenge.Challenge,
  differing: Partial<Terms> & { readonly signer?: typeof account; readonly version?: string } = {}
) {
  const { signer = account, version = asset.domain!.version, ...members } = differing
  const message: Terms = {
    from: account.address,
    to: payTo,
    value: 10_000n,
    validAfter: 0n,
    validBefore: BigInt(Math.floor(Date.parse(challenge.expires!) / 1000)),
    nonce: EvmCharge.nonce(challenge),
    ...members
  }
  const signature = yield* Effect.promise(() =>
    signer.signTypedData({
      domain: { name: asset.domain!.name, version, chainId: 84532, verifyingContract: asset.address as Hex },
      types,
      primaryType: "TransferWithAuthorization",
      message
    })
  )
  return {
    type: "authorization",
    signature,
    from: message.from,
    to: message.to,
    value: message.value.toString(),
    validAfter: message.validAfter.toString(),
    validBefore: message.validBefore.toString(),
    nonce: message.nonce
  } as const
})

type Settling = Effect.Effect<
  Facilitator.Settlement,
  Facilitator.SettlementUnknown | Facilitator.FacilitatorUnavailable
>

const settled: Facilitator.Settlement = { success: true, transaction: "0xabc", network: asset.network }
const pending: Facilitator.Settlement = { ...settled, success: false, errorReason: "settlement_pending" }
const failed: Facilitator.Settlement = {
  ...settled,
  success: false,
  errorReason: "invalid_exact_evm_nonce_already_used"
}
const lost = Effect.fail(new Facilitator.SettlementUnknown({ detail: "no answer" }))
const down = (operation: "verify" | "settle") =>
  Effect.fail(new Facilitator.FacilitatorUnavailable({ operation, detail: "refused" }))

/** A shop whose facilitator settles as it is told, in order; the last one repeats. */
const shop = (script: ReadonlyArray<Settling> = [Effect.succeed(settled)], options: {
  readonly verify?: ReturnType<Facilitator.Facilitator["Service"]["verify"]>
  readonly submissions?: Array<Facilitator.Submission>
} = {}) => {
  const { submissions = [], verify = Effect.succeed({ isValid: true }) } = options
  return Paywall.layer({
    ways: [Paywall.evm({ secret, accepts: [{ asset, payTo }] }), Paywall.x402({ accepts: [{ asset, payTo }] })]
  }).pipe(
    Layer.provide(SecureRandom.layerWebCrypto),
    Layer.provide(Layer.succeed(Facilitator.Facilitator, {
      verify: () => verify,
      settle: (submission) => Effect.suspend(() => script[Math.min(submissions.push(submission), script.length) - 1]!),
      supported: Effect.succeed({ kinds: [] })
    }))
  )
}

const source = Source.format(84532, account.address)

const challenge = Effect.map(ask(), challengeOf)

const pay = Effect.fnUntraced(function*(challenge: Challenge.Challenge, differing?: Parameters<typeof authorize>[1]) {
  return yield* ask("/data", present({ challenge, source, payload: yield* authorize(challenge, differing) }))
})

describe("a charge on an EVM chain", () => {
  it.effect("is asked for in a currency that is taken", () =>
    Effect.gen(function*() {
      const request = yield* Effect.fromResult(EvmCharge.fromChallenge(yield* challenge))
      assert.deepStrictEqual(request, {
        amount: 10_000n,
        currency: asset.address as Hex,
        recipient: payTo.toLowerCase() as Hex,
        methodDetails: { chainId: 84532, credentialTypes: ["authorization"] }
      })
    }).pipe(Effect.provide(shop())))

  it.effect("is settled through the facilitator, as our own entry of x402", () => {
    const submissions: Array<Facilitator.Submission> = []
    return Effect.gen(function*() {
      const asked = yield* challenge
      const paid = yield* pay(asked)
      assert.strictEqual(paid.status, 200)
      const { members, reference } = Option.getOrThrow(receiptOf(paid))
      assert.deepStrictEqual([reference, members["challengeId"]], ["0xabc", asked.id])
      const { paymentPayload, paymentRequirements, x402Version } = submissions[0]!
      assert.deepStrictEqual(paymentRequirements, {
        scheme: "exact",
        network: "eip155:84532",
        amount: "10000",
        asset: asset.address,
        payTo,
        maxTimeoutSeconds: 300,
        extra: { name: "USDC", version: "2" }
      })
      const { signature, type: _, ...authorization } = yield* authorize(asked)
      assert.strictEqual(x402Version, 2)
      assert.deepStrictEqual(paymentPayload["accepted"], paymentRequirements)
      assert.deepStrictEqual(
        paymentPayload["payload"],
        {
          signature,
          authorization: {
            ...authorization,
            from: account.address.toLowerCase(),
            to: payTo.toLowerCase()
          }
        }
      )
      assert.strictEqual((yield* pay(asked)).status, 402)
      assert.strictEqual(submissions.length, 1)
    }).pipe(Effect.provide(shop(undefined, { submissions })))
  })

  const wrong: ReadonlyArray<readonly [what: string, differing: Parameters<typeof authorize>[1]]> = [
    ["to somebody else", { to: stranger.address }],
    ["of less", { value: 9_999n }],
    ["of more", { value: 10_001n }],
    ["with a nonce of its own", { nonce: `0x${"22".repeat(32)}` }],
    ["that somebody else has signed", { signer: stranger }],
    ["from another account than the credential names", { signer: stranger, from: stranger.address }],
    ["for another token", { version: "1" }],
    ["that is not valid yet", { validAfter: 1_000n }],
    ["that is void", { validBefore: 60n }]
  ]
  for (const [what, differing] of wrong) {
    it.effect(`is not paid by an authorisation ${what}`, () => {
      const submissions: Array<Facilitator.Submission> = []
      return Effect.gen(function*() {
        yield* TestClock.adjust("1 minute")
        const refused = yield* pay(yield* challenge, differing)
        challengeOf(refused)
        assert.deepStrictEqual(yield* outcomeOf(refused), [402, "verification-failed"])
        assert.deepStrictEqual(submissions, [])
      }).pipe(Effect.provide(shop(undefined, { submissions })))
    })
  }

  it.effect("is not paid by anything else than an authorisation", () =>
    Effect.gen(function*() {
      for (const payload of [{}, { type: "transaction", signature: "0x01" }, { type: "authorization", from: 1 }]) {
        const refused = yield* ask("/data", present({ challenge: yield* challenge, payload }))
        assert.deepStrictEqual(yield* outcomeOf(refused), [402, "malformed-credential"])
      }
      const asked = yield* challenge
      const payload = { ...yield* authorize(asked), signature: "0x1234" }
      const forged = yield* ask("/data", present({ challenge: asked, payload }))
      assert.deepStrictEqual(yield* outcomeOf(forged), [402, "verification-failed"])
    }).pipe(Effect.provide(shop())))

  it.effect("is not taken where the facilitator says that it will not settle", () => {
    const submissions: Array<Facilitator.Submission> = []
    const verify = Effect.succeed({ isValid: false, invalidReason: "insufficient_funds" })
    return Effect.gen(function*() {
      const refused = yield* pay(yield* challenge)
      assert.include(yield* Effect.promise(() => refused.text()), "insufficient_funds")
      assert.deepStrictEqual(submissions, [])
    }).pipe(Effect.provide(shop(undefined, { submissions, verify })))
  })

  const scripts: ReadonlyArray<readonly [what: string, ReadonlyArray<Settling>, statuses: ReadonlyArray<number>]> = [
    ["is asked for once more where nothing is heard of it", [lost, Effect.succeed(settled)], [200, 402]],
    ["is owed while its outcome is unknown", [lost, lost, Effect.succeed(settled)], [503, 200, 402]],
    [
      "is owed while it is under way",
      [Effect.succeed(pending), Effect.succeed(pending), Effect.succeed(settled)],
      [503, 200, 402]
    ],
    [
      "is not called failed where it may have been settled before",
      [lost, lost, Effect.succeed(failed), down("settle"), Effect.succeed(settled)],
      [503, 503, 503, 200]
    ],
    ["is not called failed by the second answer, after none", [lost, Effect.succeed(failed), Effect.succeed(settled)], [
      503,
      200,
      402
    ]],
    ["is not called untaken where the facilitator is down after no answer", [
      lost,
      down("settle"),
      Effect.succeed(settled)
    ], [503, 200, 402]],
    ["is not called failed while it is under way", [
      Effect.succeed(pending),
      Effect.succeed(failed),
      Effect.succeed(settled)
    ], [503, 200, 402]],
    ["can be tried again where it failed", [Effect.succeed(failed), Effect.succeed(settled)], [402, 200]],
    ["can be tried again where the facilitator is down", [down("settle"), Effect.succeed(settled)], [503, 200]]
  ]
  for (const [what, script, expected] of scripts) {
    it.effect(`a settlement ${what}`, () =>
      Effect.gen(function*() {
        const asked = yield* challenge
        for (const status of expected) {
          const response = yield* pay(asked)
          assert.strictEqual(response.status, status)
          assert.strictEqual(challengesOf(response).length, status === 402 ? 1 : 0)
        }
      }).pipe(Effect.provide(shop(script))))
  }

  it.effect("is known as unpaid where the facilitator cannot verify it", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* pay(yield* challenge)).status, 503)
    }).pipe(Effect.provide(shop(undefined, { verify: down("verify") }))))

  it.effect("and x402 do not sell the same authorisation twice", () => {
    const submissions: Array<Facilitator.Submission> = []
    return Effect.gen(function*() {
      const asked = yield* challenge
      const { signature, type: _, ...authorization } = yield* authorize(asked)
      const accepted = { scheme: "exact", network: asset.network, amount: "10000", asset: asset.address, payTo }
      const headers = { [V2.paymentHeader]: V2.encodePayment({ accepted, payload: { signature, authorization } }) }
      const byX402 = Effect.map(ask("/data", { headers }), ({ status }) => status)
      assert.deepStrictEqual([(yield* pay(asked)).status, yield* byX402], [200, 402])
      const other = yield* challenge
      const { signature: again, type: _type, ...second } = yield* authorize(other)
      const presented = V2.encodePayment({ accepted, payload: { signature: again, authorization: second } })
      assert.strictEqual((yield* ask("/data", { headers: { [V2.paymentHeader]: presented } })).status, 200)
      assert.strictEqual((yield* pay(other)).status, 402)
      assert.strictEqual(submissions.length, 2)
    }).pipe(Effect.provide(shop(undefined, { submissions })))
  })
})

describe("the options of charges on EVM chains", () => {
  it("need an address, and an asset that takes authorisations", () => {
    const { domain: _, ...members } = asset
    const undomained = new Asset.Asset(members)
    assert.throws(() => EvmCharges.make({ secret, accepts: [{ asset, payTo: "me" }] }), RangeError)
    assert.throws(() => EvmCharges.make({ secret, accepts: [{ asset: undomained, payTo }] }), RangeError)
    assert.throws(() => EvmCharges.make({ secret, accepts: [{ asset: Asset.sessionUsdc, payTo }] }), RangeError)
  })
})
