import * as Clock from "effect/Clock"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { TestClock } from "effect/testing"
import type { Hex } from "viem"
import {
  decodeFunctionData,
  encodeAbiParameters,
  encodeEventTopics,
  encodeFunctionResult,
  pad,
  parseAbiParameters
} from "viem/utils"
import type * as Chain from "../../src/Chain.ts"
import { ChainError, type WalletError } from "../../src/PaymentError.ts"
import * as Rails from "../../src/Rails.ts"
import * as TempoSession from "../../src/rails/TempoSession.ts"
import * as Transport from "../../src/Transport.ts"
import * as Wallet from "../../src/Wallet.ts"
import * as Challenge from "../../src/wire/mpp/Challenge.ts"
import * as Channel from "../../src/wire/mpp/Channel.ts"
import * as Credential from "../../src/wire/mpp/Credential.ts"
import * as Problem from "../../src/wire/mpp/Problem.ts"
import * as Receipt from "../../src/wire/mpp/Receipt.ts"
import * as Wire from "../../src/wire/mpp/TempoSession.ts"
import * as TempoTransaction from "../../src/wire/mpp/TempoTransaction.ts"
import * as TempoUnsigned from "../../src/wire/mpp/TempoUnsigned.ts"
import { chainOf } from "./exact.ts"
import { nodeWith } from "./node.ts"
import * as tempo from "./tempo.ts"

// It is loaded late, in real time, which the tests' clock knows nothing of.
import "../../src/rails/tempoSession/Writer.ts"

/** What one request costs, in base units and in micro-dollars. */
export const price = 10_000n

/** A challenge of a session: a cent for each request, until `expires`. */
export const challenge = ({ challenge = {}, details = {}, request = {} }: tempo.Change = {}) =>
  tempo.challenge({
    challenge: { intent: "session", ...challenge },
    details: { sessionProtocol: "v2", escrowContract: Channel.escrowV2, ...details },
    request
  })

export const offer = (change: tempo.Change = {}) => tempo.offerOf(challenge(change))

// ---------------------------------------------------------------------------------------------------------------------
// The chain
// ---------------------------------------------------------------------------------------------------------------------

interface OnChain {
  settled: bigint
  deposit: bigint
  closeRequestedAt: number
  logs: ReadonlyArray<Chain.Log>
}

const word = (value: bigint): Hex => pad(`0x${value.toString(16)}`, { size: 32 })

/** A chain of a block per second, which has begun long ago; two blocks make a block final. */
const genesis = -100_000

