/**
 * All that the demo starts, on loopback: a chain with a test token, a facilitator, a session endpoint, and a merchant
 * who sells one thing by both protocols. It ends with its scope.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Asset from "../../Asset.ts"
import * as Facilitator from "../../merchant/Facilitator.ts"
import * as SessionAuthority from "../../merchant/SessionAuthority.ts"
import type { ChainError } from "../../PaymentError.ts"
import * as Evm from "../../testing/chain/Evm.ts"
import * as LocalFacilitator from "../../testing/chain/LocalFacilitator.ts"
import * as Transport from "../../Transport.ts"
import { DemoFailed } from "./DemoFailed.ts"
import { Faults } from "./Faults.ts"
import * as Loopback from "./Loopback.ts"
import * as Merchant from "./Merchant.ts"

/**
 * Who pays in the demo: each has a wallet and an account at the session endpoint of its own, so that the books of the
 * chain and of the authority tell them apart.
 *
 * @category models
 * @since 0.1.0
 */
export interface Payer {
  readonly name: string
  readonly wallet: Evm.Account
  readonly credential: Redacted.Redacted<string>
}

/**
 * What moved from a payer to the merchant.
 *
 * @category models
 * @since 0.1.0
 */
export interface Moved {
  readonly chainUsd: bigint
  readonly transactions: number
  readonly authorityUsd: bigint
}

/**
 * @category services
 * @since 0.1.0
 */
export class World extends Context.Service<World, {
  readonly network: string
  readonly rpcUrl: string
  readonly asset: Asset.Asset
  /** The merchant's origin. */
  readonly merchant: string
  /** The URL of the session endpoint. */
  readonly endpoint: string
  readonly payer: (name: PayerName) => Payer
  /** From the books of the chain and of the authority. */
  readonly moved: (payer: Payer) => Effect.Effect<Moved, ChainError>
  /** Everything that was ever paid to the merchant, whoever paid it. */
  readonly income: Effect.Effect<bigint, ChainError>
  /** The authority ends every open session, as if its time were over. */
  readonly expireSessions: Effect.Effect<void>
}>()("effect-mpp/cli/demo/World") {}

/**
 * @category models
 * @since 0.1.0
 */
export const payerNames = [
  "per request",
  "session",
  "expired token",
  "rate limit",
  "outage",
  "small budget",
  "lost answer"
] as const

/**
 * @category models
 * @since 0.1.0
 */
export type PayerName = typeof payerNames[number]

/** What every payer has, on the chain and at the authority, in micro-dollars: plenty. */
const wealth = 100_000_000n

/** The account of the chain that the merchant is paid to. Those below it pay. */
const till = 8

/** No chain of the demo is one that somebody else could know. */
const chainId = 31337

const refusePublic = Effect.fnUntraced(function*(chain: Evm.EvmChain["Service"]) {
  const refuse = (why: string) => new DemoFailed({ what: "the demo refuses this chain", why })
  if (Asset.known.some(({ network }) => network === chain.network)) {
    return yield* refuse(`${chain.network} is a public network`)
  }
  if (!Transport.isLoopback(new URL(chain.rpcUrl))) return yield* refuse("its RPC is not on this machine")
  if (Number(yield* chain.rpc("eth_chainId")) !== chainId) return yield* refuse("its node answers for another chain")
})

const make = Effect.gen(function*() {
  const chain = yield* Evm.EvmChain
  yield* refusePublic(chain)
  const authority = yield* SessionAuthority.SessionAuthority
  const books = yield* SessionAuthority.Store
  const payers = yield* Payers
  const faults = yield* Faults
  const services = Layer.mergeAll(
    Layer.succeed(SessionAuthority.SessionAuthority, authority),
    Layer.succeed(Faults, faults)
  )

  for (const { wallet } of payers.values()) yield* chain.mint(wallet.address, wealth)

  const endpoint = `${yield* Loopback.serve(SessionAuthority.routes, () => services)}/session`
  const facilitator = yield* Loopback.serve(
    Facilitator.routes,
    () => LocalFacilitator.layer().pipe(Layer.provide(Layer.succeed(Evm.EvmChain, chain)))
  )
  const payTo = chain.accounts[till]!.address
  const merchant = yield* Loopback.serve(
    Merchant.routes,
    (origin) =>
      Merchant.paywall({ origin, payTo, asset: chain.asset, endpoint }).pipe(
        Layer.provideMerge(services),
        Layer.provide(Facilitator.layerHttp({ url: facilitator })),
        Layer.provide(Transport.layer),
        Layer.provide(Loopback.layerClient())
      )
  )

  const transfers = Effect.map(chain.transfers, (all) => all.filter(({ to }) => to === payTo))

  return World.of({
    network: chain.network,
    rpcUrl: chain.rpcUrl,
    asset: chain.asset,
    merchant,
    endpoint,
    payer: (name) => payers.get(name)!,
    moved: Effect.fnUntraced(function*(payer) {
      const own = (yield* transfers).filter(({ from }) => from === payer.wallet.address)
      const { accounts } = yield* authority.audit
      return {
        chainUsd: own.reduce((sum, { units }) => sum + units, 0n),
        transactions: new Set(own.map(({ transaction }) => transaction)).size,
        authorityUsd: accounts.find(({ name }) => name === payer.name)?.spentUsd ?? 0n
      }
    }),
    income: Effect.gen(function*() {
      const { moved } = yield* authority.audit
      return (yield* chain.balance(payTo)) + (moved.get(merchant) ?? 0n)
    }),
    expireSessions: Effect.flatMap(Clock.currentTimeMillis, (now) =>
      books.modify((all) => [
        undefined,
        {
          ...all,
          sessions: HashMap.map(all.sessions, (session) => ({
            ...session,
            expiresAt: Math.min(session.expiresAt, now)
          }))
        }
      ]))
  })
})

/** The payers, known before there is an authority that must know them. */
class Payers extends Context.Service<Payers, ReadonlyMap<string, Payer>>()("effect-mpp/cli/demo/World/Payers") {}

const layerPayers = Layer.effect(
  Payers,
  Effect.gen(function*() {
    const chain = yield* Evm.EvmChain
    const random = yield* SecureRandom.SecureRandom
    const payers = yield* Effect.forEach(
      payerNames,
      (name, at) =>
        Effect.map(random.randomBytes(24), (secret): readonly [string, Payer] => [name, {
          name,
          wallet: chain.accounts[at + 1]!,
          credential: Redacted.make(`demo_${Hex.encode(secret)}`, { label: "credential of the demo" })
        }])
    )
    return new Map(payers)
  })
)

const layerAuthority = Layer.unwrap(
  Effect.map(Payers, (payers) =>
    SessionAuthority.layerStore({
      accounts: [...payers.values()].map(({ credential, name }) => ({ credential, name, balanceUsd: wealth }))
    }))
)

/**
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: {
  /** Seconds between blocks; 0: a block for every transaction, at once. */
  readonly blockTime: number
}) =>
  Layer.effect(World, make).pipe(
    Layer.provide(layerAuthority),
    Layer.provide(SessionAuthority.Store.layerMemory()),
    Layer.provide(layerPayers),
    Layer.provide(SecureRandom.layerWebCrypto),
    Layer.provide(Evm.layer({ chainId, blockTime: options.blockTime === 0 ? undefined : options.blockTime })),
    Layer.provideMerge(Faults.layer)
  )
