import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { TestClock } from "effect/testing"
import { inspect } from "node:util"
import { verifyTypedData } from "viem"
import { privateKeyToAccount } from "viem/accounts"
import * as Asset from "../../src/Asset.ts"
import type * as Chain from "../../src/Chain.ts"
import { Offer } from "../../src/Offer.ts"
import { ChainError } from "../../src/PaymentError.ts"
import * as Policy from "../../src/Policy.ts"
import { Plan, shortage } from "../../src/Rails.ts"
import * as Eip3009 from "../../src/rails/Eip3009.ts"
import type * as ExactEvm from "../../src/rails/ExactEvm.ts"
import * as Wallet from "../../src/Wallet.ts"
import * as exact from "./exact.ts"
import { nodeWith } from "./node.ts"

const dataOf = (plan: Plan) =>
  Schema.decodeUnknownSync(Schema.Struct({
    domain: Eip3009.Domain,
    authorization: Eip3009.Authorization,
    plannedAt: Schema.Natural
  }))(plan.data)

/** As the ledger keeps a plan and gives it back. */
const stored = (plan: Plan) => Schema.decodeUnknownSync(Plan)(JSON.parse(JSON.stringify(Schema.encodeSync(Plan)(plan))))

const withCode = (code: Effect.Effect<`0x${string}`, ChainError>, asked = { count: 0 }): Chain.Node =>
  nodeWith({ network: exact.network, code: () => Effect.andThen(Effect.sync(() => asked.count++), code) })