/** A chain that keeps channels, and one node of it. */
export const makeChain = () => {
  const channels = new Map<Hex, OnChain>()
  const script = {
    /** The chain's clock minus ours, in seconds. */
    skew: 0,
    broken: false,
    /** Whether transactions are mined. */
    mines: true
  }
  const receipts = new Map<Hex, Chain.Receipt>()
  /** The payer's own transactions, by the names of what they call. */
  const sent: Array<string> = []
  let hashes = 0
  const seconds = Effect.map(Clock.currentTimeMillis, (now) => Math.floor(now / 1000) + script.skew)
  const heightAt = (seconds: number) => BigInt(seconds - genesis)
  const answer = <A>(value: (seconds: number) => A): Effect.Effect<A, ChainError> =>
    Effect.flatMap(seconds, (now) =>
      script.broken
        ? Effect.fail(new ChainError({ network: tempo.network, operation: "call", detail: "no answer" }))
        : Effect.sync(() => value(now)))
  const mined = (transactionHash: Hex, now: number, succeeded = true) =>
    receipts.set(transactionHash, {
      transactionHash,
      blockNumber: heightAt(now),
      succeeded,
      gasUsed: 100_000n,
      effectiveGasPrice: 1n,
      logs: []
    })
  const log = (
    topic: Hex,
    channelId: Hex,
    data: Hex,
    now: number,
    transactionHash = word(BigInt(++hashes))
  ): Chain.Log => {
    mined(transactionHash, now)
    return {
      address: Channel.escrowV2,
      topics: [topic, channelId, pad(tempo.payer, { size: 32 }), pad(tempo.payee, { size: 32 })],
      data,
      blockNumber: heightAt(now),
      transactionHash
    }
  }
  /** Carries the payer's own transaction out, as the reserve does, if it is valid now. */
  const carryOut = (signed: Hex, now: number) => {
    const { calls: [call], validBefore } = Option.getOrThrow(TempoTransaction.decode(signed))
    const { args, functionName } = decodeFunctionData({ abi: Channel.abi, data: call!.data })
    sent.push(functionName)
    const isValid = validBefore !== undefined && validBefore > now && validBefore <= now + 30
    if (!script.mines || !isValid || (functionName !== "requestClose" && functionName !== "withdraw")) return
    const channelId = Channel.id(args[0], { chainId: tempo.chainId, escrow: Channel.escrowV2 })
    const found = channels.get(channelId)
    const mayWithdraw = found !== undefined && found.closeRequestedAt > 0 && now >= found.closeRequestedAt + 900
    const succeeded = found !== undefined && found.deposit > 0n && (functionName === "requestClose" || mayWithdraw)
    const hash = TempoUnsigned.hash(signed)
    mined(hash, now, succeeded)
    if (succeeded) {
      const closed = functionName === "withdraw"
      const data = closed ? figures(found.settled, found.deposit - found.settled) : "0x"
      channels.set(channelId, {
        settled: closed ? 0n : found.settled,
        deposit: closed ? 0n : found.deposit,
        closeRequestedAt: now,
        logs: [...found.logs, log(topic(closed ? "ChannelClosed" : "CloseRequested"), channelId, data, now, hash)]
      })
    }
  }
  const figures = (taken: bigint, returned: bigint) =>
    encodeAbiParameters(parseAbiParameters("uint96, uint96"), [taken, returned])
  const topic = (eventName: "ChannelOpened" | "ChannelClosed" | "CloseRequested") =>
    encodeEventTopics({ abi: Channel.abi, eventName })[0]
  const node = nodeWith({
    network: tempo.network,
    block: (tag) =>
      answer((now): Chain.Block => {
        const latest = heightAt(now)
        const number = tag === "latest" ? latest : tag === "finalized" ? latest - 2n : tag
        return { number, timestamp: BigInt(genesis) + number, baseFeePerGas: 20_000_000_000n }
      }),
    call: (to, data) =>
      answer(() => {
        if (to.toLowerCase() !== Channel.escrowV2) return word(10n ** 12n)
        const { args } = decodeFunctionData({ abi: Channel.abi, data })
        const found = channels.get(args?.[0] as Hex)
        return encodeFunctionResult({
          abi: Channel.abi,
          functionName: "getChannelState",
          result: found ?? { settled: 0n, deposit: 0n, closeRequestedAt: 0 }
        })
      }),
    estimateGas: () => answer(() => Option.some(300_000n)),
    logs: ({ fromBlock, toBlock, topics: [kinds, channelId] }) =>
      answer(() =>
        (channels.get(String(channelId) as Hex)?.logs ?? []).filter(({ blockNumber, topics: [kind] }) =>
          blockNumber >= fromBlock && blockNumber <= toBlock && Array.isArray(kinds) && kinds.includes(kind)
        )
      ),
    receipt: (hash) => answer(() => Option.fromUndefinedOr(receipts.get(hash))),
    send: (signed) =>
      answer((now) => {
        carryOut(signed, now)
        return Option.none()
      })
  })
  return {
    node,
    script,
    channels,
    sent,
    open: (channelId: Hex, deposit: bigint) =>
      Effect.map(seconds, (now) => {
        const logs = [log(topic("ChannelOpened"), channelId, "0x", now)]
        channels.set(channelId, { settled: 0n, deposit, closeRequestedAt: 0, logs })
      }),
    close: (channelId: Hex, taken: bigint) =>
      Effect.map(seconds, (now) => {
        const found = channels.get(channelId)
        if (found === undefined) return
        const data = figures(taken, found.deposit - taken)
        const logs = [...found.logs, log(topic("ChannelClosed"), channelId, data, now)]
        channels.set(channelId, { settled: 0n, deposit: 0n, closeRequestedAt: 0, logs })
      })
  }
}

