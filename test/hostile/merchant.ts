/**
 * A merchant that answers every request by a script, and what merchants of all kinds answer.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Schema from "effect/Schema"
import type { SessionAuthority } from "../../src/merchant/SessionAuthority.ts"
import * as Json from "../../src/wire/Json.ts"
import * as Challenge from "../../src/wire/mpp/Challenge.ts"
import * as Credential from "../../src/wire/mpp/Credential.ts"
import * as PaymentRequest from "../../src/wire/mpp/PaymentRequest.ts"
import * as Problem from "../../src/wire/mpp/Problem.ts"
import * as Receipt from "../../src/wire/mpp/Receipt.ts"
import * as SeedChallenge from "../../src/wire/mpp/SeedChallenge.ts"
import * as Settlement from "../../src/wire/x402/Settlement.ts"
import type { Authorization, ScriptedChain } from "./chain.ts"
import * as Chain from "./chain.ts"

export const payee = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"

/** An answer, or none: the connection breaks, is refused, stays open for ever, or a browser does not tell. */
export type Reply = Response | "cut" | "refused" | "hangs" | "blocked"

/** One answer of the script. */
export type Step = (sale: Sale) => Reply | Effect.Effect<Reply>

/** What the merchant can do with one request. */
export interface Sale {
  readonly request: HttpClientRequest.HttpClientRequest
  readonly url: URL
  /** What came with it: an x402 payment, a session's token, or nothing. */
  readonly authorization: Authorization | undefined
  readonly token: string | undefined
  /** Takes the money, if it is to be had: submits the payment, or debits the token. */
  readonly take: (usd?: bigint) => Effect.Effect<string | undefined>
  /** The header of a receipt for what was taken. */
  readonly receipt: () => { readonly [header: string]: string }
  /** A 402 that demands the price; `change` is put into the requirement, `around` into the demand. */
  readonly demand: (change?: Schema.JsonObject, around?: Schema.JsonObject) => Response
}

export interface Shop {
  readonly price?: string
  readonly sells?: ReadonlyArray<"x402" | "x402 v1" | "session" | "evm">
  /** Members of the demand that this merchant has of its own. */
  readonly requirement?: Schema.JsonObject
  readonly challenge?: Partial<SeedChallenge.Terms>
  /** Members of the challenge of a charge over MPP, and of its request. A member that is undefined is left out. */
  readonly charge?: { readonly [member: string]: string | undefined }
  readonly chargeRequest?: { readonly [member: string]: Schema.Json | undefined }
  /** How it answers what carries no credential. Default: by the demand. */
  readonly unpaid?: Step
  /** How it answers what does: one answer after the other, the last of them for ever. Default: {@link honest}. */
  readonly paid?: ReadonlyArray<Step>
}

// ---------------------------------------------------------------------------------------------------------------------
// Answers
// ---------------------------------------------------------------------------------------------------------------------

export const content = { bought: "content" }

export const json = (status: number, body: unknown, headers: Record<string, string> = {}) =>
  new Response([204, 205, 304].includes(status) ? null : JSON.stringify(body), {
    status,
    headers: { "content-type": "application/json", ...headers }
  })

/** What every kind of merchant has at hand. */
type Counter = Pick<Sale, "receipt">

/** Answers with a status, and a receipt if something was taken. */
export const status = (code: number, headers: Record<string, string> = {}) => ({ receipt }: Counter): Reply =>
  json(code, code < 300 ? content : { error: "no" }, { ...receipt(), ...headers })

export const withoutReceipt = (code: number, headers: Record<string, string> = {}): (sale: Counter) => Reply => () =>
  json(code, code < 300 ? content : { error: "no" }, headers)

export const delivers = status(200)

/** Demands the payment again, as if nothing had come. */
export const demandsAgain: Step = ({ demand }) => demand()

/** Refuses the payment, in the words of the protocol. */
export const refuses = (code: string): Step => ({ demand }) => demand({}, { error: code })

export const cuts = (): Reply => "cut"
export const hangs = (): Reply => "hangs"
export const refusesConnection = (): Reply => "refused"

/** The body breaks after a part of it. */
export const breaksOff = ({ receipt }: Counter): Reply =>
  new Response(
    new ReadableStream({
      start: (controller) => controller.enqueue(new TextEncoder().encode("{\"bought\":")),
      pull: (controller) => controller.error(new Error("connection lost"))
    }, { highWaterMark: 0 }),
    { status: 200, headers: receipt() }
  )

