/**
 * What became of a payment, asked of a real node: the hostile and unlucky ends of an authorisation.
 */
import { assert, layer } from "@effect/vitest"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { TestClock } from "effect/testing"
import { encodeFunctionData } from "viem"
import * as Asset from "../../src/Asset.ts"
import * as Chain from "../../src/Chain.ts"
import type { Plan, Rail, Verdict } from "../../src/Rails.ts"
import * as Rails from "../../src/Rails.ts"
import * as Eip3009 from "../../src/rails/Eip3009.ts"
import * as ExactEvm from "../../src/rails/ExactEvm.ts"
import * as Evm from "../../src/testing/chain/Evm.ts"
import * as TestToken from "../../src/testing/chain/TestToken.ts"
import * as Transport from "../../src/Transport.ts"
import * as Wallet from "../../src/Wallet.ts"
import * as Json from "../../src/wire/Json.ts"
import * as exact from "./exact.ts"

const Sent = Schema.Struct({
  payload: Schema.Struct({
    signature: Schema.TemplateLiteral(["0x", Schema.String]),
    authorization: Eip3009.Authorization
  })
})

/** A rail on the chain, its clock at the time of the chain. */
const railOn = Effect.fnUntraced(function*(rpc?: string | ReadonlyArray<string>) {
  const chain = yield* Evm.EvmChain
  const [rail] = yield* Rails.Rails.use((rails) => rails.all).pipe(
    Effect.provide(
      ExactEvm.layer().pipe(
        Layer.provideMerge(Rails.Rails.layer),
        Layer.provide([
          Wallet.layerPrivateKey(chain.accounts[1]!.privateKey),
          Chain.layer({ rpc: { [chain.network]: rpc ?? chain.rpcUrl } }),
          SecureRandom.layerWebCrypto
        ]),
        Layer.provide(Transport.layer),
        Layer.provide(FetchHttpClient.layer),
        Layer.provide(Asset.layer([chain.asset]))
      )
    )
  )
  return rail!
})

const planOn = Effect.fnUntraced(function*(rail: Rail) {
  const chain = yield* Evm.EvmChain
  yield* chain.mint(chain.accounts[1]!.address, 10_000n)
  yield* TestClock.setTime(Number(yield* chain.now) * 1000)
  return yield* rail.plan(
    exact.offerV2({ network: chain.network, asset: chain.asset.address, extra: { ...chain.asset.domain! } }),
    exact.context
  )
})

/** Submits the authorisation, as a facilitator or anybody who saw it does. */
const submit = Effect.fnUntraced(function*(rail: Rail, plan: Plan, from: number) {
  const chain = yield* Evm.EvmChain
  const { envelopes } = yield* rail.sign(plan)
  const { authorization, signature } = Schema.decodeUnknownSync(Sent)(
    exact.opened(envelopes[0])["payment-signature"]
  ).payload
  const transaction = yield* chain.rpc("eth_sendTransaction", [{
    from: chain.accounts[from]!.address,
    to: chain.asset.address,
    data: encodeFunctionData({
      abi: TestToken.abi,
      functionName: "transferWithAuthorization",
      args: [
        authorization.from,
        authorization.to,
        BigInt(authorization.value),
        BigInt(authorization.validAfter),
        BigInt(authorization.validBefore),
        authorization.nonce,
        signature
      ]
    })
  }])
  return String(transaction)
})

const nonceOf = (plan: Plan) =>
  Schema.decodeUnknownSync(Schema.Struct({ authorization: Eip3009.Authorization }))(plan.data).authorization.nonce

/** Makes all blocks so far final. */
const finalize = Effect.gen(function*() {
  const chain = yield* Evm.EvmChain
  yield* chain.mine(130)
})

const seconds = (plan: Plan) => BigInt(plan.spendableUntil!) / 1000n

const shown = ({ _tag, evidence }: Verdict) => `${_tag} (${evidence.rank}: ${evidence.what})`

