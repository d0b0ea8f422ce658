import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { TestClock } from "effect/testing"
import { inspect } from "node:util"
import { keccak256, stringToHex, verifyTypedData } from "viem"
import * as Asset from "../../src/Asset.ts"
import { Offer } from "../../src/Offer.ts"
import * as Policy from "../../src/Policy.ts"
import { Plan } from "../../src/Rails.ts"
import * as Eip3009 from "../../src/rails/Eip3009.ts"
import type * as EvmCharge from "../../src/rails/EvmCharge.ts"
import * as Wallet from "../../src/Wallet.ts"
import * as evm from "./evmCharge.ts"
import * as exact from "./exact.ts"
import { nodeWith } from "./node.ts"

const dataOf = (plan: Plan) =>
  Schema.decodeUnknownSync(Schema.Struct({ domain: Eip3009.Domain, authorization: Eip3009.Authorization }))(plan.data)

/** As the ledger keeps a plan and gives it back. */
const stored = (plan: Plan) => Schema.decodeUnknownSync(Plan)(JSON.parse(JSON.stringify(Schema.encodeSync(Plan)(plan))))

const Payload = Schema.Struct({
  ...Eip3009.Authorization.fields,
  type: Schema.Literal("authorization"),
  signature: Schema.TemplateLiteral(["0x", Schema.String])
})

const planOf = (offer: Offer, options: EvmCharge.Options = {}) =>
  Effect.gen(function*() {
    yield* TestClock.setTime(evm.now + 999)
    const rail = yield* evm.railWith(options)
    return { rail, plan: yield* rail.plan(offer, exact.context) }
  })

