/**
 * `HttpClient` in, paying `HttpClient` out.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { Answer } from "./Demand.ts"
import type { Exchange } from "./Exchange.ts"
import * as Payment from "./Payment.ts"
import * as PaymentError from "./PaymentError.ts"
import * as Policy from "./Policy.ts"
import * as PurchaseKey from "./PurchaseKey.ts"
import * as Rails from "./Rails.ts"
import * as ResponseBody from "./ResponseBody.ts"
import * as Transport from "./Transport.ts"

type Request = HttpClientRequest.HttpClientRequest
type Response = HttpClientResponse.HttpClientResponse
type HttpError = HttpClientError.HttpClientError

/**
 * A client that pays. Its failures are those of HTTP and {@link PaymentError.PaymentError}.
 *
 * **Details**
 *
 * It is a drop-in: an exchange in which nothing of ours was sent and no offer was recognised passes through untouched,
 * whatever its status. It follows redirects itself, above payment, at most {@link maxRedirects} of them: each hop is a new
 * request without a credential and a new decision, and another origin is never paid.
 *
 * @category services
 * @since 0.1.0
 */
export class PayingClient
  extends Context.Service<PayingClient, HttpClient.HttpClient.With<HttpError | PaymentError.PaymentError>>()(
    "effect-mpp/PayingClient"
  )
{}

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * Whether every request says by `Accept-Payment` which methods of the Payment scheme the agent can pay by, so that
   * servers can leave out what it cannot. Default: false, since it also tells servers that sell nothing.
   */
  readonly acceptPayment?: boolean | undefined
}

/**
 * How many redirects are followed.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxRedirects = 5

/** How much of a 402's body is looked at. */
const maxDemandBytes = 256 * 1024

/** A body that trickles is not waited for longer: what a demand says in its headers counts then. */
const maxDemandTime = Duration.seconds(10)

const peek = (response: Response) =>
  Effect.timeoutOrElse(ResponseBody.peek(response, maxDemandBytes), {
    duration: maxDemandTime,
    orElse: () => Effect.succeed({ response, text: undefined })
  })

/** What a hop remembers of those before it in a chain of redirects. */
interface Walk {
  /** Where it began: payment never crosses an origin. */
  readonly first: URL
  /** The request that it began with, whose URL is the first. */
  readonly request: Request
  /** One of them went over https: none goes over plain http any more. */
  secure: boolean
}

/** Takes the next hop, or says why not: nothing goes back from https to plain http. */
const hop = (walk: Walk, request: Request, url: URL): HttpError | undefined => {
  if (walk.secure && url.protocol === "http:") {
    return new HttpClientError.HttpClientError({
      reason: new HttpClientError.InvalidUrlError({ request, description: "redirect from https to http" })
    })
  }
  walk.secure ||= url.protocol === "https:"
  return undefined
}

/** Whether the caller neither wants to see redirects nor takes them for failures. */
const followsRedirects = (context: Context.Context<never>): boolean => {
  const redirect = Context.getOrUndefined(context, FetchHttpClient.RequestInit)?.redirect
  return redirect !== "manual" && redirect !== "error"
}

const safeMethods: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE"])

const obstacleOf = (request: Request, url: URL, first: URL | undefined): Option.Option<PaymentError.PolicyDenied> => {
  const denied = (rule: string, detail: string) => Option.some(new PaymentError.PolicyDenied({ rule, detail }))
  if (first !== undefined && first.origin !== url.origin) return Policy.redirected(first.origin, url.origin)
  if (request.headers["payment-authorization"] !== undefined) {
    return denied("authorization-in-use", "the request carries a payment of its own")
  }
  const { body } = request
  return body._tag === "Stream" || (body._tag === "Raw" && body.body instanceof ReadableStream)
    ? denied("unreplayable-body", "a streamed body cannot be sent a second time; send it as bytes to have it paid for")
    : Option.none()
}

const isBodiless = ({ method }: Request, { headers, status }: Response): boolean =>
  method === "HEAD" || status === 204 || status === 205 || headers["content-length"] === "0"

const withEnvelope = (request: Request, envelope: Rails.Envelope | undefined): Request =>
  envelope === undefined
    ? request
    : HttpClientRequest.setHeaders(
      request,
      Object.fromEntries(Object.entries(envelope).map(([name, value]) => [name, Redacted.value(value)]))
    )