/** Says in `PAYMENT-RESPONSE` what is not so. */
export const claims = (code: number, settlement: Partial<Settlement.Settlement>): Step => () =>
  json(code, code < 300 ? content : {}, {
    "payment-response": Settlement.encode({
      success: true,
      transaction: `0x${"1".repeat(64)}`,
      network: Chain.network,
      ...(settlement as object)
    })
  })

/** Takes the money first, and then answers as it likes. */
export const takes = (then: Step): Step => (sale) => Effect.flatMap(sale.take(), () => asEffect(then(sale)))

/** Takes the money and delivers; a payment that is spent or void buys nothing. */
export const honest: Step = (sale) =>
  Effect.flatMap(sale.take(), (taken) =>
    asEffect(
      taken !== undefined
        ? delivers(sale)
        : sale.token === undefined
        ? refuses("invalid_exact_evm_nonce_already_used")(sale)
        : sale.demand()
    ))

/** Remembers whom it has sold to: the same payment gets the same content again. */
export const replays: Step = (sale) => Effect.flatMap(sale.take(), () => asEffect(delivers(sale)))

export const asEffect = <A>(value: A | Effect.Effect<A>): Effect.Effect<A> =>
  Effect.isEffect(value) ? value : Effect.succeed(value)

// ---------------------------------------------------------------------------------------------------------------------
// The counter
// ---------------------------------------------------------------------------------------------------------------------

/** A request as the merchant saw it. */
export interface Seen {
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly method: string
  readonly url: string
  readonly headers: { readonly [name: string]: string }
  readonly authorization: Authorization | undefined
  readonly token: string | undefined
}

const member = (value: Schema.Json | undefined, name: string) => Json.isObject(value) ? value[name] : undefined

/** The x402 payment in the headers of a request. */
export const authorizationOf = (headers: { readonly [name: string]: string }): Authorization | undefined => {
  const header = headers["payment-signature"] ?? headers["x-payment"]
  const payment = header === undefined ? undefined : Option.getOrUndefined(Json.fromBase64(header))
  return member(member(payment, "payload"), "authorization") as Authorization | undefined
}

/** What was signed for a charge over MPP. */
const chargedOf = ({ authorization }: { readonly [name: string]: string }): Authorization | undefined => {
  const presented = authorization === undefined ? undefined : Option.getOrUndefined(Credential.parse(authorization))
  return presented?._tag === "Standard" ? presented.credential.payload as unknown as Authorization : undefined
}

const tokenOf = ({ authorization = "" }: { readonly [name: string]: string }) =>
  /^Payment ([A-Za-z0-9._~+/=-]+)$/.exec(authorization)?.[1]

const base = 1_000_000

const unitsOf = (price: string) => BigInt(Math.round(Number(price) * base))

const requirementOf = (shop: Shop, change: Schema.JsonObject): Schema.JsonObject => ({
  scheme: "exact",
  network: Chain.network,
  amount: unitsOf(shop.price ?? "0.01").toString(),
  asset: Chain.token,
  payTo: payee,
  maxTimeoutSeconds: 60,
  extra: { name: "USDC", version: "2" },
  ...shop.requirement,
  ...change
})

/** The challenge of a charge on an EVM chain. */
const chargeOf = (shop: Shop, url: URL, now: number, nth: number, change: Schema.JsonObject) => {
  const present = <Value>(members: { readonly [member: string]: Value | undefined }) =>
    Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined))
  return Challenge.format({
    ...present({
      id: `ch_${nth}`,
      realm: url.hostname,
      method: "evm",
      intent: "charge",
      expires: new Date(now + 300_000).toISOString(),
      request: PaymentRequest.encode(
        present({
          amount: unitsOf(shop.price ?? "0.01").toString(),
          currency: Chain.token,
          recipient: payee,
          methodDetails: { chainId: Number(Chain.network.split(":")[1]), credentialTypes: ["authorization"] },
          ...shop.chargeRequest,
          ...change
        }) as Schema.JsonObject
      ),
      ...shop.charge
    }) as unknown as Challenge.Challenge
  })
}

