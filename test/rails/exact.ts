import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Schema from "effect/Schema"
import * as Chain from "../../src/Chain.ts"
import type { Offer } from "../../src/Offer.ts"
import * as Rails from "../../src/Rails.ts"
import * as ExactEvm from "../../src/rails/ExactEvm.ts"
import * as Wallet from "../../src/Wallet.ts"
import * as Json from "../../src/wire/Json.ts"
import * as Offers from "../../src/wire/x402/Offers.ts"
import * as V1 from "../../src/wire/x402/V1.ts"
import * as V2 from "../../src/wire/x402/V2.ts"

export const key = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
export const payer = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
export const payee = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
export const network = "eip155:84532"
export const token = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"

export const requirement = {
  scheme: "exact",
  network,
  amount: "10000",
  asset: token,
  payTo: payee,
  maxTimeoutSeconds: 60,
  extra: { name: "USDC", version: "2" }
}

export const requirementV1 = {
  scheme: "exact",
  network: "base-sepolia",
  maxAmountRequired: "10000",
  resource: "https://a.test/data",
  description: "data",
  mimeType: "application/json",
  payTo: payee,
  maxTimeoutSeconds: 60,
  asset: token,
  extra: { name: "USDC", version: "2" }
}

type Change = { readonly [member: string]: Schema.Json | undefined }

const changed = (json: Schema.JsonObject, change: Change) =>
  Object.fromEntries(
    Object.entries({ ...json, ...change }).filter((entry): entry is [string, Schema.Json] => entry[1] !== undefined)
  )

export const demandV2 = (change: Change = {}, around: Schema.JsonObject = {}): Schema.JsonObject => ({
  x402Version: 2,
  resource: { url: "https://a.test/data", description: "data" },
  accepts: [changed(requirement, change)],
  ...around
})

export const demandV1 = (change: Change = {}, around: Schema.JsonObject = {}): Schema.JsonObject => ({
  x402Version: 1,
  error: "X-PAYMENT header is required",
  accepts: [changed(requirementV1, change)],
  ...around
})

/** What the codecs make of demands. */
export const offers = (
  { v1, v2 }: { readonly v1?: Schema.JsonObject; readonly v2?: Schema.JsonObject }
): ReadonlyArray<Offer> =>
  Offers.make({
    v1: Option.flatMap(Option.fromUndefinedOr(v1), V1.fromJson),
    v2: Option.flatMap(Option.fromUndefinedOr(v2), V2.fromJson)
  }).offers

export const offerV2 = (change: Change = {}, around: Schema.JsonObject = {}) =>
  offers({ v2: demandV2(change, around) })[0]!
export const offerV1 = (change: Change = {}) => offers({ v1: demandV1(change) })[0]!
export const offerBoth = () => offers({ v1: demandV1(), v2: demandV2() })[0]!

export const context = { origin: "https://a.test", purchase: "purchase-1", agent: "test" }

/** A chain of scripted nodes. */
export const chainOf = (nodes: ReadonlyArray<Chain.Node> = []) =>
  Layer.succeed(Chain.Chain, {
    nodes: (asked) => nodes.filter((node) => node.network === asked),
    networks: [...new Set(nodes.map((node) => node.network))]
  })

export const railWith = (
  options: ExactEvm.Options = {},
  nodes: ReadonlyArray<Chain.Node> = [],
  wallet = Wallet.layerPrivateKey(Redacted.make(key))
) =>
  Effect.map(Rails.Rails.use((rails) => rails.all), (all) => all[0]!).pipe(
    Effect.provide(
      ExactEvm.layer(options).pipe(
        Layer.provideMerge(Rails.Rails.layer),
        Layer.provide([wallet, chainOf(nodes), SecureRandom.layerWebCrypto])
      )
    )
  )

/** What stands in an envelope. */
export const opened = (envelope: Rails.Envelope) =>
  Object.fromEntries(
    Object.entries(envelope).map(([name, value]) => [name, Option.getOrThrow(Json.fromBase64(Redacted.value(value)))])
  )
