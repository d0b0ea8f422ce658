import { NodeHttpServer } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Option, Schema } from "effect"
import { HttpClient, HttpClientRequest, HttpRouter, HttpServerResponse } from "effect/http"
import { Facilitator, Settlement, Verification } from "../../src/merchant/Facilitator.ts"
import * as Paywall from "../../src/merchant/Paywall.ts"
import * as Evm from "../../src/testing/chain/Evm.ts"
import * as SettlementHeader from "../../src/wire/x402/Settlement.ts"
import * as V2 from "../../src/wire/x402/V2.ts"
import { nonceOf, sign } from "../merchant/signedPayments.ts"
import { OfficialFacilitator } from "./official/facilitator.ts"

/** The official facilitator in this process, on the local chain. */
const Official = Layer.effect(
  Facilitator,
  Effect.map(OfficialFacilitator, (official) => {
    // its answers as they are on the wire, without members that are undefined
    const decodeVerification = Schema.decodeUnknownEffect(Schema.fromJsonString(Verification))
    const decodeSettlement = Schema.decodeUnknownEffect(Schema.fromJsonString(Settlement))
    return Facilitator.of({
      verify: ({ paymentPayload, paymentRequirements }) =>
        Effect.promise(() => official.verify(paymentPayload as never, paymentRequirements as never)).pipe(
          Effect.flatMap((answer) => decodeVerification(JSON.stringify(answer))),
          Effect.orDie
        ),
      settle: ({ paymentPayload, paymentRequirements }) =>
        Effect.promise(() => official.settle(paymentPayload as never, paymentRequirements as never)).pipe(
          Effect.flatMap((answer) => decodeSettlement(JSON.stringify(answer))),
          Effect.orDie
        ),
      supported: Effect.succeed({ kinds: [] })
    })
  })
).pipe(Layer.provide(OfficialFacilitator.layer()))

const Shop = HttpRouter.serve(
  Paywall.route("GET", "/data", { price: "0.01" }, HttpServerResponse.json({ secret: 42 })),
  { disableLogger: true }
).pipe(
  Layer.provide(
    Layer.unwrap(
      Effect.map(
        Evm.EvmChain,
        ({ accounts, asset }) =>
          Paywall.layer({ ways: [Paywall.x402({ accepts: [{ asset, payTo: accounts[2]!.address }] })] })
      )
    )
  ),
  Layer.provideMerge(Layer.mergeAll(Official, NodeHttpServer.layerTest)),
  Layer.provideMerge(Evm.layer({ chainId: 84532 }))
)

const buy = Effect.fnUntraced(function*(payload: Effect.Success<ReturnType<typeof sign>>) {
  const { accounts, asset, network } = yield* Evm.EvmChain
  const accepted = { scheme: "exact", network, amount: "10000", asset: asset.address, payTo: accounts[2]!.address }
  const header = V2.encodePayment({ accepted, payload })
  return yield* HttpClient.execute(
    HttpClientRequest.setHeader(HttpClientRequest.get("/data"), V2.paymentHeader, header)
  )
})

const reasonFor = Effect.fnUntraced(function*(payload: Effect.Success<ReturnType<typeof sign>>) {
  const { headers } = yield* buy(payload)
  return Option.getOrThrow(V2.decodeHeader(headers[V2.requiredHeader] ?? "")).error
})

layer(Shop, { timeout: "60 seconds" })("a paywall over the official facilitator", (it) => {
  it.effect("settles a payment in the chain's token", () =>
    Effect.gen(function*() {
      const chain = yield* Evm.EvmChain
      const [, payer, payee] = chain.accounts
      yield* chain.mint(payer!.address, 1_000_000n)
      const response = yield* buy(yield* sign(payer!, { payTo: payee!.address, units: 10_000n }))
      assert.strictEqual(response.status, 200)
      assert.strictEqual(yield* chain.balance(payee!.address), 10_000n)
      const { success, transaction } = Option.getOrThrow(
        SettlementHeader.decode(response.headers[V2.responseHeader] ?? "")
      )
      assert.isTrue(success)
      assert.isTrue((yield* chain.transfers).some((transfer) => transfer.transaction === transaction))
    }))

  it.effect("hands on the reasons that the official facilitator finds on the chain", () =>
    Effect.gen(function*() {
      const chain = yield* Evm.EvmChain
      const [, payer, payee, , , , poor] = chain.accounts
      yield* chain.mint(payer!.address, 1_000_000n)
      const terms = { payTo: payee!.address, units: 10_000n }
      const cancelled = yield* sign(payer!, terms)
      yield* chain.cancelAuthorization(payer!, nonceOf(cancelled))
      assert.strictEqual(yield* reasonFor(cancelled), "invalid_exact_evm_nonce_already_used")
      assert.strictEqual(yield* reasonFor(yield* sign(poor!, terms)), "invalid_exact_evm_insufficient_balance")
      assert.strictEqual(
        yield* reasonFor(yield* sign(payer!, { ...terms, units: 9_999n })),
        "invalid_exact_evm_payload_authorization_value_mismatch"
      )
    }))
})
