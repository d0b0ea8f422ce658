/**
 * A merchant that sells for Tempo charges, and answers every request by a script.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import type { Hex } from "viem"
import { decodeFunctionData, parseAbi, recoverTypedDataAddress } from "viem/utils"
import * as Json from "../../src/wire/Json.ts"
import type * as Challenge from "../../src/wire/mpp/Challenge.ts"
import { format } from "../../src/wire/mpp/Challenge.ts"
import * as ChallengeId from "../../src/wire/mpp/ChallengeId.ts"
import * as Credential from "../../src/wire/mpp/Credential.ts"
import * as PaymentRequest from "../../src/wire/mpp/PaymentRequest.ts"
import * as Problem from "../../src/wire/mpp/Problem.ts"
import * as Receipt from "../../src/wire/mpp/Receipt.ts"
import * as Source from "../../src/wire/mpp/Source.ts"
import * as TempoCharge from "../../src/wire/mpp/TempoCharge.ts"
import * as TempoTransaction from "../../src/wire/mpp/TempoTransaction.ts"
import * as Evm from "./chain.ts"
import { asEffect, deliver, delivers, json, type Reply } from "./merchant.ts"
import type { TempoChain } from "./tempoChain.ts"
import * as Chain from "./tempoChain.ts"

export const payee = "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc"

/** One answer of the script. */
export type Step = (sale: Sale) => Reply | Effect.Effect<Reply>

/** What a merchant may demand otherwise than it usually does. A member that is undefined is left out. */
export interface Change {
  readonly challenge?: { readonly [K in keyof Challenge.Challenge]?: string | undefined }
  readonly request?: { readonly [member: string]: Schema.Json | undefined }
  readonly details?: { readonly [member: string]: Schema.Json | undefined }
}

/** What the merchant can do with one request. */
export interface Sale extends Presented {
  readonly request: HttpClientRequest.HttpClientRequest
  readonly url: URL
  /** Takes the money, if it is to be had: submits the transaction, or looks for the one whose hash was presented. */
  readonly take: Effect.Effect<string | undefined>
  /** The header of a receipt for what was taken. */
  readonly receipt: () => { readonly [header: string]: string }
  /** A 402 with a fresh challenge. */
  readonly demand: (change?: Change) => Response
  /** A problem, with a fresh challenge. */
  readonly problem: (code: string, status?: number, detail?: string) => Response
  /** Why nothing was taken, as an honest merchant says it. */
  readonly refusal: () => Response
}

interface Presented {
  readonly credential: Credential.Credential | undefined
  readonly payload: TempoCharge.Payload | undefined
}

/** A request as the merchant saw it. */
export interface Seen extends Presented {
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly method: string
  readonly url: string
  readonly headers: { readonly [name: string]: string }
}

export interface Shop {
  readonly price?: string
  /** Whether the merchant pays the fees. */
  readonly sponsors?: boolean
  /** Whether x402 is taken as well, on another chain. */
  readonly takesX402?: boolean
  /** How its demands differ from the usual; by the number of the demand. */
  readonly change?: Change | ((nth: number) => Change)
  /** Whether equal demands of one moment are one challenge, as they are where ids are computed. Default: never. */
  readonly computesIds?: boolean
  /** How it answers what carries no credential. Default: by the demand. */
  readonly unpaid?: Step
  /** How it answers what does: one answer after the other, the last of them for ever. Default: {@link honest}. */
  readonly paid?: ReadonlyArray<Step>
}

// ---------------------------------------------------------------------------------------------------------------------
// Answers
// ---------------------------------------------------------------------------------------------------------------------

/** Demands the payment again, as if nothing had come. */
export const demandsAgain: Step = ({ demand }) => demand()

/** Refuses the payment, in the words of the protocol. */
export const refuses = (code: string, status?: number, detail?: string): Step => ({ problem }) =>
  problem(code, status, detail)

/** Takes the money first, and then answers as it likes. */
export const takes = (then: Step): Step => (sale) => Effect.flatMap(sale.take, () => asEffect(then(sale)))

/** Takes the money and delivers; a payment that is spent or void buys nothing. */
export const honest: Step = (sale) =>
  Effect.map(sale.take, (taken) => taken === undefined ? sale.refusal() : delivers(sale))

/** Remembers whom it has sold to: the same payment gets the same content again. */
export const replays: Step = (sale) => Effect.flatMap(sale.take, () => asEffect(delivers(sale)))