const demandOf = (
  shop: Shop,
  url: URL,
  { nth, now }: { readonly nth: number; readonly now: number },
  change: Schema.JsonObject = {},
  around: Schema.JsonObject = {}
) => {
  const sells = shop.sells ?? ["x402"]
  const requirement = requirementOf(shop, change)
  const resource = `${url.origin}${url.pathname}`
  const { amount, ...others } = requirement
  const v1 = {
    x402Version: 1,
    error: "X-PAYMENT header is required",
    accepts: [{ ...others, network: "base-sepolia", maxAmountRequired: amount ?? "", resource, description: "data" }],
    ...around
  }
  if (sells.includes("evm")) {
    const taken = /already_used/.test(String(around.error))
    const code = taken ? "verification-failed" : String(around.error)
    const problem = Problem.toJson({
      code,
      title: code,
      status: 402,
      ...(taken ? { detail: "the authorization was used already" } : {})
    })
    return json(402, around.error === undefined ? {} : problem, {
      "www-authenticate": chargeOf(shop, url, now, nth, change)
    })
  }
  return json(402, sells.includes("x402 v1") ? v1 : {}, {
    ...(sells.includes("session")
      ? {
        "www-authenticate": SeedChallenge.format({
          id: "ch_1",
          realm: url.hostname,
          priceUsdc: unitsOf(shop.price ?? "0.01"),
          ...shop.challenge
        })
      }
      : {}),
    ...(sells.includes("x402")
      ? {
        "payment-required": Json.toBase64({
          x402Version: 2,
          resource: { url: resource },
          accepts: [requirement],
          ...around
        })
      }
      : {})
  })
}

/** Serves requests by the script, and remembers them. */
export const serve = (shop: Shop, world: {
  readonly chain: ScriptedChain
  readonly authority: SessionAuthority["Service"]
  readonly seen: Array<Seen>
}) => {
  const paid = shop.paid ?? [honest]
  return Effect.fnUntraced(function*(request: HttpClientRequest.HttpClientRequest, url: URL) {
    const { chain, authority, seen } = world
    const charged = chargedOf(request.headers)
    const authorization = charged ?? authorizationOf(request.headers)
    const token = charged === undefined ? tokenOf(request.headers) : undefined
    const nth = seen.filter((it) => it.authorization !== undefined || it.token !== undefined).length
    const at = yield* Clock.currentTimeMillis
    seen.push({ at, method: request.method, url: url.href, headers: { ...request.headers }, authorization, token })
    let receipt: Record<string, string> = {}
    const take = Effect.fnUntraced(function*(usd = unitsOf(shop.price ?? "0.01")) {
      const now = yield* Clock.currentTimeMillis
      if (authorization !== undefined) {
        const transaction = chain.settle(authorization, Math.floor(now / 1000))
        if (transaction === undefined) return undefined
        if (charged !== undefined) {
          const timestamp = new Date(now).toISOString()
          receipt = { "payment-receipt": Receipt.encode({ method: "evm", reference: transaction, timestamp }) }
          return transaction
        }
        receipt = {
          "payment-response": Settlement.encode({
            success: true,
            transaction,
            network: Chain.network,
            payer: authorization.from
          })
        }
        return transaction
      }
      if (token === undefined) return undefined
      const debited = yield* Effect.option(
        authority.debit(Redacted.make(token), { audience: url.origin, realm: url.hostname, amountUsd: usd })
      )
      if (Option.isNone(debited)) return undefined
      const { amountUsd, remainingUsd, sessionId } = debited.value
      receipt = {
        "payment-receipt": Receipt.encodeSeed({ sessionId, amount: amountUsd, remaining: remainingUsd })
      }
      return sessionId
    })
    const sale: Sale = {
      request,
      url,
      authorization,
      token,
      take,
      receipt: () => receipt,
      demand: (change, around) => demandOf(shop, url, { nth: seen.length, now: at }, change, around)
    }
    const step = authorization === undefined && token === undefined
      ? shop.unpaid ?? demandsAgain
      : paid[Math.min(nth, paid.length - 1)] ?? honest
    return yield* deliver(request, yield* asEffect(step(sale)))
  })
}

/** What a client sees of a reply. */
export const deliver = (
  request: HttpClientRequest.HttpClientRequest,
  reply: Reply
): Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError> =>
  reply === "hangs"
    ? Effect.never
    : reply === "cut"
    ? Effect.fail(lost(request, "ECONNRESET", "read"))
    : reply === "refused"
    ? Effect.fail(lost(request, "ECONNREFUSED", "connect"))
    : reply === "blocked"
    ? Effect.fail(
      new HttpClientError.HttpClientError({
        reason: new HttpClientError.TransportError({ request, cause: new TypeError("Failed to fetch") })
      })
    )
    : Effect.succeed(
      HttpClientResponse.fromWeb(
        request,
        Object.defineProperty(reply, "url", { value: request.url, configurable: true })
      )
    )

const lost = (request: HttpClientRequest.HttpClientRequest, code: string, syscall: string) =>
  new HttpClientError.HttpClientError({
    reason: new HttpClientError.TransportError({
      request,
      cause: new TypeError("fetch failed", { cause: Object.assign(new Error(code), { code, syscall }) })
    })
  })