describe("ExactEvm", () => {
  describe("accepts", () => {
    const accepts = (offer: Offer | undefined, options = {}) =>
      Effect.map(
        exact.railWith(options),
        (rail) => offer === undefined ? undefined : rail.accepts(offer, "https://a.test")
      )
    const isAccepted = (offer: Offer | undefined, options = {}) =>
      Effect.map(accepts(offer, options), (result) => result !== undefined && Result.isSuccess(result))

    it.effect("an exact offer in a known asset, of either version, and names the asset of our table", () =>
      Effect.gen(function*() {
        for (const offer of [exact.offerV1(), exact.offerV2(), exact.offerBoth()]) {
          const accepted = yield* accepts(offer)
          assert.isTrue(accepted !== undefined && Result.isSuccess(accepted))
          if (accepted !== undefined && Result.isSuccess(accepted)) {
            assert.strictEqual(accepted.success.address, exact.token.toLowerCase())
            assert.strictEqual(accepted.success.symbol, "USDC")
          }
        }
      }))

    it.effect("an asset whose address is written in another case", () =>
      Effect.gen(function*() {
        assert.isTrue(yield* isAccepted(exact.offerV2({ asset: exact.token.toLowerCase() })))
        assert.isTrue(yield* isAccepted(exact.offerV2({ payTo: exact.payee.toLowerCase() })))
      }))

    it.effect("no other scheme, protocol, network or asset", () =>
      Effect.gen(function*() {
        const { address: _, ...unknown } = { address: "", asset: `0x${"12".repeat(20)}` }
        assert.isFalse(yield* isAccepted(exact.offerV2({ scheme: "upto" })))
        assert.isFalse(yield* isAccepted(exact.offerV2({ network: "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp" })))
        assert.isFalse(yield* isAccepted(exact.offerV2(unknown)))
        assert.isFalse(yield* isAccepted(exact.offerV2({ network: "eip155:1" })))
        assert.isFalse(yield* isAccepted(new Offer({ ...exact.offerV2(), protocol: "mpp" })))
      }))

    it.effect("no asset that has no EIP-712 domain", () =>
      Effect.gen(function*() {
        const asset = `0x${"34".repeat(20)}`
        const plain = new Asset.Asset({
          network: exact.network,
          address: asset,
          symbol: "DAI",
          decimals: 18,
          usd: true,
          testnet: true
        })
        const accepted = yield* isAccepted(exact.offerV2({ asset })).pipe(Effect.provide(Asset.layer([plain])))
        assert.isFalse(accepted)
      }))

    it.effect("no domain that differs from our table; a version 1 that names none is given ours", () =>
      Effect.gen(function*() {
        assert.isFalse(yield* isAccepted(exact.offerV2({ extra: { name: "USD Coin", version: "2" } })))
        assert.isFalse(yield* isAccepted(exact.offerV2({ extra: { name: "USDC", version: "1" } })))
        assert.isFalse(yield* isAccepted(exact.offerV2({ extra: { name: "USDC", version: 2 } })))
        assert.isFalse(yield* isAccepted(exact.offerV2({ extra: undefined })))
        assert.isFalse(yield* isAccepted(exact.offerV1({ extra: { name: "USD Coin" } })))
        assert.isTrue(yield* isAccepted(exact.offerV1({ extra: undefined })))
        assert.isTrue(yield* isAccepted(exact.offerV1({ extra: { name: "USDC" } })))
      }))

    it.effect("decimals, contract and chain of the demand count for nothing", () =>
      Effect.gen(function*() {
        const rail = yield* exact.railWith()
        const offer = exact.offerV2({
          extra: { ...exact.requirement.extra, decimals: 18, verifyingContract: exact.payee, chainId: 1 }
        })
        const { domain } = dataOf(yield* rail.plan(offer, exact.context))
        assert.deepStrictEqual({ ...domain }, {
          name: "USDC",
          version: "2",
          chainId: 84532,
          verifyingContract: "0x036cbd53842c5426634e7929541ec2318f3dcf7e"
        })
      }))

    it.effect("only EIP-3009 transfers, paid after or before the content", () =>
      Effect.gen(function*() {
        const withExtra = (extra: Schema.JsonObject) =>
          exact.offerV2({ extra: { ...exact.requirement.extra, ...extra } })
        assert.isTrue(yield* isAccepted(withExtra({ assetTransferMethod: "eip3009", paymentFlow: "authorization" })))
        assert.isTrue(yield* isAccepted(withExtra({ paymentFlow: "upfront" })))
        assert.isFalse(yield* isAccepted(withExtra({ assetTransferMethod: "permit2" })))
        assert.isFalse(yield* isAccepted(withExtra({ assetTransferMethod: 1 })))
        assert.isFalse(yield* isAccepted(withExtra({ paymentFlow: "sideways" })))
        assert.isFalse(yield* isAccepted(withExtra({ paymentFlow: "escrow" })))
      }))

    it.effect("no payee that is the payer, the zero address, the token, or not an address", () =>
      Effect.gen(function*() {
        const payees = [
          exact.payer,
          exact.payer.toLowerCase(),
          `0x${"00".repeat(20)}`,
          exact.token,
          "0x1234",
          "vitalik.eth",
          // a checksum that does not hold
          exact.payee.replace("C44C", "c44C")
        ]
        for (const payTo of payees) assert.isFalse(yield* isAccepted(exact.offerV2({ payTo })), payTo)
      }))

    it.effect("nothing for nothing, and no merchant who does not wait fifteen seconds", () =>
      Effect.gen(function*() {
        assert.isFalse(yield* isAccepted(exact.offerV2({ amount: "0" })))
        assert.isFalse(yield* isAccepted(exact.offerV2({ maxTimeoutSeconds: 5 })))
        assert.isFalse(yield* isAccepted(exact.offerV2({ maxTimeoutSeconds: "60" })))
        assert.isTrue(yield* isAccepted(exact.offerV2({ maxTimeoutSeconds: 15 })))
        const { validitySeconds: _, ...impatient } = exact.offerV2()
        assert.isFalse(yield* isAccepted(new Offer(impatient)))
      }))

    it.effect("only the networks that the rail was given, if it was given any", () =>
      Effect.gen(function*() {
        assert.isTrue(yield* isAccepted(exact.offerV2(), { networks: [exact.network] }))
        const refused = yield* accepts(exact.offerV2(), { networks: ["eip155:8453"] })
        assert.isTrue(refused !== undefined && Result.isFailure(refused) && refused.failure.rule === "network")
      }))

    it.effect("no offer whose stored demand says something else, or cannot be read", () =>
      Effect.gen(function*() {
        const offer = exact.offerV2()
        assert.isFalse(yield* isAccepted(new Offer({ ...offer, units: 1n })))
        assert.isFalse(
          yield* isAccepted(new Offer({ ...offer, payee: exact.payee.replace("0x3C", "0x4C").toLowerCase() }))
        )
        assert.isFalse(yield* isAccepted(new Offer({ ...offer, wire: { envelopes: [] } })))
        assert.isFalse(yield* isAccepted(new Offer({ ...offer, wire: null })))
        assert.isFalse(yield* isAccepted(exact.offerV2({ padding: "x".repeat(5000) })))
      }))
  })

  describe("plan", () => {
    it.effect("holds the complete message, with a random nonce and a validity of at most a minute", () =>
      Effect.gen(function*() {
        const rail = yield* exact.railWith()
        yield* TestClock.setTime(1_700_000_000_999)
        const plan = yield* rail.plan(exact.offerV2({ maxTimeoutSeconds: 31_536_000 }), exact.context)
        const again = yield* rail.plan(exact.offerV2({ maxTimeoutSeconds: 20 }), exact.context)
        assert.strictEqual(plan.rail, "x402/exact")
        assert.strictEqual(plan.kind, "charge")
        assert.strictEqual(plan.units, 10_000n)
        assert.strictEqual(plan.payer, exact.payer)
        assert.strictEqual(plan.payee, exact.payee)
        assert.strictEqual(plan.spendableUntil, 1_700_000_060_000)
        assert.strictEqual(again.spendableUntil, 1_700_000_020_000)
        const { authorization, plannedAt } = dataOf(plan)
        assert.strictEqual(plannedAt, 1_700_000_000)
        assert.deepStrictEqual({ ...authorization, nonce: "" }, {
          from: exact.payer,
          to: exact.payee,
          value: "10000",
          validAfter: "0",
          validBefore: "1700000060",
          nonce: ""
        })
        assert.match(authorization.nonce, /^0x[0-9a-f]{64}$/)
        assert.notStrictEqual(authorization.nonce, dataOf(again).authorization.nonce)
      }))

    it.effect("a longer validity is an option", () =>
      Effect.gen(function*() {
        const rail = yield* exact.railWith({ maxValidity: "2 minutes" })
        const plan = yield* rail.plan(exact.offerV2({ maxTimeoutSeconds: 300 }), exact.context)
        assert.strictEqual(plan.spendableUntil, 120_000)
      }))

    it.effect("never is valid for longer than the policy allows, nor for too short to be settled, whatever the option says", () =>
      Effect.gen(function*() {
        const validity = (maxValidity: ExactEvm.Options["maxValidity"]) =>
          Effect.gen(function*() {
            const rail = yield* exact.railWith({ maxValidity })
            const plan = yield* rail.plan(exact.offerV2({ maxTimeoutSeconds: 31_536_000 }), exact.context)
            return plan.spendableUntil! / 1000
          })
        assert.strictEqual(yield* validity("1 day"), Policy.maxValiditySeconds)
        assert.strictEqual(yield* validity("Infinity"), Policy.maxValiditySeconds)
        assert.strictEqual(yield* validity("1 second"), Policy.minValiditySeconds)
      }))

    it.effect("refuses what the rail does not accept", () =>
      Effect.gen(function*() {
        const rail = yield* exact.railWith()
        const error = yield* Effect.flip(rail.plan(exact.offerV2({ scheme: "upto" }), exact.context))
        assert.strictEqual(error._tag, "PolicyDenied")
      }))
  })

  describe("sign", () => {
    it.effect("signs what was planned, under the domain of our table", () =>
      Effect.gen(function*() {
        const rail = yield* exact.railWith()
        const plan = yield* rail.plan(exact.offerV2(), exact.context)
        const { authorization, domain } = dataOf(plan)
        const { envelopes } = yield* rail.sign(stored(plan))
        const sent = exact.opened(envelopes[0])["payment-signature"]!
        assert.deepStrictEqual(sent.accepted, exact.requirement)
        assert.deepStrictEqual(sent.resource, { url: "https://a.test/data", description: "data" })
        assert.strictEqual(sent.x402Version, 2)
        const { authorization: sentAuthorization, signature } = Schema.decodeUnknownSync(
          Schema.Struct({
            signature: Schema.TemplateLiteral(["0x", Schema.String]),
            authorization: Eip3009.Authorization
          })
        )(sent.payload)
        assert.deepStrictEqual(sentAuthorization, authorization)
        assert.isTrue(
          yield* Effect.promise(() =>
            verifyTypedData({ ...Eip3009.typedData(domain, authorization), address: exact.payer, signature })
          )
        )
      }))

    it.effect("a version 1 demand is answered in its own envelope, with its own name for the network", () =>
      Effect.gen(function*() {
        const rail = yield* exact.railWith()
        const plan = yield* rail.plan(exact.offerV1(), exact.context)
        const { envelopes } = yield* rail.sign(plan)
        const { payload, ...sent } = exact.opened(envelopes[0])["x-payment"]!
        assert.strictEqual(envelopes.length, 1)
        assert.deepStrictEqual(sent, { x402Version: 1, scheme: "exact", network: "base-sepolia" })
        assert.isDefined(payload)
      }))

    it.effect("an offer of both versions gives the same authorisation in both envelopes", () =>
      Effect.gen(function*() {
        const rail = yield* exact.railWith()
        const { envelopes } = yield* rail.sign(yield* rail.plan(exact.offerBoth(), exact.context))
        assert.deepStrictEqual(envelopes.map((envelope) => Object.keys(envelope)), [["payment-signature"], [
          "x-payment"
        ]])
        assert.deepStrictEqual(
          exact.opened(envelopes[0])["payment-signature"]!.payload,
          exact.opened(envelopes[1]!)["x-payment"]!.payload
        )
      }))

    it.effect.prop(
      "signing the same plan again, also after a restart, gives the same envelopes",
      {
        amount: Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: 1n, maximum: 2n ** 256n - 1n })),
        maxTimeoutSeconds: Schema.Int.check(Schema.isBetween({ minimum: 15, maximum: 1_500_000_000 })),
        text: Schema.String
      },
      ({ amount, maxTimeoutSeconds, text }) =>
        Effect.gen(function*() {
          const change = { maxTimeoutSeconds, extra: { ...exact.requirement.extra, text } }
          const offer = exact.offers({
            v2: exact.demandV2({ ...change, amount: amount.toString() }, {
              extensions: { bazaar: { info: { text } } }
            }),
            v1: exact.demandV1({ ...change, maxAmountRequired: amount.toString() })
          })[0]!
          const plan = yield* (yield* exact.railWith()).plan(offer, exact.context)
          const first = yield* (yield* exact.railWith()).sign(plan)
          const second = yield* (yield* exact.railWith()).sign(stored(plan))
          const revealed = (envelopes: typeof first.envelopes) =>
            envelopes.map((envelope) => Object.entries(envelope).map(([name, value]) => [name, Redacted.value(value)]))
          assert.deepStrictEqual(revealed(second.envelopes), revealed(first.envelopes))
        }),
      { arbitrary: { runs: 15 } }
    )

    it.effect("extensions go back whole, and only an advertised payment identifier gets an id: one for each purchase", () =>
      Effect.gen(function*() {
        const rail = yield* exact.railWith()
        const bazaar = { info: { input: { type: "http" } }, schema: {} }
        const identifier = { info: { required: true }, schema: { type: "object" } }
        const sent = (extensions: Schema.JsonObject, purchase: string) =>
          Effect.gen(function*() {
            const offer = exact.offerV2({}, { extensions })
            const { envelopes } = yield* rail.sign(yield* rail.plan(offer, { ...exact.context, purchase }))
            return exact.opened(envelopes[0])["payment-signature"]!.extensions
          })
        assert.deepStrictEqual(yield* sent({ bazaar }, "1"), { bazaar })
        const ofFirst = yield* sent({ bazaar, "payment-identifier": identifier }, "1")
        assert.deepStrictEqual(yield* sent({ bazaar, "payment-identifier": identifier }, "1"), ofFirst)
        assert.notDeepEqual(yield* sent({ bazaar, "payment-identifier": identifier }, "2"), ofFirst)
        const { id } = Schema.decodeUnknownSync(
          Schema.Struct({ "payment-identifier": Schema.Struct({ info: Schema.Struct({ id: Schema.String }) }) })
        )(ofFirst)["payment-identifier"].info
        assert.match(id, /^pay_[0-9a-f]{32}$/)
        assert.deepStrictEqual(ofFirst, {
          bazaar,
          "payment-identifier": { ...identifier, info: { required: true, id } }
        })
      }))

    it.effect("what is too long to be echoed is left out", () =>
      Effect.gen(function*() {
        const rail = yield* exact.railWith()
        const offer = exact.offerV2({}, {
          extensions: { bazaar: { info: "x".repeat(5000) } },
          resource: { url: "https://a.test/", description: "x".repeat(5000) }
        })
        const { envelopes } = yield* rail.sign(yield* rail.plan(offer, exact.context))
        assert.sameMembers(
          Object.keys(exact.opened(envelopes[0])["payment-signature"]!),
          ["x402Version", "accepted", "payload"]
        )
      }))

    it.effect("refuses a plan of another wallet, or one that contradicts itself", () =>
      Effect.gen(function*() {
        const rail = yield* exact.railWith()
        const plan = yield* rail.plan(exact.offerV2(), exact.context)
        const other = yield* exact.railWith({}, [], Wallet.layerPrivateKey(Redacted.make(`0x${"11".repeat(32)}`)))
        const failures = [
          other.sign(plan),
          rail.sign(new Plan({ ...plan, units: 1n })),
          rail.sign(new Plan({ ...plan, payee: exact.token })),
          rail.sign(new Plan({ ...plan, network: "eip155:1" })),
          rail.sign(new Plan({ ...plan, asset: exact.offerV2().payee })),
          rail.sign(new Plan({ ...plan, spendableUntil: plan.spendableUntil! + 1_000 })),
          rail.sign(new Plan({ ...plan, data: {} }))
        ]
        for (const failure of failures) assert.strictEqual((yield* Effect.flip(failure))._tag, "WalletError")
      }))

    it.effect("no signature stands in what is printed of a credential", () =>
      Effect.gen(function*() {
        const rail = yield* exact.railWith()
        const credential = yield* rail.sign(yield* rail.plan(exact.offerBoth(), exact.context))
        const secret = Redacted.value(credential.envelopes[0]["payment-signature"]!)
        assert.notInclude(inspect(credential, { depth: 10 }) + JSON.stringify(credential), secret.slice(0, 40))
      }))

    it.effect("says whether it can repeat a signature by itself", () =>
      Effect.gen(function*() {
        const account = privateKeyToAccount(exact.key)
        const wallet = (resign: "same" | "equivalent" | "no") =>
          Layer.succeed(Wallet.Wallet, {
            address: account.address,
            resign,
            signTypedData: () => Effect.succeed("0x" as const),
            signTransaction: () => Effect.succeed("0x" as const)
          })
        assert.isTrue((yield* exact.railWith({}, [], wallet("equivalent"))).repeats)
        assert.isFalse((yield* exact.railWith({}, [], wallet("no"))).repeats)
      }))
  })

  describe("balance", () => {
    const holding = (answer: Effect.Effect<`0x${string}`, ChainError>): Chain.Node => ({
      ...withCode(Effect.succeed("0x")),
      call: (to, data) => {
        assert.deepStrictEqual([to.toLowerCase(), data], [
          exact.token.toLowerCase(),
          `0x70a08231${"0".repeat(24)}${exact.payer.slice(2).toLowerCase()}`
        ])
        return answer
      }
    })
    const asked = (nodes: ReadonlyArray<Chain.Node>) =>
      Effect.gen(function*() {
        const rail = yield* exact.railWith({}, nodes)
        const plan = yield* rail.plan(exact.offerV2(), exact.context)
        const asset = Asset.known.find(({ network }) => network === exact.network)
        return { balance: rail.balance!(plan), shortage: shortage(rail, plan, asset!) }
      })
    const units = (value: bigint) => Effect.succeed<`0x${string}`>(`0x${value.toString(16).padStart(64, "0")}`)

    it.effect("is what the payer holds of the plan's asset", () =>
      Effect.gen(function*() {
        const enough = yield* asked([holding(units(10_000n))])
        assert.deepStrictEqual(yield* enough.balance, Option.some(10_000n))
        assert.isTrue(Option.isNone(yield* enough.shortage))
        const short = yield* asked([holding(units(9_999n))])
        const { message, ...error } = Option.getOrThrow(yield* short.shortage)
        assert.deepInclude(error, { network: exact.network, asset: "USDC", needed: 10_000n, available: 9_999n })
        assert.include(message, "holds 9999 base units of USDC")
      }))

    it.effect("is not known without a node, or where the node does not answer in two seconds", () =>
      Effect.gen(function*() {
        assert.isTrue(Option.isNone(yield* (yield* asked([])).balance))
        const hanging = yield* Effect.forkChild((yield* asked([holding(Effect.never)])).balance, {
          startImmediately: true
        })
        yield* TestClock.adjust("2 seconds")
        assert.isTrue(Option.isNone(yield* Fiber.join(hanging)))
      }))

    it.effect("is an error of the chain where the token answers nonsense, and then nothing is lacking", () =>
      Effect.gen(function*() {
        const { balance, shortage } = yield* asked([holding(Effect.succeed("0x"))])
        assert.strictEqual((yield* Effect.flip(balance))._tag, "ChainError")
        assert.isTrue(Option.isNone(yield* shortage))
      }))
  })

  describe("a wallet with code", () => {
    const signing = (node: Chain.Node, options = {}) =>
      Effect.gen(function*() {
        const rail = yield* exact.railWith(options, [node])
        const plan = yield* rail.plan(exact.offerV2(), exact.context)
        return { rail, plan }
      })

    it.effect("is refused before the first signature, unless the check is off", () =>
      Effect.gen(function*() {
        const delegated = withCode(Effect.succeed(`0xef0100${"11".repeat(20)}` as const))
        const { plan, rail } = yield* signing(delegated)
        const error = yield* Effect.flip(rail.sign(plan))
        assert.include(error.message, "has code")
        const unchecked = yield* signing(delegated, { checkCode: false })
        yield* unchecked.rail.sign(unchecked.plan)
      }))

    it.effect("is looked for once per network", () =>
      Effect.gen(function*() {
        const asked = { count: 0 }
        const { plan, rail } = yield* signing(withCode(Effect.succeed("0x" as const), asked))
        yield* rail.sign(plan)
        yield* rail.sign(plan)
        assert.strictEqual(asked.count, 1)
      }))

    it.effect("is not looked for twice as long as a node may take: a payment does not wait for it", () =>
      Effect.gen(function*() {
        const failing = yield* signing(
          withCode(Effect.fail(new ChainError({ network: exact.network, operation: "code", detail: "down" })))
        )
        yield* failing.rail.sign(failing.plan)
        const hanging = yield* signing(withCode(Effect.never))
        const fiber = yield* Effect.forkChild(hanging.rail.sign(hanging.plan), { startImmediately: true })
        yield* TestClock.adjust("2 seconds")
        assert.isDefined(fiber.pollUnsafe())
      }))
  })
})
