import { Effect, Option, Redacted } from "effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"
import * as Paywall from "../../src/merchant/Paywall.ts"
import * as Challenge from "../../src/wire/mpp/Challenge.ts"
import * as Credential from "../../src/wire/mpp/Credential.ts"
import * as Receipt from "../../src/wire/mpp/Receipt.ts"

export const origin = "http://127.0.0.1:4021"

export const secret = Redacted.make("0123456789abcdef0123456789abcdef")

export type Handler = Effect.Effect<HttpServerResponse.HttpServerResponse, never, HttpServerRequest.HttpServerRequest>

export const content: Handler = Effect.succeed(HttpServerResponse.jsonUnsafe({ secret: 42 }))

/** Asks a paywall, without a server. */
export const ask = Effect.fnUntraced(function*(
  path = "/data",
  init: RequestInit = {},
  options: { readonly terms?: Paywall.Terms; readonly handler?: Handler } = {}
) {
  const response = yield* Effect.provideService(
    Paywall.sell(options.terms ?? { price: "0.01" })(options.handler ?? content),
    HttpServerRequest.HttpServerRequest,
    HttpServerRequest.fromWeb(new Request(`${origin}${path}`, init))
  )
  return HttpServerResponse.toWeb(response)
})

/** The standard challenges of an answer. */
export const challengesOf = ({ headers }: Response): ReadonlyArray<Challenge.Challenge> =>
  Challenge.parse(headers.get("www-authenticate") ?? "").flatMap((outcome) =>
    outcome._tag === "Standard" ? [outcome.challenge] : []
  )

export const challengeOf = (response: Response): Challenge.Challenge => {
  const [challenge] = challengesOf(response)
  if (challenge === undefined) throw new Error(`No challenge: ${response.status}`)
  return challenge
}

/** What answers a challenge, as a request carries it. */
export const present = (credential: Credential.Credential, init: RequestInit = {}): RequestInit => ({
  ...init,
  headers: {
    ...init.headers as Record<string, string>,
    [Credential.headerOf(credential.challenge)]: Redacted.value(Credential.format(credential))
  }
})

export const receiptOf = ({ headers }: Response): Option.Option<Receipt.Standard> =>
  Option.filter(Receipt.decode(headers.get("payment-receipt") ?? ""), (receipt) => receipt.protocol === "mpp")

/** The status of an answer, and the code of its problem. */
export const outcomeOf = (response: Response): Effect.Effect<readonly [number, string | undefined]> =>
  response.ok
    ? Effect.succeed([response.status, undefined])
    : Effect.promise(() => response.json() as Promise<{ type?: string }>).pipe(
      Effect.map(({ type }) => [response.status, type?.split("/").at(-1)])
    )
