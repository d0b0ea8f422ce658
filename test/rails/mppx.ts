import * as Asset from "../../src/Asset.ts"
import * as Mppx from "../../src/rails/Mppx.ts"
import * as Json from "../../src/wire/Json.ts"
import type * as Challenge from "../../src/wire/mpp/Challenge.ts"
import * as fixture from "./evmCharge.ts"

export const cents = Mppx.asset({ method: "acme", currency: "usd", decimals: 2 })
export const coin = new Asset.Asset({
  network: "eip155:1337",
  address: "0x20c0000000000000000000000000000000000000",
  symbol: "pathUSD",
  decimals: 6,
  usd: true,
  testnet: true
})

/** Not as anybody's canonical form would have it. */
export const foreignRequest = btoa(`{ "currency":"usd", "amount" : "1" }`).replaceAll("=", "")

export const challenge = (
  around: { readonly [K in keyof Challenge.Challenge]?: Challenge.Challenge[K] | undefined } = {}
) => fixture.challenge({}, { method: "acme", request: foreignRequest, opaque: "eyJhIjogIjEifQ", ...around })

export const requesting = (request: { readonly [member: string]: unknown }) =>
  challenge({ request: Json.toBase64Url(JSON.parse(JSON.stringify(request))) })

export const offer = (...change: Parameters<typeof challenge>) => fixture.offerOf(challenge(...change))

/** A method that answers as those of mppx do: the challenge is written anew. */
export const method = (
  createCredential: Mppx.ClientMethod["createCredential"] = ({ challenge }) => Promise.resolve(answered(challenge))
): Mppx.ClientMethod => ({ name: "acme", intent: "charge", createCredential })

export const answered = (
  { request, ...challenge }: Mppx.ClientChallenge,
  change: { readonly [member: string]: unknown } = {}
) =>
  `Payment ${
    Json.toBase64Url(JSON.parse(JSON.stringify({
      challenge: { ...challenge, request: Json.toBase64Url(JSON.parse(JSON.stringify(request))) },
      payload: { token: "tok_SECRET" },
      source: "acme:1",
      ...change
    })))
  }`
