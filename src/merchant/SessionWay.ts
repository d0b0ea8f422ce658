/**
 * Sells by token sessions of the `mpp/1.0` dialect: the price of each request is debited from the session whose token it
 * carries.
 *
 * @since 0.1.0
 */
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Receipt from "../wire/mpp/Receipt.ts"
import * as SeedChallenge from "../wire/mpp/SeedChallenge.ts"
import { type Debited, type DebitRefused, SessionAuthority } from "./SessionAuthority.ts"
import { Refused, type Sale, type Serve, unshared, type Way } from "./Way.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Where sessions are opened; named in the challenge. */
  readonly endpoint?: string | undefined
}

/**
 * A way to sell by token sessions.
 *
 * **Gotchas**
 *
 * A token is debited before the handler runs, because nothing is known of it before that. What the handler then answers,
 * an error included, carries the receipt.
 *
 * Beside charges, its challenge stands in the same field as theirs, and there are clients that give up on the whole field
 * where one challenge is not of the standard. A client that says by `Accept-Payment` what it can use is shown this one only
 * if that fits `token/session`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(
  function*(options: Options = {}): Effect.fn.Return<Way, never, SessionAuthority | SecureRandom.SecureRandom> {
    const authority = yield* SessionAuthority
    const random = yield* SecureRandom.SecureRandom

    const serve = (sale: Sale, token: Redacted.Redacted<string>): Serve => (handler) =>
      Effect.flatMap(
        Effect.mapError(
          authority.debit(token, { audience: sale.origin, realm: sale.realm, amountUsd: sale.priceUsd }),
          refusalOf
        ),
        (debited) => Effect.andThen(attachReceipt(debited), handler)
      )

    return {
      protocol: "mpp",
      sells: ({ priceUsd }) => priceUsd > 0n,
      demand: (sale) =>
        Effect.map(random.randomBytes(16), (bytes) => ({
          challenges: [{
            method: "token",
            intent: "session",
            value: SeedChallenge.format({
              id: `ch_${Base64Url.encode(bytes)}`,
              realm: sale.realm,
              resource: sale.resource,
              priceUsdc: sale.priceUsd,
              ...(options.endpoint === undefined ? {} : { sessionEndpoint: options.endpoint })
            })
          }],
          headers: {},
          members: {}
        })),
      presented: (sale, { credential }) =>
        credential?._tag === "Token" ? Option.some(serve(sale, credential.token)) : Option.none()
    }
  }
)

const attachReceipt = ({ amountUsd, remainingUsd, sessionId }: Debited) =>
  HttpEffect.appendPreResponseHandler((_, response) =>
    Effect.succeed(HttpServerResponse.setHeaders(response, {
      "payment-receipt": Receipt.encodeSeed({ sessionId, amount: amountUsd, remaining: remainingUsd }),
      "cache-control": unshared(response)
    }))
  )

/** A session that has ended is said with 401, so that it is renewed; a limit that is used up with 402. */
const refusalOf = ({ message, why }: DebitRefused): Refused => {
  switch (why) {
    case "expired":
    case "closed":
    case "unknown-token":
      return new Refused({ status: 401, code: "payment-expired", detail: message, demands: true })
    case "exhausted":
      return new Refused({ status: 402, code: "payment-insufficient", detail: message, demands: true })
    default:
      return new Refused({ status: 402, code: "verification-failed", detail: message, demands: true })
  }
}