/** Delivers with a receipt for whatever it likes. */
export const claims = (reference: string, members: Schema.JsonObject = {}, status = 200): Step => () =>
  json(status, status < 300 ? { bought: "content" } : {}, {
    "payment-receipt": Receipt.encode({ method: "tempo", reference, timestamp: "2027-01-15T08:00:00Z", members })
  })

// ---------------------------------------------------------------------------------------------------------------------
// The counter
// ---------------------------------------------------------------------------------------------------------------------

const secret = Redacted.make("the merchant's secret of some length")

const without = (members: { readonly [member: string]: Schema.Json | undefined }): Schema.JsonObject =>
  Object.fromEntries(Object.entries(members).flatMap(([name, value]) => value === undefined ? [] : [[name, value]]))

/** The same price over x402. */
const requiredByX402 = ({ href }: URL) =>
  Json.toBase64({
    x402Version: 2,
    resource: { url: href },
    accepts: [{
      scheme: "exact",
      network: Evm.network,
      amount: "10000",
      asset: Evm.token,
      payTo: payee,
      maxTimeoutSeconds: 60,
      extra: { name: "USDC", version: "2" }
    }]
  })

const presentedIn = (headers: { readonly [name: string]: string }): Presented => {
  const header = headers["authorization"] ?? headers["payment-authorization"]
  const parsed = header === undefined ? undefined : Option.getOrUndefined(Credential.parse(header))
  const credential = parsed?._tag === "Standard" ? parsed.credential : undefined
  return { credential, payload: credential?.payload as TempoCharge.Payload | undefined }
}

const abi = parseAbi([
  "function transfer(address to, uint256 amount)",
  "function transferWithMemo(address to, uint256 amount, bytes32 memo)"
])

/** Whether calls make the transfers that a challenge asks for, and nothing else. */
const pays = (
  { calls }: TempoTransaction.Decoded,
  challenge: Challenge.Challenge,
  request: TempoCharge.Request
): boolean => {
  const memo = request.methodDetails?.memo ??
    TempoCharge.attribution({ realm: challenge.realm, challengeId: challenge.id })
  const made = calls.map(({ data, to }) => {
    const { args } = decodeFunctionData({ abi, data })
    return [to, args[0].toLowerCase(), args[1], args[2]]
  })
  const asked = TempoCharge.transfers(request, memo).map((it) => [request.currency, it.to, it.units, it.memo])
  return made.length === asked.length && made.every((one, at) => one.every((value, part) => value === asked[at]![part]))
}

