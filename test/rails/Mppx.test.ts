import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Result } from "effect"
import { TestClock } from "effect/testing"
import { evm, stripe, tempo } from "mppx/client"
import { privateKeyToAccount } from "viem/accounts"
import { Offer } from "../../src/Offer.ts"
import * as Policy from "../../src/Policy.ts"
import { Plan, type Rail, Rails } from "../../src/Rails.ts"
import * as Mppx from "../../src/rails/Mppx.ts"
import * as Json from "../../src/wire/Json.ts"
import * as fixture from "./evmCharge.ts"
import * as exact from "./exact.ts"
import { answered, cents, challenge, coin, foreignRequest, method, offer, requesting } from "./mppx.ts"

const railsOf = (options: Mppx.Options) =>
  Rails.use((rails) => rails.all).pipe(Effect.provide(Mppx.layer(options).pipe(Layer.provideMerge(Rails.layer))))

const railWith = (made: Mppx.ClientMethod = method(), options: Partial<Mppx.Options> = {}) =>
  Effect.map(railsOf({ methods: [made], assets: { acme: [cents] }, ...options }), (all) => all[0]!)

const plan = (rail: Rail, made: Offer) => Effect.andThen(TestClock.setTime(fixture.now), rail.plan(made, exact.context))

describe("Mppx", () => {
  describe("methods", () => {
    it.effect("those of mppx fit as they are, and each charge becomes a rail", () =>
      Effect.gen(function*() {
        const account = privateKeyToAccount(exact.key)
        const methods: ReadonlyArray<Mppx.ClientMethod> = [
          tempo.charge({ account }),
          stripe.charge({ createToken: () => Promise.resolve("spt_1"), paymentMethod: "pm_card_visa" }),
          evm.charge({ account }),
          ...tempo({ account })
        ]
        const rails = yield* railsOf({ methods, assets: {} })
        assert.deepStrictEqual(
          rails.map(({ name }) => name),
          ["mppx/tempo/charge", "mppx/stripe/charge", "mppx/evm/charge", "mppx/tempo/charge#2"]
        )
      }))

    it.effect("say that nothing is repeated, and that signing may pay unless the program knows better", () =>
      Effect.gen(function*() {
        const rail = yield* railWith()
        assert.deepStrictEqual([rail.repeats, rail.signingMayPay, rail.payer], [false, true, "mppx/acme/charge"])
        const signer = yield* railWith(method(), { signsOnly: true, payer: exact.payer })
        assert.deepStrictEqual([signer.repeats, signer.signingMayPay, signer.payer], [false, false, exact.payer])
      }))

    it.effect("nobody can be asked what became of a payment", () =>
      Effect.gen(function*() {
        const rail = yield* railWith()
        const verdict = yield* rail.reconcile(yield* plan(rail, offer()))
        assert.strictEqual(verdict._tag, "Unknown")
        assert.isUndefined(rail.balance)
      }))
  })

  describe("accepts", () => {
    const why = (rail: Rail, made: Offer) =>
      Result.match(rail.accepts(made, "https://a.test"), {
        onFailure: ({ why }) => why,
        onSuccess: ({ address, network }) => `${network}/${address}`
      })

    const offers: ReadonlyArray<[string, string, Offer]> = [
      ["a charge in a currency of the program", "mpp:acme/usd", offer()],
      [
        "one whose currency is written in another case",
        "mpp:acme/usd",
        fixture.offerOf(requesting({ currency: "USD", amount: "1" }))
      ],
      [
        "a charge on a chain in an asset of the program",
        `eip155:1337/${coin.address}`,
        fixture.offerOf(requesting({ currency: coin.address, amount: "1", methodDetails: { chainId: 1337 } }))
      ],
      ["no other method", "another method", offer({ method: "acme2" })],
      ["no other intent", "another method", offer({ intent: "session" })],
      ["no other protocol", "another method", new Offer({ ...offer(), protocol: "x402" })],
      ["no challenge that cannot be read", "cannot be read", new Offer({ ...offer(), wire: {} })],
      ["no other amount than in its challenge", "made of", new Offer({ ...offer(), units: 2n })],
      ["no other currency than in its challenge", "made of", new Offer({ ...offer(), asset: "eur" })],
      ["no unknown currency", "may pay in", fixture.offerOf(requesting({ currency: "eur", amount: "1" }))],
      [
        "no currency of another network",
        "may pay in",
        fixture.offerOf(requesting({ currency: "usd", amount: "1", methodDetails: { chainId: 1337 } }))
      ],
      [
        "no asset of a chain where the challenge names none",
        "may pay in",
        fixture.offerOf(requesting({ currency: coin.address, amount: "1" }))
      ],
      ["nothing for nothing", "nothing is to be paid", fixture.offerOf(requesting({ currency: "usd", amount: "0" }))],
      ["no challenge that never expires", "never expires", offer({ expires: undefined })]
    ]
    it.effect.each(offers)("%s", ([, expected, made]) =>
      Effect.gen(function*() {
        const rail = yield* railWith(method(), { assets: { acme: [cents, coin] } })
        assert.include(why(rail, made), expected)
      }))

    it.effect("no currency that was given to another method", () =>
      Effect.gen(function*() {
        assert.include(why(yield* railWith(method(), { assets: { other: [cents] } }), offer()), "may pay in")
      }))

    it.effect("what never expires, if the program says so", () =>
      Effect.gen(function*() {
        const rail = yield* railWith(method(), { allowNoExpiry: true })
        assert.strictEqual(why(rail, offer({ expires: undefined })), "mpp:acme/usd")
        assert.strictEqual((yield* plan(rail, offer({ expires: undefined }))).spendableUntil, fixture.now + 600_000)
      }))

    it.effect("only what the method handles, where it says so", () =>
      Effect.gen(function*() {
        const seen: Array<Mppx.ClientChallenge> = []
        const handling = (answer: () => boolean): Mppx.ClientMethod => ({
          ...method(),
          canHandleChallenge: ({ challenge }) => (seen.push(challenge), answer())
        })
        assert.strictEqual(why(yield* railWith(handling(() => true)), offer()), "mpp:acme/usd")
        assert.include(why(yield* railWith(handling(() => false)), offer()), "does not handle")
        const throwing = handling(() => {
          throw new Error("no")
        })
        assert.include(why(yield* railWith(throwing), offer()), "does not handle")
        assert.deepStrictEqual(seen[0]?.request, { currency: "usd", amount: "1" })
      }))
  })

  describe("plan", () => {
    it.effect("keeps the challenge and nothing else, for as long as it lives", () =>
      Effect.gen(function*() {
        const rail = yield* railWith(method(), { feeUsd: 500n })
        const made = yield* plan(rail, offer())
        assert.deepStrictEqual(
          [made.rail, made.kind, made.network, made.asset, made.units, made.feeUsd, made.payer, made.payee],
          ["mppx/acme/charge", "charge", "mpp:acme", "usd", 1n, 500n, "mppx/acme/charge", ""]
        )
        assert.deepStrictEqual(
          [made.spendableUntil, made.presentableUntil],
          [fixture.now + 300_000, fixture.now + 300_000]
        )
        assert.deepStrictEqual(made.data, { challenge: { ...challenge() } })
      }))

    it.effect("refuses a challenge that lives too short or too long", () =>
      Effect.gen(function*() {
        const rail = yield* railWith()
        const rule = (seconds: number) =>
          plan(rail, offer({ expires: fixture.expiring(seconds) })).pipe(
            Effect.match({
              onFailure: (error) => error._tag === "PolicyDenied" ? error.rule : error._tag,
              onSuccess: () => "planned"
            })
          )
        assert.strictEqual(yield* rule(Policy.minValiditySeconds - 1), "validity")
        assert.strictEqual(yield* rule(Policy.minValiditySeconds), "planned")
        assert.strictEqual(yield* rule(Policy.maxValiditySeconds), "planned")
        assert.strictEqual(yield* rule(Policy.maxValiditySeconds + 1), "validity")
      }))
  })

  describe("sign", () => {
    const signed = (made: Mppx.ClientMethod, offered = offer(), options: Partial<Mppx.Options> = {}) =>
      Effect.gen(function*() {
        const rail = yield* railWith(made, options)
        return yield* rail.sign(yield* plan(rail, offered))
      })

    it.effect("gives the method what it expects, and sends the challenge back as it was received", () =>
      Effect.gen(function*() {
        const given: Array<Mppx.ClientChallenge> = []
        const rewriting = method(({ challenge }) => {
          given.push(challenge)
          return Promise.resolve(answered(challenge))
        })
        const { envelopes } = yield* signed(rewriting)
        assert.deepStrictEqual(given, [{ ...challenge(), request: { currency: "usd", amount: "1" } }])
        const credential = fixture.opened(envelopes[0])
        assert.strictEqual(credential.challenge.request, foreignRequest)
        assert.deepStrictEqual({ ...credential.challenge }, { ...challenge() })
        assert.deepStrictEqual([credential.source, credential.payload], ["acme:1", { token: "tok_SECRET" }])
      }))

    it.effect("presents it in the field that the challenge names", () =>
      Effect.gen(function*() {
        const { envelopes } = yield* signed(method(), offer({ header: "Payment-Authorization" }))
        assert.deepStrictEqual(Object.keys(envelopes[0]), ["payment-authorization"])
      }))

    it.effect("what a method does to its challenge stays with the method", () =>
      Effect.gen(function*() {
        const vandal = method(({ challenge }) => {
          const header = answered(challenge)
          Object.assign(challenge, { id: "other", realm: "b.test" })
          Object.assign(challenge.request, { amount: "1000000" })
          return Promise.resolve(header)
        })
        const { envelopes } = yield* signed(vandal)
        assert.deepStrictEqual({ ...fixture.opened(envelopes[0]).challenge }, { ...challenge() })
      }))

    it.effect("a credential of the real method of mppx keeps a request that mppx would write in another way", () =>
      Effect.gen(function*() {
        const request = {
          currency: "usd",
          amount: "1",
          methodDetails: { paymentMethodTypes: ["card"], networkId: "profile_1" }
        }
        const sent = challenge({ method: "stripe", request: Json.toBase64Url(request) })
        const made = stripe.charge({ createToken: () => Promise.resolve("spt_1"), paymentMethod: "pm_card_visa" })
        const { envelopes } = yield* signed(made, fixture.offerOf(sent), {
          assets: { stripe: [Mppx.asset({ method: "stripe", currency: "usd", decimals: 2 })] }
        })
        const credential = fixture.opened(envelopes[0])
        assert.deepStrictEqual({ ...credential.challenge }, { ...sent })
        assert.deepStrictEqual(credential.payload, { spt: "spt_1" })
      }))

    const failures: ReadonlyArray<[string, Mppx.ClientMethod["createCredential"]]> = [
      ["throws", () => {
        throw new Error("SECRET")
      }],
      ["rejects", () => Promise.reject(new Error("SECRET"))],
      ["answers no credential", () => Promise.resolve("Bearer SECRET")],
      ["answers what cannot be read", () => Promise.resolve("Payment e30")],
      ["answers nothing", () => Promise.resolve("")],
      ["answers what is no text", () => Promise.resolve(JSON.parse("null"))],
      ["answers far too much", () => Promise.resolve(`Payment ${"A".repeat(Json.maxHeaderLength)}`)],
      [
        "answers another challenge",
        ({ challenge }) => Promise.resolve(answered(challenge, { challenge: { ...challenge, id: "other" } }))
      ],
      ["answers without a payload", ({ challenge }) => Promise.resolve(answered(challenge, { payload: undefined }))]
    ]
    it.effect.each(failures)(
      "a method that %s has failed, and nothing of its own is told",
      ([, createCredential]) =>
        Effect.gen(function*() {
          const error = yield* Effect.flip(signed(method(createCredential)))
          assert.strictEqual(error._tag, "WalletError")
          assert.notInclude(JSON.stringify(error) + String(error), "SECRET")
        })
    )

    it.effect("a method that does not answer is waited for as long as the program says", () =>
      Effect.gen(function*() {
        const rail = yield* railWith(method(() => new Promise(() => {})), { timeout: "20 seconds" })
        const made = yield* plan(rail, offer())
        const fiber = yield* Effect.forkChild(Effect.flip(rail.sign(made)))
        yield* TestClock.adjust("19 seconds")
        assert.isUndefined(fiber.pollUnsafe())
        yield* TestClock.adjust("1 second")
        assert.include((yield* Fiber.join(fiber)).message, "in time")
      }))

    it.effect("makes nothing of a plan of another rail", () =>
      Effect.gen(function*() {
        let calls = 0
        const rail = yield* railWith(method(({ challenge }) => (calls++, Promise.resolve(answered(challenge)))))
        const made = yield* plan(rail, offer())
        const foreign = new Plan({ ...made, data: {} })
        assert.strictEqual((yield* Effect.flip(rail.sign(foreign)))._tag, "WalletError")
        assert.strictEqual(rail.judge(foreign, { status: 200, headers: {}, body: undefined }, 0)._tag, "Unknown")
        assert.strictEqual(calls, 0)
      }))
  })
})