export type World = ReturnType<typeof makeChain>

// ---------------------------------------------------------------------------------------------------------------------
// The merchant
// ---------------------------------------------------------------------------------------------------------------------

/** A request as it came in. */
export interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: { readonly [name: string]: string }
  readonly payload: Wire.Payload | undefined
  readonly challenge: Challenge.Challenge | undefined
  status: number | "lost"
}

const decodePayload = Schema.decodeUnknownSync(Wire.Payload)

/** `lost`: the connection breaks before the answer; `refused`: before the request. */
export type Answer = Response | "lost" | "refused" | undefined

/** What the merchant answers instead of what it would; `undefined`: nothing else. */
export type Instead = (seen: Seen, carryOut: Effect.Effect<Response>) => Effect.Effect<Answer>

export const broken = (request: HttpClientRequest.HttpClientRequest, code: string) =>
  new HttpClientError.HttpClientError({
    reason: new HttpClientError.TransportError({
      request,
      cause: new TypeError("fetch failed", { cause: Object.assign(new Error(code), { code, syscall: "connect" }) })
    })
  })

export const receipt = (channelId: Hex, accepted: bigint, spent: bigint): string =>
  Receipt.encode({
    method: "tempo",
    reference: channelId,
    timestamp: "1970-01-01T00:00:00Z",
    members: { intent: "session", channelId, acceptedCumulative: accepted.toString(), spent: spent.toString() }
  })

export const problem = (status: number, code: string, headers: { readonly [name: string]: string } = {}) =>
  new Response(JSON.stringify(Problem.toJson({ code, title: code, status })), {
    status,
    headers: { "content-type": "application/problem+json", ...headers }
  })

/** A merchant that sells for a cent by channel, as servers of mppx do. */
export const makeShop = (chain: World, change: tempo.Change = {}) => {
  const seen: Array<Seen> = []
  const books = new Map<Hex, { accepted: bigint; spent: bigint }>()
  let challenges = 0
  const script: { next: Array<Instead>; challenge: tempo.Change } = { next: [], challenge: change }

  const demand = (code = "payment-required") => {
    const made = challenge({
      ...script.challenge,
      challenge: { id: `challenge-${++challenges}`, ...script.challenge.challenge }
    })
    return problem(402, code, { "www-authenticate": Challenge.format(made) })
  }

  const carryOut = (one: Seen): Effect.Effect<Response> =>
    Effect.gen(function*() {
      const { method, payload } = one
      if (payload === undefined) return demand()
      const { channelId } = payload
      switch (payload.action) {
        case "open": {
          const transaction = Option.getOrThrow(TempoTransaction.decode(payload.transaction))
          const { args } = decodeFunctionData({ abi: Channel.abi, data: transaction.calls[0]!.data })
          yield* chain.open(channelId, args?.[3] as bigint)
          books.set(channelId, { accepted: payload.cumulativeAmount, spent: 0n })
          return new Response(null, {
            status: 204,
            headers: { "payment-receipt": receipt(channelId, payload.cumulativeAmount, 0n) }
          })
        }
        case "voucher": {
          const book = books.get(channelId)
          if (book === undefined) return problem(410, "session/channel-not-found")
          if (payload.cumulativeAmount > book.accepted) book.accepted = payload.cumulativeAmount
          const management = method === "HEAD"
          if (!management && book.accepted - book.spent < price) return demand("session/insufficient-balance")
          if (!management) book.spent += price
          return new Response(management ? null : JSON.stringify({ secret: 42 }), {
            status: management ? 204 : 200,
            headers: { "payment-receipt": receipt(channelId, book.accepted, book.spent) }
          })
        }
        case "close": {
          const book = books.get(channelId)
          if (book === undefined) return problem(410, "session/channel-not-found")
          if (payload.cumulativeAmount < book.spent) return demand("session/insufficient-balance")
          yield* chain.close(channelId, book.spent)
          return new Response(null, { status: 204 })
        }
        default:
          return problem(400, "bad-request")
      }
    })

  const client = HttpClient.make((request, url) =>
    Effect.gen(function*() {
      const presented = Option.getOrUndefined(Credential.parse(request.headers.authorization ?? ""))
      const credential = presented?._tag === "Standard" ? presented.credential : undefined
      const one: Seen = {
        method: request.method,
        url: url.href,
        headers: request.headers,
        challenge: credential?.challenge,
        payload: credential === undefined ? undefined : decodePayload(credential.payload),
        status: "lost"
      }
      seen.push(one)
      const instead = credential === undefined ? undefined : script.next.shift()
      const answer = instead === undefined ? undefined : yield* instead(one, carryOut(one))
      if (answer === "lost") return yield* broken(request, "ECONNRESET")
      if (answer === "refused") return yield* broken(request, "ECONNREFUSED")
      const response = answer ?? (yield* carryOut(one))
      one.status = response.status
      return HttpClientResponse.fromWeb(request, response)
    })
  )

  return { client, seen, script, books, demand }
}