/** Serves requests by the script, and remembers them. */
export const serve = (shop: Shop, { chain, seen }: { readonly chain: TempoChain; readonly seen: Array<Seen> }) => {
  const paid = shop.paid ?? [honest]
  /** The demands that it has made, by their ids. */
  const issued = new Map<string, Challenge.Challenge>()
  const claimed = new Set<string>()
  let demands = 0

  const seconds = Effect.map(Clock.currentTimeMillis, (millis) => Math.floor(millis / 1000) + chain.skew)

  const challengeAt = (now: number, url: URL, change: Change): Challenge.Challenge => {
    const nth = demands++
    const usual = typeof shop.change === "function" ? shop.change(nth) : shop.change ?? {}
    const request = without({
      amount: shop.price ?? "10000",
      currency: Chain.token,
      recipient: payee,
      ...usual.request,
      ...change.request,
      methodDetails: without({
        chainId: Chain.chainId,
        ...(shop.sponsors === true ? { feePayer: true } : {}),
        ...usual.details,
        ...change.details
      })
    })
    const content = {
      realm: url.hostname,
      method: "tempo",
      intent: "charge",
      request: PaymentRequest.encode(request),
      expires: new Date(now + 300_000).toISOString(),
      ...usual.challenge,
      ...change.challenge
    }
    const id = shop.computesIds === true
      ? ChallengeId.compute(secret, without(content) as unknown as Challenge.Challenge)
      : `ch_${nth + 1}`
    const challenge = without({ id, ...content }) as unknown as Challenge.Challenge
    issued.set(challenge.id, challenge)
    return challenge
  }

  return Effect.fnUntraced(function*(request: HttpClientRequest.HttpClientRequest, url: URL) {
    const presented = presentedIn(request.headers)
    const { credential, payload } = presented
    const nth = seen.filter((it) => it.credential !== undefined).length
    const at = (yield* Clock.currentTimeMillis) + chain.skew * 1000
    seen.push({ at, method: request.method, url: url.href, headers: { ...request.headers }, ...presented })

    const x402 = shop.takesX402 === true ? { "payment-required": requiredByX402(url) } : {}
    const demand = (change: Change = {}) =>
      json(402, {}, { ...x402, "www-authenticate": format(challengeAt(at, url, change)), "cache-control": "no-store" })
    const problem = (code: string, status = 402, detail?: string) =>
      json(status, Problem.toJson({ code, title: code, status, ...(detail === undefined ? {} : { detail }) }), {
        ...x402,
        "content-type": "application/problem+json",
        "www-authenticate": format(challengeAt(at, url, {}))
      })
    let refusal = demand
    const refuse = (code: string, status?: number, detail?: string) => {
      refusal = () => problem(code, status, detail)
      return Effect.succeed(undefined)
    }
    let receipt: { readonly [header: string]: string } = {}
    const take = Effect.gen(function*() {
      if (credential === undefined || payload === undefined) return undefined
      const { challenge } = credential
      if (issued.get(challenge.id)?.request !== challenge.request) return yield* refuse("invalid-challenge")
      if (!(at < Date.parse(challenge.expires ?? ""))) return yield* refuse("payment-expired")
      const terms = Result.getOrThrow(TempoCharge.fromChallenge(challenge))
      const taken = yield* asEffect(receive(challenge, terms, payload, credential.source))
      if (taken === undefined) return undefined
      if (claimed.has(taken)) return yield* refuse("verification-failed", 402, alreadyUsed)
      claimed.add(taken)
      receipt = {
        "payment-receipt": Receipt.encode({ method: "tempo", reference: taken, timestamp: new Date(at).toISOString() })
      }
      return taken
    })

    const receive = (
      challenge: Challenge.Challenge,
      terms: TempoCharge.Request,
      payload: TempoCharge.Payload,
      source: string | undefined
    ) => {
      switch (payload.type) {
        case "transaction":
          return terms.amount === 0n ? refuse("invalid-payload") : broadcast(challenge, terms, payload.signature)
        case "hash": {
          const mined = chain.find(payload.hash)
          if (terms.methodDetails?.feePayer === true) return refuse("invalid-payload")
          return mined?.succeeded === true && pays(mined.transaction, challenge, terms)
            ? mined.hash
            : refuse("verification-failed", 402, "no matching transfer")
        }
        case "proof":
          return prove(challenge, payload.signature, source)
      }
    }

    const broadcast = Effect.fnUntraced(function*(
      challenge: Challenge.Challenge,
      terms: TempoCharge.Request,
      signed: string
    ) {
      const decoded = Option.getOrUndefined(TempoTransaction.decode(signed))
      if (decoded === undefined || !pays(decoded, challenge, terms)) {
        return yield* refuse("verification-failed", 402, "no matching transfer")
      }
      const submitted = chain.submit(signed, yield* seconds, terms.methodDetails?.feePayer === true)
      if ("refused" in submitted) {
        return yield* /known/.test(submitted.refused)
          ? refuse("verification-failed", 402, alreadyUsed)
          : refuse("internal-payment-error", 500, submitted.refused)
      }
      while (chain.find(submitted.hash) === undefined) {
        if ((yield* seconds) >= (decoded.validBefore ?? 0)) {
          return yield* refuse("internal-payment-error", 500, "timeout")
        }
        yield* Effect.sleep("1 second")
      }
      return chain.find(submitted.hash)?.succeeded === true
        ? submitted.hash
        : yield* refuse("verification-failed", 402, "the transaction reverted")
    })

    const prove = Effect.fnUntraced(function*(
      challenge: Challenge.Challenge,
      signature: Hex,
      source: string | undefined
    ) {
      const account = Option.getOrUndefined(Source.parse(source ?? ""))?.address
      if (account === undefined) return yield* refuse("malformed-credential")
      const signer = yield* Effect.promise(() =>
        recoverTypedDataAddress({
          ...TempoCharge.proofTypedData({
            account,
            chainId: Chain.chainId,
            challengeId: challenge.id,
            realm: challenge.realm
          }),
          signature
        })
      )
      return signer.toLowerCase() === account ? challenge.id : yield* refuse("verification-failed")
    })

    const sale: Sale = {
      request,
      url,
      ...presented,
      take,
      receipt: () => receipt,
      demand,
      problem,
      refusal: () => refusal()
    }
    const step = credential === undefined ? shop.unpaid ?? demandsAgain : paid[Math.min(nth, paid.length - 1)] ?? honest
    return yield* deliver(request, yield* asEffect(step(sale)))
  })
}

export const alreadyUsed = "Transaction hash has already been used."
