/**
 * Messages to the merchant that manage a channel. They go to the resource that is paid for, and nothing is bought by them.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Demand from "../../Demand.ts"
import type { Offer } from "../../Offer.ts"
import { Unavailable } from "../../PaymentError.ts"
import * as Transport from "../../Transport.ts"
import * as Receipt from "../../wire/mpp/Receipt.ts"
import * as TempoSession from "../../wire/mpp/TempoSession.ts"

/**
 * A resource, and how it is asked for.
 *
 * @category models
 * @since 0.1.0
 */
export interface Resource {
  readonly method: string
  readonly url: string
}

/** A merchant waits for a block before it answers. */
const timeout = Duration.seconds(30)

const maxBody = 64 * 1024

/** With these a server says that it does not know the method, and has looked at nothing. */
const isOtherMethod = ({ status }: Demand.Answer) => status === 404 || status === 405 || status === 501

/**
 * What an answer's receipt says of a session.
 *
 * @category getters
 * @since 0.1.0
 */
export const receiptOf = ({ headers }: Demand.Answer): Option.Option<TempoSession.SessionReceipt> =>
  Option.flatMap(
    Option.flatMap(Option.fromUndefinedOr(headers["payment-receipt"]), Receipt.decode),
    TempoSession.receiptOf
  )

/**
 * Makes the sender of such messages.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (client: HttpClient.HttpClient) => {
  const send = (
    method: "HEAD" | "POST",
    url: string,
    headers: { readonly [name: string]: Redacted.Redacted<string> }
  ): Effect.Effect<Demand.Answer, Unavailable> => {
    const plain = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, Redacted.value(value)]))
    const request = HttpClientRequest.make(method)(url, { headers: { ...plain, "accept": "*/*" } })
    return client.execute(method === "POST" ? HttpClientRequest.setHeader(request, "content-length", "0") : request)
      .pipe(
        Effect.flatMap((response) =>
          Effect.map(
            method === "HEAD" ? Effect.succeedNone : Transport.readText(response, maxBody),
            (body): Demand.Answer => ({
              status: response.status,
              headers: response.headers,
              body: Option.getOrUndefined(body)
            })
          )
        ),
        Effect.mapError((error) => new Unavailable({ service: "merchant", notSent: Transport.isNotSent(error) })),
        Effect.timeoutOrElse({
          duration: timeout,
          orElse: () => Effect.fail(new Unavailable({ service: "merchant", notSent: false }))
        })
      )
  }

  /** `HEAD`, which no application answers by itself; `POST` without a body where the resource knows nothing else. */
  const manage = (
    { url }: Resource,
    headers: { readonly [name: string]: Redacted.Redacted<string> }
  ): Effect.Effect<Demand.Answer, Unavailable> =>
    Effect.flatMap(
      send("HEAD", url, headers),
      // What the first one carried has left by then, whatever becomes of the second.
      (answer) =>
        isOtherMethod(answer)
          ? Effect.mapError(send("POST", url, headers), ({ service }) => new Unavailable({ service, notSent: false }))
          : Effect.succeed(answer)
    )

  return {
    manage,
    /** The offers that the resource makes now. */
    offers: Effect.fnUntraced(function*(resource: Resource): Effect.fn.Return<ReadonlyArray<Offer>, Unavailable> {
      const answer = yield* manage(resource, {})
      return answer.status === 402 ? Demand.read(answer, yield* Clock.currentTimeMillis).offers : []
    })
  }
}