/**
 * A merchant recognises the same purchase by it, should an answer be lost. Only the caller's own key says that his request
 * can be repeated.
 */
const withKey = (request: Request, purchase: string | undefined): Request =>
  purchase === undefined || safeMethods.has(request.method) || request.headers["idempotency-key"] !== undefined
    ? request
    : HttpClientRequest.setHeader(request, "idempotency-key", purchase)

const noContent = new Uint8Array()

const contentOf = ({ body }: Request): Uint8Array | undefined =>
  body._tag === "Empty" ? noContent : body._tag === "Uint8Array" ? body.body : undefined

const exchangeOf = (
  transport: HttpClient.HttpClient,
  request: Request,
  url: URL,
  first: URL | undefined,
  outgoing = request
): Exchange<Response, HttpError> => {
  let attached = false
  return {
    origin: url.origin,
    method: request.method,
    path: url.pathname,
    key: (agent) => PurchaseKey.of(agent, request, url),
    repeatable: safeMethods.has(request.method) || request.headers["idempotency-key"] !== undefined,
    authorized: request.headers.authorization !== undefined,
    content: contentOf(request),
    acceptPayment: request.headers["accept-payment"],
    obstacle: obstacleOf(request, url, first),
    send: (envelope, purchase) => {
      attached = envelope !== undefined
      return transport.postprocess(Effect.succeed(withKey(withEnvelope(outgoing, envelope), purchase)))
    },
    isNotSent: Transport.isNotSent,
    answer: (response) => {
      const { status } = response
      // Nothing of ours was sent and nothing is demanded: no matter who answered.
      if (status !== 402 && !attached) {
        return Effect.succeed({
          answer: new ResponseAnswer(response, undefined),
          value: response,
          elsewhere: Option.none()
        })
      }
      // A client below us that follows redirects by itself may have asked somebody else.
      const elsewhere = isAt(url.origin, response.url)
        ? Option.none()
        : Policy.redirected(url.origin, response.url)
      return status < 400
        ? Effect.succeed({ answer: new ResponseAnswer(response, undefined), value: response, elsewhere })
        : Effect.map(peek(response), ({ response: value, text }) => ({
          answer: new ResponseAnswer(response, text),
          value,
          elsewhere
        }))
    },
    watch: (response, done) =>
      Effect.as(
        isBodiless(request, response) ? done("complete") : Effect.void,
        ResponseBody.watch(response, request, done)
      )
  }
}

/** Headers are read when they are asked for: a client makes them anew each time, and what is free asks for none. */
class ResponseAnswer implements Answer {
  readonly status: number
  readonly body: string | undefined
  private readonly response: Response

  constructor(response: Response, body: string | undefined) {
    this.response = response
    this.status = response.status
    this.body = body
  }

  get headers() {
    return this.response.headers
  }
}

/** Whether a URL is one of this origin; what is no URL says nothing else. */
const isAt = (origin: string, url: string): boolean =>
  url.startsWith(`${origin}/`) || !URL.canParse(url) || new URL(url).origin === origin

/**
 * Makes a paying client of the transport and the payments of the program.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(options: Options = {}) {
  const transport = yield* Transport.Transport
  const payment = yield* Payment.Payment
  const rails = yield* Rails.Rails

  /** Pays; and says before how the agent can, unless the caller has said how he wants to. */
  const pay = (request: Request, url: URL, first: URL | undefined) =>
    options.acceptPayment !== true || request.headers["accept-payment"] !== undefined
      ? payment.pay(exchangeOf(transport, request, url, first))
      : Effect.flatMap(rails.all, (all) => {
        const accepted = [...new Set(all.flatMap(({ accept }) => accept ?? []))].join(", ")
        const outgoing = accepted === "" ? request : HttpClientRequest.setHeader(request, "accept-payment", accepted)
        return payment.pay(exchangeOf(transport, request, url, first, outgoing))
      })

  const payOnce = (
    request: Request,
    url: URL | undefined,
    walk?: Walk
  ): Effect.Effect<Response, HttpError | PaymentError.PaymentError> =>
    Effect.withFiber((fiber) => {
      if (url === undefined || fiber.getRef(Transport.Unpaid)) return transport.postprocess(Effect.succeed(request))
      const downgrade = walk && hop(walk, request, url)
      return downgrade === undefined
        ? pay(request, url, walk?.first)
        : Effect.fail(downgrade)
    })

  const following = (walk: Walk) =>
    HttpClient.followRedirects(
      HttpClient.makeWith(
        (effect: Effect.Effect<Request, HttpError>) =>
          Effect.flatMap(effect, (request) =>
            payOnce(
              request,
              request === walk.request ? walk.first : Option.getOrUndefined(HttpClientRequest.toUrl(request)),
              walk
            )),
        transport.preprocess
      ),
      maxRedirects
    )

  return HttpClient.makeWith(
    (effect: Effect.Effect<Request, HttpError>) =>
      Effect.flatMap(effect, (request) =>
        Effect.withFiber((fiber) => {
          const first = Option.getOrUndefined(HttpClientRequest.toUrl(request))
          return first === undefined || !followsRedirects(fiber.context)
            ? payOnce(request, first)
            : following({ first, request, secure: false }).postprocess(Effect.succeed(request))
        })),
    transport.preprocess
  )
})

