import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import type * as Chain from "../../src/Chain.ts"
import type { Offer } from "../../src/Offer.ts"
import * as Rails from "../../src/Rails.ts"
import * as EvmCharge from "../../src/rails/EvmCharge.ts"
import * as Wallet from "../../src/Wallet.ts"
import * as Json from "../../src/wire/Json.ts"
import * as Challenge from "../../src/wire/mpp/Challenge.ts"
import * as Credential from "../../src/wire/mpp/Credential.ts"
import * as exact from "./exact.ts"

export const methodDetails = { chainId: 84532, credentialTypes: ["authorization"], decimals: 6 }

export const request = { amount: "10000", currency: exact.token, recipient: exact.payee, methodDetails }

/** When the challenge was written: tests set their clock to it. */
export const now = 1_700_000_000_000

export const expiring = (seconds: number) => new Date(now + seconds * 1000).toISOString()

type Change<A> = { readonly [K in keyof A]?: A[K] | undefined }

const changed = <A extends object>(value: A, change: object): A =>
  Object.fromEntries(Object.entries({ ...value, ...change }).filter(([, member]) => member !== undefined)) as A

/** A challenge like one of the official server. */
export const challenge = (
  change: { readonly [member: string]: Schema.Json | undefined } = {},
  around: Change<Challenge.Challenge> = {}
): Challenge.Challenge =>
  changed<Challenge.Challenge>({
    id: "kM9xPqWvT2nJrHsY4aDfEb",
    realm: "a.test",
    method: "evm",
    intent: "charge",
    request: Json.toBase64Url(changed(request, change)),
    expires: expiring(300)
  }, around)

/** What the codec makes of it. */
export const offerOf = (challenge: Challenge.Challenge): Offer =>
  Result.getOrThrow(Challenge.toOffer(challenge, Option.getOrThrow(Challenge.requestOf(challenge))))

export const offer = (...change: Parameters<typeof challenge>) => offerOf(challenge(...change))

export const railWith = (
  options: EvmCharge.Options = {},
  nodes: ReadonlyArray<Chain.Node> = [],
  wallet = Wallet.layerPrivateKey(Redacted.make(exact.key))
) =>
  Effect.map(Rails.Rails.use((rails) => rails.all), (all) => all[0]!).pipe(
    Effect.provide(
      EvmCharge.layer(options).pipe(
        Layer.provideMerge(Rails.Rails.layer),
        Layer.provide([wallet, exact.chainOf(nodes)])
      )
    )
  )

/** The credential in an envelope. */
export const opened = (envelope: Rails.Envelope, header = "authorization"): Credential.Credential => {
  const presented = Option.getOrThrow(Credential.parse(Redacted.value(envelope[header]!)))
  if (presented._tag !== "Standard") throw new Error(`not a credential for a challenge: ${presented._tag}`)
  return presented.credential
}
