/**
 * `McpClient.Transport` in, paying `McpClient.Transport` out: a paid tool is paid for like a paid URL.
 *
 * @since 0.1.0
 */
import * as McpClient from "effect/ai/McpClient"
import * as McpClientError from "effect/ai/McpClientError"
import type * as McpSchema from "effect/ai/McpSchema"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { ChildProcessSpawner } from "effect/process/ChildProcessSpawner"
import * as Result from "effect/Result"
import type { Exchange } from "./Exchange.ts"
import * as Payment from "./Payment.ts"
import * as PaymentError from "./PaymentError.ts"
import * as PurchaseKey from "./PurchaseKey.ts"
import { Rails } from "./Rails.ts"
import * as Transport from "./Transport.ts"
import * as McpAnswer from "./wire/McpAnswer.ts"
import * as McpCall from "./wire/McpCall.ts"
import * as McpPayment from "./wire/mpp/McpPayment.ts"

type Request = McpSchema.JsonRpcRequest
type Response = McpSchema.JsonRpcResponse
type McpError = McpClientError.McpClientError

/**
 * How a server is paid.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * Who is paid: the name that the program gives a server of its own machine, or the URL of one that is reached over HTTP.
   * Budgets, policies and the ledger know the server by it (`mcp://name`, or the URL's origin), and never by what the server
   * says of itself.
   */
  readonly server: string
  /**
   * Whether the same request may be sent again while it is not known what became of it. Default: reading resources and
   * prompts may, and tools may not, whatever their server says of them.
   */
  readonly repeatable?: ((method: string, params: McpCall.Members) => boolean) | undefined
}

/** The requests that can be sold. */
const sold: ReadonlySet<string> = new Set(["tools/call", "resources/read", "prompts/get"])

const fail = (reason: McpClientError.McpClientErrorReason): McpError => new McpClientError.McpClientError({ reason })

// ---------------------------------------------------------------------------------------------------------------------
// Requests
// ---------------------------------------------------------------------------------------------------------------------

const nameOf = /^(?:mcp:\/\/)?([a-z0-9][a-z0-9._-]{0,62})$/i

/** Who is paid, and which of his servers it is. */
const named = (server: string): Option.Option<{ readonly origin: string; readonly address: string }> => {
  const url = URL.parse(server)
  if (url?.protocol === "https:" || url?.protocol === "http:") {
    return Option.some({ origin: url.origin, address: `${url.origin}${url.pathname}${url.search}` })
  }
  const name = nameOf.exec(server)?.[1]?.toLowerCase()
  return name === undefined ? Option.none() : Option.some({ origin: `mcp://${name}`, address: `mcp://${name}` })
}