layer(Evm.layer({ chainId: 84532 }), { timeout: "60 seconds" })("ExactEvm on a chain", (it) => {
  it.effect("a server that refuses and takes the money in the last second is found out", () =>
    Effect.gen(function*() {
      const chain = yield* Evm.EvmChain
      const rail = yield* railOn()
      const plan = yield* planOn(rail)
      const refusal = {
        status: 402,
        headers: {
          "payment-required": Json.toBase64(exact.demandV2({}, { error: "invalid_exact_evm_signature" }))
        },
        body: undefined
      }
      assert.strictEqual(rail.judge(plan, refusal, 0)._tag, "Rejected")
      assert.strictEqual(shown(yield* rail.reconcile(plan)), "Unknown (observed: authorization unused so far)")
      yield* chain.setNextTimestamp(seconds(plan) - 1n)
      const transaction = yield* submit(rail, plan, 0)
      const early = yield* rail.reconcile(plan)
      assert.strictEqual(shown(early), "Settled (observed: authorization used)")
      assert.strictEqual(early.evidence.reference, transaction)
      yield* finalize
      const late = yield* rail.reconcile(plan)
      assert.strictEqual(shown(late), "Settled (proven: authorization used)")
      assert.isUndefined(late.evidence.mismatch)
    }))

  it.effect("a server that refuses and never takes the money: void once a final block has outlived it", () =>
    Effect.gen(function*() {
      const chain = yield* Evm.EvmChain
      const rail = yield* railOn()
      const plan = yield* planOn(rail)
      yield* rail.sign(plan)
      yield* chain.setNextTimestamp(seconds(plan))
      yield* chain.mine(1)
      assert.strictEqual(shown(yield* rail.reconcile(plan)), "Unknown (observed: authorization unused so far)")
      yield* finalize
      assert.strictEqual(shown(yield* rail.reconcile(plan)), "Void (proven: authorization expired unused)")
      assert.isFalse(yield* chain.authorizationState(chain.accounts[1]!.address, nonceOf(plan)))
    }))

  it.effect("somebody else who submits it settles it all the same, with his transaction", () =>
    Effect.gen(function*() {
      const rail = yield* railOn()
      const plan = yield* planOn(rail)
      const transaction = yield* submit(rail, plan, 5)
      yield* finalize
      const verdict = yield* rail.reconcile(plan)
      assert.strictEqual(shown(verdict), "Settled (proven: authorization used)")
      assert.strictEqual(verdict.evidence.reference, transaction)
    }))

  it.effect("a nonce that was cancelled elsewhere is void, and not spent, as soon as that is final", () =>
    Effect.gen(function*() {
      const chain = yield* Evm.EvmChain
      const rail = yield* railOn()
      const plan = yield* planOn(rail)
      yield* chain.cancelAuthorization(chain.accounts[1]!, nonceOf(plan))
      assert.strictEqual(shown(yield* rail.reconcile(plan)), "Unknown (observed: authorization canceled)")
      yield* finalize
      assert.strictEqual(shown(yield* rail.reconcile(plan)), "Void (proven: authorization canceled)")
    }))

  it.effect("a chain that stands still beyond its validity and catches up with old stamps: no early release", () =>
    Effect.gen(function*() {
      const chain = yield* Evm.EvmChain
      const rail = yield* railOn()
      const plan = yield* planOn(rail)
      yield* TestClock.adjust("2 hours")
      assert.strictEqual(shown(yield* rail.reconcile(plan)), "Unknown (observed: authorization unused so far)")
      yield* chain.setNextTimestamp(seconds(plan) - 20n)
      yield* submit(rail, plan, 0)
      yield* finalize
      assert.strictEqual(shown(yield* rail.reconcile(plan)), "Settled (proven: authorization used)")
    }))

  it.effect("two nodes that agree release, and money is taken at most once however often it is submitted", () =>
    Effect.gen(function*() {
      const chain = yield* Evm.EvmChain
      const rail = yield* railOn([chain.rpcUrl, chain.rpcUrl])
      const spent = yield* planOn(rail)
      const before = (yield* chain.transfers).length
      yield* submit(rail, spent, 0)
      yield* Effect.exit(submit(rail, spent, 5))
      assert.strictEqual((yield* chain.transfers).length, before + 1)
      const unspent = yield* planOn(rail)
      yield* chain.setNextTimestamp(seconds(unspent))
      yield* finalize
      assert.strictEqual(shown(yield* rail.reconcile(unspent)), "Void (proven: authorization expired unused)")
    }))

  it.effect("a wallet with delegated code is not signed for", () =>
    Effect.gen(function*() {
      const chain = yield* Evm.EvmChain
      const payer = chain.accounts[1]!.address
      const rail = yield* railOn()
      const plan = yield* planOn(rail)
      yield* Effect.acquireRelease(
        chain.rpc("anvil_setCode", [payer, `0xef0100${"11".repeat(20)}`]),
        () => Effect.orDie(chain.rpc("anvil_setCode", [payer, "0x"]))
      )
      assert.include((yield* Effect.flip(rail.sign(plan))).message, "has code")
    }))
})
