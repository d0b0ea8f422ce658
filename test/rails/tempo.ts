import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Address, Hex } from "viem"
import type * as Chain from "../../src/Chain.ts"
import type { Offer } from "../../src/Offer.ts"
import type { WalletError } from "../../src/PaymentError.ts"
import * as Rails from "../../src/Rails.ts"
import * as TempoCharge from "../../src/rails/TempoCharge.ts"
import * as Wallet from "../../src/Wallet.ts"
import * as Json from "../../src/wire/Json.ts"
import * as Challenge from "../../src/wire/mpp/Challenge.ts"
import * as TempoTransaction from "../../src/wire/mpp/TempoTransaction.ts"
import { chainOf } from "./exact.ts"

export const key = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
export const payer: Address = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
export const payee: Address = "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc"
export const second: Address = "0x90f79bf6eb2c4f870365e785982e1f101e93b906"
export const third: Address = "0x15d34aaf54267db7d7c367839aaf71a00a2c6a65"
export const chainId = 42431
export const network = `eip155:${chainId}`
export const token: Address = "0x20c0000000000000000000000000000000000000"
export const alpha: Address = "0x20c0000000000000000000000000000000000001"
export const origin = "https://shop.example"
export const context = { origin, purchase: "purchase-1", agent: "test" }

export interface Change {
  readonly challenge?: { readonly [member: string]: string | undefined }
  readonly request?: { readonly [member: string]: Schema.Json | undefined }
  readonly details?: { readonly [member: string]: Schema.Json | undefined }
}

const defined = <A>(members: { readonly [name: string]: A | undefined }): { readonly [name: string]: A } =>
  Object.fromEntries(Object.entries(members).filter((member): member is [string, A] => member[1] !== undefined))

const decodeChallenge = Schema.decodeUnknownSync(Challenge.Challenge)

/** A challenge for a cent, until `expires`. */
export const challenge = ({ challenge = {}, details = {}, request = {} }: Change = {}): Challenge.Challenge =>
  decodeChallenge(defined({
    id: "challenge-1",
    realm: "shop.example",
    method: "tempo",
    intent: "charge",
    request: Json.toBase64Url(defined<Schema.Json>({
      amount: "10000",
      currency: token,
      recipient: payee,
      methodDetails: defined<Schema.Json>({ chainId, ...details }),
      ...request
    })),
    expires: "1970-01-01T00:05:00Z",
    ...challenge
  }))

export const offerOf = (challenge: Challenge.Challenge): Offer =>
  Result.getOrThrow(Challenge.toOffer(challenge, Option.getOrThrow(Challenge.requestOf(challenge))))

export const offer = (change: Change = {}): Offer => offerOf(challenge(change))

export const railOn = (
  options: TempoCharge.Options = {},
  wallet: Layer.Layer<Wallet.Wallet, WalletError> = Wallet.layerPrivateKey(Redacted.make(key))
) =>
  Effect.map(Rails.Rails.use((rails) => rails.all), (all) => all[0]!).pipe(
    Effect.provide(
      TempoCharge.layer(options).pipe(
        Layer.provideMerge(Rails.Rails.layer),
        Layer.provide([wallet, SecureRandom.layerWebCrypto])
      )
    )
  )

export const railWith = (
  options: TempoCharge.Options = {},
  nodes: ReadonlyArray<Chain.Node> = [],
  wallet?: Layer.Layer<Wallet.Wallet, WalletError>
) => Effect.provide(railOn(options, wallet), chainOf(nodes))

/** As the ledger keeps a plan and gives it back. */
export const stored = (plan: Rails.Plan): Rails.Plan =>
  Schema.decodeUnknownSync(Rails.Plan)(JSON.parse(JSON.stringify(Schema.encodeSync(Rails.Plan)(plan))))

/** What stands in the only envelope. */
export const presented = (credential: Rails.Credential) => {
  const [[header, value] = ["", Redacted.make("")], ...others] = Object.entries(credential.envelopes[0])
  if (others.length > 0 || credential.envelopes.length > 1) throw new Error("there is more than one header")
  const json = Option.getOrThrow(Json.fromBase64Url(Redacted.value(value).replace(/^Payment /, "")))
  const payload = json.payload
  if (!Json.isObject(payload)) throw new Error("there is no payload")
  return { header, json, payload }
}

/** The signed transaction of a credential. */
export const signed = (credential: Rails.Credential): Hex => {
  const { signature } = presented(credential).payload
  if (typeof signature !== "string" || !signature.startsWith("0x")) throw new Error("there is no transaction")
  return `0x${signature.slice(2)}`
}

export const transactionOf = (plan: Rails.Plan): TempoTransaction.Unsigned =>
  Schema.decodeUnknownSync(Schema.Struct({ transaction: TempoTransaction.Unsigned }))(plan.data).transaction