/**
 * What would be paid for a request, and why. Sends it without a credential, follows redirects as the client does, and signs
 * nothing. What another origin demands is quoted, and not payable.
 *
 * @category accessors
 * @since 0.1.0
 */
export const quote = Effect.fn("PayingClient.quote")(function*(
  request: Request
): Effect.fn.Return<
  Payment.Quote,
  HttpError | PaymentError.PaymentError,
  Payment.Payment | Transport.Transport
> {
  const transport = yield* Transport.Transport
  const payment = yield* Payment.Payment
  const prepared = yield* transport.preprocess(request)
  const first = yield* urlOf(prepared)
  const walk: Walk = { first, request: prepared, secure: false }
  let last = { request: prepared, url: first }
  const ask = Effect.fnUntraced(function*(request: Request) {
    const url = yield* urlOf(request)
    const downgrade = hop(walk, request, url)
    if (downgrade !== undefined) return yield* Effect.fail(downgrade)
    last = { request, url }
    return yield* transport.postprocess(Effect.succeed(request))
  })
  const hopping = HttpClient.makeWith(
    (effect: Effect.Effect<Request, HttpError>) => Effect.flatMap(effect, ask),
    transport.preprocess
  )
  const client = followsRedirects(yield* Effect.context<never>())
    ? HttpClient.followRedirects(hopping, maxRedirects)
    : hopping
  const response = yield* client.postprocess(Effect.succeed(prepared))
  const exchange = exchangeOf(transport, last.request, last.url, first)
  return yield* payment.quote({ ...exchange, send: () => Effect.succeed(response) })
})

const urlOf = (request: Request): Effect.Effect<URL, HttpError> =>
  Option.match(HttpClientRequest.toUrl(request), {
    onNone: () =>
      Effect.fail(new HttpClientError.HttpClientError({ reason: new HttpClientError.InvalidUrlError({ request }) })),
    onSome: Effect.succeed
  })

/**
 * The paying client under its own tag.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: Options = {}
): Layer.Layer<PayingClient, never, Transport.Transport | Payment.Payment | Rails.Rails> =>
  Layer.effect(PayingClient, make(options))

/**
 * The paying client under the tag of `HttpClient`, for programs that know nothing of payment.
 *
 * **Details**
 *
 * A payment failure is a `StatusCodeError` of status 402 with the {@link PaymentError.PaymentError} as its cause
 * (`PaymentError.find` takes it out again), never a `TransportError`, which a transient retry would repeat.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerHttpClient: Layer.Layer<HttpClient.HttpClient, never, PayingClient | Transport.Transport> = Layer
  .effect(
    HttpClient.HttpClient,
    Effect.gen(function*() {
      const client = yield* PayingClient
      const transport = yield* Transport.Transport
      const dropIn = HttpClient.makeWith(
        (effect: Effect.Effect<Request, HttpError>) =>
          Effect.flatMap(effect, (request) =>
            Effect.catchTag(
              client.postprocess(Effect.succeed(request)),
              "PaymentError",
              (error) => Effect.fail(asStatusCodeError(error, request))
            )),
        transport.preprocess
      )
      return Transport.markPaying(dropIn, transport)
    })
  )

const asStatusCodeError = (error: PaymentError.PaymentError, request: Request) =>
  new HttpClientError.HttpClientError({
    reason: new HttpClientError.StatusCodeError({
      request,
      response: HttpClientResponse.fromWeb(
        request,
        new globalThis.Response(null, { status: 402, headers: { "content-length": "0" } })
      ),
      cause: error,
      description: error.message
    })
  })