describe("EvmCharge", () => {
  describe("accepts", () => {
    const accepted = (offer: Offer, options: EvmCharge.Options = {}) =>
      Effect.map(evm.railWith(options), (rail) => rail.accepts(offer, "https://a.test"))
    const why = (offer: Offer, options: EvmCharge.Options = {}) =>
      Effect.map(
        accepted(offer, options),
        Result.match({ onFailure: ({ why }) => why, onSuccess: () => "accepted" })
      )

    it.effect("a charge in a known asset, and names the asset of our table", () =>
      Effect.gen(function*() {
        const { address, symbol } = Result.getOrThrow(yield* accepted(evm.offer()))
        assert.deepStrictEqual([address, symbol], [exact.token.toLowerCase(), "USDC"])
      }))

    it.effect("addresses in any case: they stand for 20 bytes", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* why(evm.offer({ currency: exact.token.toLowerCase() })), "accepted")
        assert.strictEqual(yield* why(evm.offer({ recipient: exact.payee.replace("C44C", "c44C") })), "accepted")
      }))

    const refusals: ReadonlyArray<[string, string, Offer]> = [
      ["another method", "not a charge", evm.offer({}, { method: "tempo" })],
      ["another intent", "not a charge", evm.offer({}, { intent: "session" })],
      ["another protocol", "not a charge", new Offer({ ...evm.offer(), protocol: "x402" })],
      ["a challenge that cannot be read", "cannot be read", new Offer({ ...evm.offer(), wire: { id: "1" } })],
      ["no chain", "methodDetails", evm.offer({ methodDetails: { credentialTypes: ["authorization"] } })],
      ["no method details", "methodDetails", evm.offer({ methodDetails: undefined })],
      ["a payee that is no address", "recipient", evm.offer({ recipient: "vitalik.eth" })],
      ["no payee", "recipient", evm.offer({ recipient: undefined })],
      [
        "payees beside the first",
        "single authorisation",
        evm.offer({ methodDetails: { ...evm.methodDetails, splits: [{ amount: "1", recipient: exact.payer }] } })
      ],
      [
        "credentials of other types",
        "single authorisation",
        evm.offer({ methodDetails: { ...evm.methodDetails, credentialTypes: ["permit2", "transaction"] } })
      ],
      ["no types of credentials", "single authorisation", evm.offer({ methodDetails: { chainId: 84532 } })],
      ["no expiry", "never expires", evm.offer({}, { expires: undefined })],
      ["nothing to pay", "nothing is to be paid", evm.offer({ amount: "0" })],
      ["an unknown token", "not in our table", evm.offer({ currency: `0x${"12".repeat(20)}` })],
      [
        "a known token on another chain",
        "not in our table",
        evm.offer({ methodDetails: { ...evm.methodDetails, chainId: 1 } })
      ],
      ["the payer as payee", "the payee is", evm.offer({ recipient: exact.payer })],
      ["the zero address as payee", "the payee is", evm.offer({ recipient: `0x${"00".repeat(20)}` })],
      ["the token as payee", "the payee is", evm.offer({ recipient: exact.token.toLowerCase() })],
      ["another amount than in its challenge", "made of", new Offer({ ...evm.offer(), units: 1n })],
      ["another payee than in its challenge", "made of", new Offer({ ...evm.offer(), payee: exact.token })],
      ["another token than in its challenge", "made of", new Offer({ ...evm.offer(), asset: exact.payee })],
      ["another network than in its challenge", "made of", new Offer({ ...evm.offer(), network: "eip155:1" })]
    ]
    it.effect.each(refusals)("no offer with %s", ([, expected, offer]) =>
      Effect.gen(function*() {
        assert.include(yield* why(offer), expected)
      }))

    it.effect("no asset that has no EIP-712 domain", () =>
      Effect.gen(function*() {
        const plain = new Asset.Asset({
          network: exact.network,
          address: exact.token.toLowerCase(),
          symbol: "DAI",
          decimals: 18,
          usd: true,
          testnet: true
        })
        assert.include(yield* Effect.provide(why(evm.offer()), Asset.layer([plain])), "no EIP-3009 transfers")
      }))

    it.effect("only the networks that the rail was given, if it was given any", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* why(evm.offer(), { networks: [exact.network] }), "accepted")
        const refused = yield* accepted(evm.offer(), { networks: ["eip155:8453"] })
        assert.isTrue(Result.isFailure(refused) && refused.failure.rule === "network")
      }))

    it.effect("a challenge that never expires, if the program says so", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* why(evm.offer({}, { expires: undefined }), { allowNoExpiry: true }), "accepted")
      }))
  })

  describe("plan", () => {
    it.effect("holds the complete message, with the nonce of the challenge and a validity of at most a minute", () =>
      Effect.gen(function*() {
        const { plan } = yield* planOf(evm.offer())
        const { authorization, domain } = dataOf(plan)
        assert.deepStrictEqual({ ...authorization }, {
          from: exact.payer,
          to: exact.payee,
          value: "10000",
          validAfter: "0",
          validBefore: "1700000060",
          nonce: keccak256(stringToHex("kM9xPqWvT2nJrHsY4aDfEba.test"))
        })
        assert.deepStrictEqual({ ...domain }, {
          name: "USDC",
          version: "2",
          chainId: 84532,
          verifyingContract: "0x036cbd53842c5426634e7929541ec2318f3dcf7e"
        })
        assert.deepStrictEqual(
          [plan.rail, plan.kind, plan.units, plan.payer, plan.payee, plan.spendableUntil, plan.presentableUntil],
          ["evm/charge", "charge", 10_000n, exact.payer, exact.payee, 1_700_000_060_000, 1_700_000_060_000]
        )
      }))

    it.effect("decimals of the challenge count for nothing", () =>
      Effect.gen(function*() {
        const { plan } = yield* planOf(evm.offer({ methodDetails: { ...evm.methodDetails, decimals: 18 } }))
        assert.strictEqual(plan.units, 10_000n)
      }))

    it.effect("is never valid beyond the challenge, and not beyond the policy's cap", () =>
      Effect.gen(function*() {
        const validity = (seconds: number, maxValidity?: EvmCharge.Options["maxValidity"]) =>
          Effect.map(planOf(evm.offer({}, { expires: evm.expiring(seconds) }), { maxValidity }), ({ plan }) =>
            plan.spendableUntil! / 1000 - evm.now / 1000)
        assert.strictEqual(yield* validity(20.9), 20)
        assert.strictEqual(yield* validity(300, "2 minutes"), 120)
        assert.strictEqual(yield* validity(300, "10 minutes"), 300)
        assert.strictEqual(yield* validity(1e9, "1 day"), Policy.maxValiditySeconds)
      }))

    it.effect("refuses a challenge that leaves too little time to be settled", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(planOf(evm.offer({}, { expires: evm.expiring(14.9) })))
        assert.deepStrictEqual([error._tag, error._tag === "PolicyDenied" && error.rule], ["PolicyDenied", "validity"])
        const past = yield* Effect.flip(planOf(evm.offer({}, { expires: evm.expiring(-1) })))
        assert.strictEqual(past._tag, "PolicyDenied")
      }))

    it.effect("answers a challenge that never expires for its own time alone", () =>
      Effect.gen(function*() {
        const { plan } = yield* planOf(evm.offer({}, { expires: undefined }), { allowNoExpiry: true })
        assert.strictEqual(plan.spendableUntil, evm.now + 60_000)
      }))

    it.effect("two plans for one challenge have one nonce, so that a token takes one of them at most", () =>
      Effect.gen(function*() {
        const first = (yield* planOf(evm.offer())).plan
        yield* TestClock.adjust("10 seconds")
        const second = (yield* planOf(evm.offer({ amount: "20000" }, { expires: evm.expiring(100) }))).plan
        assert.strictEqual(dataOf(second).authorization.nonce, dataOf(first).authorization.nonce)
        const other = (yield* planOf(evm.offer({}, { id: "another" }))).plan
        assert.notStrictEqual(dataOf(other).authorization.nonce, dataOf(first).authorization.nonce)
      }))

    it.effect("refuses what the rail does not accept", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(planOf(evm.offer({ amount: "0" })))
        assert.strictEqual(error._tag, "PolicyDenied")
      }))
  })

  describe("sign", () => {
    it.effect("signs what was planned, and echoes the challenge as it was received", () =>
      Effect.gen(function*() {
        // neither in canonical order nor without spaces: whoever wrote it anew would write something else
        const request = btoa(
          `{ "recipient": "${exact.payee}", "currency": "${exact.token}",` +
            ` "methodDetails": { "decimals": 6, "credentialTypes": ["authorization"], "chainId": 84532 },  "amount": "10000" }`
        )
          .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")
        const challenge = evm.challenge({}, { request, opaque: "eyJhIjogIjEifQ", description: "a \"b\"" })
        const { plan, rail } = yield* planOf(evm.offerOf(challenge))
        const { envelopes } = yield* rail.sign(stored(plan))
        assert.lengthOf(envelopes, 1)
        assert.deepStrictEqual(Object.keys(envelopes[0]), ["authorization"])
        const credential = evm.opened(envelopes[0])
        assert.deepStrictEqual({ ...credential.challenge }, { ...challenge })
        assert.strictEqual(credential.source, `did:pkh:eip155:84532:${exact.payer}`)
        const { signature, type: _, ...authorization } = Schema.decodeUnknownSync(Payload)(credential.payload)
        const { authorization: planned, domain } = dataOf(plan)
        assert.deepStrictEqual(authorization, { ...planned })
        assert.isTrue(
          yield* Effect.promise(() =>
            verifyTypedData({ ...Eip3009.typedData(domain, planned), address: exact.payer, signature })
          )
        )
      }))

    it.effect("presents it in the field that the challenge names", () =>
      Effect.gen(function*() {
        const { plan, rail } = yield* planOf(evm.offer({}, { header: "Payment-Authorization" }))
        const { envelopes } = yield* rail.sign(plan)
        assert.deepStrictEqual(Object.keys(envelopes[0]), ["payment-authorization"])
      }))

    it.effect("signing the same plan again, also after a restart, gives the same bytes", () =>
      Effect.gen(function*() {
        const { plan, rail } = yield* planOf(evm.offer())
        const again = yield* evm.railWith()
        const bytes = (envelope: { readonly [header: string]: Redacted.Redacted<string> }) =>
          Redacted.value(envelope.authorization!)
        assert.strictEqual(
          bytes((yield* again.sign(stored(plan))).envelopes[0]),
          bytes((yield* rail.sign(plan)).envelopes[0])
        )
      }))

    it.effect("refuses a plan of another wallet or rail, or one that contradicts itself", () =>
      Effect.gen(function*() {
        const { plan, rail } = yield* planOf(evm.offer())
        const other = yield* evm.railWith({}, [], Wallet.layerPrivateKey(Redacted.make(`0x${"11".repeat(32)}`)))
        const failures = [
          other.sign(plan),
          rail.sign(new Plan({ ...plan, units: 1n })),
          rail.sign(new Plan({ ...plan, payee: exact.token })),
          rail.sign(new Plan({ ...plan, data: {} }))
        ]
        for (const failure of failures) assert.strictEqual((yield* Effect.flip(failure))._tag, "WalletError")
      }))

    it.effect("signs for no wallet with delegated code, where a node can say so", () =>
      Effect.gen(function*() {
        const node = nodeWith({
          network: exact.network,
          code: () => Effect.succeed<`0x${string}`>(`0xef0100${"11".repeat(20)}`)
        })
        yield* TestClock.setTime(evm.now)
        const rail = yield* evm.railWith({}, [node])
        const plan = yield* rail.plan(evm.offer(), exact.context)
        assert.include((yield* Effect.flip(rail.sign(plan))).message, "has code")
        const careless = yield* evm.railWith({ checkCode: false }, [node])
        assert.lengthOf((yield* careless.sign(plan)).envelopes, 1)
      }))

    it.effect("no signature stands in what is printed of a credential", () =>
      Effect.gen(function*() {
        const { plan, rail } = yield* planOf(evm.offer())
        const credential = yield* rail.sign(plan)
        const secret = Redacted.value(credential.envelopes[0]["authorization"]!)
        assert.notInclude(inspect(credential, { depth: 10 }) + JSON.stringify(credential), secret.slice(8, 40))
      }))

    it.effect("says whether it can repeat a signature by itself", () =>
      Effect.gen(function*() {
        const wallet = (resign: "equivalent" | "no") =>
          Layer.effect(
            Wallet.Wallet,
            Effect.map(
              Effect.provide(Wallet.Wallet, Wallet.layerPrivateKey(Redacted.make(exact.key))),
              (wallet) => ({ ...wallet, resign })
            )
          )
        assert.isTrue((yield* evm.railWith({}, [], wallet("equivalent"))).repeats)
        assert.isFalse((yield* evm.railWith({}, [], wallet("no"))).repeats)
      }))
  })

  describe("judge", () => {
    const judged = (status: number, headers: { readonly [name: string]: string }) =>
      Effect.map(
        planOf(evm.offer()),
        ({ plan, rail }) => rail.judge(stored(plan), { status, headers, body: undefined }, evm.now)
      )
    const receipt = (members: Schema.JsonObject) =>
      btoa(JSON.stringify({ method: "evm", status: "success", timestamp: "2026-01-01T00:00:00Z", ...members }))

    it.effect("takes a receipt for a settlement", () =>
      Effect.gen(function*() {
        const verdict = yield* judged(200, { "payment-receipt": receipt({ reference: `0x${"ab".repeat(32)}` }) })
        assert.isTrue(verdict._tag === "Settled" && verdict.content && verdict.units === 10_000n)
      }))

    it.effect("delivers without a receipt, and finds out about the money", () =>
      Effect.gen(function*() {
        const verdict = yield* judged(200, {})
        assert.isTrue(verdict._tag === "Unknown" && verdict.content)
      }))

    it.effect("knows nothing of plans of other rails", () =>
      Effect.gen(function*() {
        const { plan, rail } = yield* planOf(evm.offer())
        const answer = { status: 200, headers: {}, body: undefined }
        assert.strictEqual(rail.judge(new Plan({ ...plan, data: {} }), answer, 0)._tag, "Unknown")
        assert.strictEqual((yield* rail.reconcile(new Plan({ ...plan, data: {} })))._tag, "Unknown")
        assert.deepStrictEqual(yield* rail.balance!(new Plan({ ...plan, data: {} })), Option.none())
      }))
  })
})