/** What was asked, in words: `GET voucher 10000 200`. */
export const walk = (seen: ReadonlyArray<Seen>): ReadonlyArray<string> =>
  seen.map(({ method, payload, status }) => {
    const cumulative = payload !== undefined && "cumulativeAmount" in payload ? ` ${payload.cumulativeAmount}` : ""
    return `${method} ${payload?.action ?? "-"}${cumulative} ${status}`
  })

// ---------------------------------------------------------------------------------------------------------------------
// The rail
// ---------------------------------------------------------------------------------------------------------------------

export const wallet = Wallet.layerPrivateKey(Redacted.make(tempo.key))

/** The rail alone, over a merchant and nodes. */
export const railWith = (options: {
  readonly rail?: TempoSession.Options
  readonly nodes?: ReadonlyArray<Chain.Node>
  readonly client?: HttpClient.HttpClient
  readonly wallet?: Layer.Layer<Wallet.Wallet, WalletError>
} = {}) =>
  Effect.map(Rails.Rails.use((rails) => rails.all), (all) => {
    const rail = all[0]!
    return { rail, ops: Option.getOrThrow(rail.session) }
  }).pipe(
    Effect.provide(
      TempoSession.layer(options.rail).pipe(
        Layer.provideMerge(Rails.Rails.layer),
        Layer.provide([
          options.wallet ?? wallet,
          SecureRandom.layerWebCrypto,
          chainOf(options.nodes ?? [makeChain().node]),
          Layer.succeed(Transport.Transport, Transport.make(options.client ?? makeShop(makeChain()).client))
        ])
      )
    )
  )

/** Lets time go by, a quarter of a second at once, until it has ended. */
export const ticking = Effect.fnUntraced(function*<A, E, R>(effect: Effect.Effect<A, E, R>) {
  const fiber = yield* Effect.forkChild(effect, { startImmediately: true })
  for (let step = 0; step < 4_000 && fiber.pollUnsafe() === undefined; step++) {
    yield* TestClock.adjust("250 millis")
    yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
  }
  return yield* Fiber.join(fiber)
})

export const opening = {
  ...tempo.context,
  limit: 1_000_000n,
  validityMillis: 3_600_000,
  idempotencyKey: "aut_1",
  resource: { method: "GET", url: `${tempo.origin}/data` }
}