/** The name of what is called, without the query and the user of a URI, which may hold a secret. */
const pathOf = (params: McpCall.Members): string => {
  const name = String([params.name, params.uri].find((one) => typeof one === "string") ?? "")
  const shown = name.replace(/[?#].*$/s, "").replace(/^([^/]*:\/\/)[^/]*@/, "$1").replace(/\p{Cs}/gu, "\ufffd")
  return `/${encodeURIComponent(shown)}`
}

// ---------------------------------------------------------------------------------------------------------------------
// Answers
// ---------------------------------------------------------------------------------------------------------------------

/** The server, or what stands before it, has refused the request by a status of HTTP. */
interface Refusal {
  readonly error: McpError
  readonly reason: McpClientError.HttpError
}

/** What came back of one request. */
interface Sent {
  readonly outcome: Result.Result<Response, Refusal>
  /** Whether a credential went with it. */
  readonly paid: boolean
  /** It is handed back whatever it says: another server may have answered, or this one was paid by what lies below. */
  readonly untouched: boolean
}

const nothingSaid = { headers: {}, body: undefined, challenges: [], inexact: 0 }

const read = ({ outcome, paid }: Sent): McpAnswer.McpAnswer => {
  if (Result.isSuccess(outcome)) return McpAnswer.read(outcome.success, { paid })
  const { code, data, description = "", retryAfter, status } = outcome.failure.reason
  const said = code === undefined
    ? { ...nothingSaid, status }
    : McpAnswer.read({ error: { code, message: description, data } }, { paid, status })
  return { ...said, headers: { ...said.headers, "retry-after": retryAfter } }
}

/** A demand that is none over MCP, or a redirect: what lies below may know what to do. */
const isForTransport = (sent: Sent): boolean => {
  if (Result.isSuccess(sent.outcome)) return false
  const { code, status } = sent.outcome.failure.reason
  return status < 200 || (status >= 300 && status < 400) || (status === 402 && code === undefined)
}

const lostDigits = new PaymentError.PolicyDenied({
  rule: "inexact-number",
  detail: "the challenge has numbers that cannot be repeated to the server digit for digit"
})

/** The typed failure as the cause of an error that no retry of connections repeats. */
const asMcpClientError = (error: PaymentError.PaymentError): McpError =>
  fail(new McpClientError.ProtocolError({ description: error.message, cause: error }))

// ---------------------------------------------------------------------------------------------------------------------

/**
 * One logical request is paid for once: an HTTP client below pays for nothing, and hands redirects back, since the payment
 * is in the body that it would repeat to somebody else.
 */
const unpaidBelow = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.updateContext(effect, (context: Context.Context<R>) => {
    const init = Context.getOrUndefined(context, FetchHttpClient.RequestInit)
    return context.pipe(
      Context.add(Transport.Unpaid, true),
      Context.add(FetchHttpClient.RequestInit, { ...init, redirect: "manual" })
    )
  })

/**
 * Makes a paying transport of one that does not pay, with the payments of the program.
 *
 * **Details**
 *
 * Tools, resources and prompts are paid for, over MPP and over x402; everything else passes through untouched, and so does
 * an answer in which nothing of ours was sent and no offer was recognised. A payment failure is a `ProtocolError` with the
 * `PaymentError` as its cause (`PaymentError.find` takes it out again). Fails with a `ConfigurationError` if the server is
 * named by neither a name nor a URL.
 *
 * **Gotchas**
 *
 * For a server that is reached over HTTP, `server` must be the URL that the transport was made with: see {@link layerHttp}.
 * A server that redirects is not paid. Results are handed back with their metadata, receipts included: a program that serves
 * them to others leaves that out.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  inner: McpClient.Transport,
  options: Options
): Effect.Effect<McpClient.Transport, McpError, Payment.Payment | Rails> => makeFor(inner, options, "")

/** `account` tells for whom the server answers: what it sells may be another thing for each of them. */
const makeFor = Effect.fnUntraced(function*(
  inner: McpClient.Transport,
  { repeatable = (method) => method !== "tools/call", server }: Options,
  account: string
): Effect.fn.Return<McpClient.Transport, McpError, Payment.Payment | Rails> {
  const payment = yield* Payment.Payment
  const rails = yield* Rails
  const { address, origin } = Option.getOrUndefined(named(server)) ?? {}
  if (origin === undefined) {
    return yield* fail(
      new McpClientError.ConfigurationError({
        description: "The server must be named by letters, digits, dots, dashes and underscores, or by its URL"
      })
    )
  }

  const keyOf = (agent: string, { method, params = {} }: Request) =>
    PurchaseKey.ofCall(agent, `${address} ${account}`, method, params)

  /**
   * A client below may pay, too. Requests have another id each time, so that it is told which of them are the same purchase.
   */
  const passed = (request: Request, tool: McpSchema.Tool | undefined) =>
    Effect.flatMap(Payment.CurrentOptions, ({ key = keyOf("", request) }) => {
      const sent = Effect.mapError(
        inner.request(request, tool),
        (error) => Option.match(PaymentError.find(error), { onNone: () => error, onSome: asMcpClientError })
      )
      return key === undefined ? sent : Payment.with(sent, { key })
    })

  let repeats = 0

  const exchangeOf = (request: Request, tool: McpSchema.Tool | undefined): Exchange<Sent, McpError> => {
    const { method, params = {} } = request
    const uncarried = fail(
      new McpClientError.UnsupportedError({ description: "The payment has no form over MCP, and was not sent" })
    )
    let begun = false
    /** No id is used twice: what is sent again is another request. */
    const renamed = (message: Request): Request => {
      const id = begun ? `${message.id}-${++repeats}` : message.id
      begun = true
      return { ...message, id }
    }
    const send = (message: Request, as: Omit<Sent, "outcome">): Effect.Effect<Sent, McpError> =>
      Effect.suspend(() => (as.untouched ? passed : inner.request)(renamed(message), tool)).pipe(
        Effect.map((response): Response => ({ ...response, id: request.id })),
        Effect.map((response) => ({ ...as, outcome: Result.succeed(response) })),
        Effect.catchReason(
          "McpClientError",
          "HttpError",
          (reason, error) => Effect.succeed({ ...as, outcome: Result.fail({ reason, error }) })
        )
      )
    const ask = Effect.flatMap(
      unpaidBelow(send(request, { paid: false, untouched: false })),
      (sent) => isForTransport(sent) ? send(request, { paid: false, untouched: true }) : Effect.succeed(sent)
    )
    return {
      origin,
      method,
      path: pathOf(params),
      key: (agent) => keyOf(agent, request),
      repeatable: repeatable(method, params),
      authorized: false,
      content: undefined,
      acceptPayment: undefined,
      obstacle: McpCall.hasPayment(params)
        ? Option.some(
          new PaymentError.PolicyDenied({
            rule: "authorization-in-use",
            detail: "the request carries a payment of its own"
          })
        )
        : Option.none(),
      send: (envelope, _purchase, native) => {
        if (envelope === undefined) return ask
        const metadata = McpCall.payment(envelope, native)
        if (Option.isNone(metadata)) return Effect.fail(uncarried)
        const paying = { ...request, params: McpCall.withMetadata(params, metadata.value) }
        return unpaidBelow(send(paying, { paid: true, untouched: false }))
      },
      // A refused connection is no proof: it may have been that of a reply to the server, which has our request.
      isNotSent: (error) => error === uncarried,
      answer: (sent) =>
        Effect.sync(() => {
          if (sent.untouched) {
            return { answer: { ...nothingSaid, status: 200 }, value: sent, elsewhere: Option.none() }
          }
          const { inexact, ...answer } = read(sent)
          const isPayable = answer.challenges.some(({ _tag }) => _tag === "Standard")
          return {
            answer,
            value: sent,
            elsewhere: !sent.paid && inexact > 0 && !isPayable ? Option.some(lostDigits) : Option.none()
          }
        }),
      watch: (sent, done) => Effect.as(done("complete"), sent)
    }
  }

  const pay = (request: Request, tool: McpSchema.Tool | undefined): Effect.Effect<Response, McpError> =>
    payment.pay(exchangeOf(request, tool)).pipe(
      Effect.flatMap(({ outcome }) => Effect.fromResult(Result.mapError(outcome, ({ error }) => error))),
      Effect.catchTag("PaymentError", (error) => Effect.fail(asMcpClientError(error)))
    )

  const advertising = (request: Request): Effect.Effect<Request> =>
    Effect.map(rails.all, (all) => {
      const capability = Option.getOrUndefined(McpPayment.capability(all.map(({ accept, name }) => accept ?? name)))
      const params = capability && McpCall.advertise(request.method, request.params, capability)
      return params === undefined ? request : { ...request, params }
    })

  return {
    ...inner,
    request: (message, tool) =>
      Effect.withFiber((fiber) =>
        Effect.flatMap(advertising(message), (request) =>
          sold.has(request.method) && !fiber.getRef(Transport.Unpaid)
            ? pay(request, tool)
            : passed(request, tool))
      )
  }
})

/**
 * The paying transport over the transport of the program: a client that is made on top of it pays without knowing it.
 *
 * **Example** (Tools of a server that runs as a child of the program)
 *
 * ```ts no-run
 * import * as McpClient from "effect/ai/McpClient"
 * import * as McpProtocol from "effect/ai/McpProtocol"
 * import * as Effect from "effect/Effect"
 * import * as Layer from "effect/Layer"
 * import * as ChildProcess from "effect/process/ChildProcess"
 * import * as Agent from "effect-mpp/Agent"
 * import * as PayingMcp from "effect-mpp/PayingMcp"
 *
 * const Server = PayingMcp.layerStdio({
 *   server: "search",
 *   command: ChildProcess.make("npx", ["search-server"]),
 *   protocol: McpProtocol.v2025_11_25
 * })
 *
 * export const Client = Layer.effect(McpClient.McpClient)(McpClient.make({ name: "agent", version: "1.0.0" })).pipe(
 *   Layer.provide(Server),
 *   Layer.provide(Agent.layerConfig)
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: Options
): Layer.Layer<McpClient.Transport, McpError, McpClient.Transport | Payment.Payment | Rails> =>
  Layer.effect(McpClient.Transport)(Effect.flatMap(McpClient.Transport, (inner) => make(inner, options)))

/**
 * A paying transport to a server that is started as a child of the program. The options are those of `McpClient.stdio` and
 * of {@link make}.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerStdio = (
  options: Options & Parameters<typeof McpClient.stdio>[0]
): Layer.Layer<McpClient.Transport, McpError, ChildProcessSpawner | Payment.Payment | Rails> =>
  Layer.provide(layer(options), Layer.effect(McpClient.Transport)(McpClient.stdio(options)))

/**
 * A paying transport to a server that is reached over HTTP. The options are those of `McpClient.http`; the server is paid
 * under the origin of its URL. Calls of transports whose headers differ are different purchases.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerHttp = (
  options: Omit<Options, "server"> & Parameters<typeof McpClient.http>[0]
): Layer.Layer<McpClient.Transport, McpError, HttpClient.HttpClient | Payment.Payment | Rails> =>
  Layer.effect(McpClient.Transport)(Effect.gen(function*() {
    const server = String(options.url)
    const inner = yield* Effect.updateService(McpClient.http(options), HttpClient.HttpClient, telling(server))
    const account = JSON.stringify(Object.entries(options.headers ?? {}).toSorted())
    return yield* makeFor(inner, { server, repeatable: options.repeatable }, account)
  }))

const isElsewhere = (server: string, url: string): boolean =>
  URL.canParse(url) && new URL(url).origin !== URL.parse(server)?.origin

const redirected = () => new globalThis.Response(null, { status: 307 })

/**
 * What a transport over HTTP would not tell: that a payment below has failed, which it takes for an answer, and that another
 * server has answered a request that is paid for above, because the client follows redirects by itself.
 */
const telling = (server: string) => (client: HttpClient.HttpClient): HttpClient.HttpClient =>
  HttpClient.transform(client, (send, request) =>
    Effect.flatMap(Transport.Unpaid, (unpaid) =>
      send.pipe(
        Effect.map((response) =>
          unpaid && isElsewhere(server, response.url) ? HttpClientResponse.fromWeb(request, redirected()) : response
        ),
        Effect.mapError((error) =>
          Option.match(PaymentError.find(error), {
            onNone: () => error,
            onSome: (cause) =>
              new HttpClientError.HttpClientError({
                reason: new HttpClientError.TransportError({ request, cause, description: cause.message })
              })
          })
        )
      )))
