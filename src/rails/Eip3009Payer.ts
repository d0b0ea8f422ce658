/**
 * A wallet that pays by EIP-3009 authorisations, whatever protocol carries them: what it takes on, what it signs, and what
 * became of it.
 *
 * Of what a merchant says, only price, payee and patience go into a signature. Decimals, contract, chain and domain come
 * from our own table.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Number from "effect/Number"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { type Address, type Hex, zeroAddress } from "viem"
import { getAddress, isAddress } from "viem/utils"
import * as Asset from "../Asset.ts"
import * as Chain from "../Chain.ts"
import type { Account } from "../Movement.ts"
import { type ChainError, WalletError } from "../PaymentError.ts"
import * as Policy from "../Policy.ts"
import type { Plan, Unaccepted, Verdict } from "../Rails.ts"
import { Wallet } from "../Wallet.ts"
import * as Eip3009 from "./Eip3009.ts"
import * as Eip3009Account from "./Eip3009Account.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The networks to pay on, in CAIP-2; by default every `eip155` network of the asset table. */
  readonly networks?: ReadonlyArray<string> | undefined
  /**
   * The longest time for which an authorisation is signed, however patient the merchant is. Default: one minute; the
   * policy's {@link Policy.maxValiditySeconds} at most.
   */
  readonly maxValidity?: Duration.Input | undefined
  /**
   * Whether a wallet with code (EIP-7702) is refused: whether its signature holds depends on that code. It is asked for
   * once per network, before the first signature, where an RPC is configured; a node that does not answer in two seconds
   * does not hold a payment up. Default: true.
   */
  readonly checkCode?: boolean | undefined
}

/**
 * A transfer that a merchant demands, as it stands in the demand.
 *
 * @category models
 * @since 0.1.0
 */
export interface Demanded {
  /** CAIP-2. */
  readonly network: string
  readonly asset: string
  readonly units: bigint
  readonly payee: string
}

/**
 * A transfer that can be authorised, in the words of our own table.
 *
 * @category models
 * @since 0.1.0
 */
export interface Terms {
  readonly asset: Asset.Asset
  readonly domain: Eip3009.Domain
  readonly payee: Address
}

/**
 * What a plan holds of an authorisation.
 *
 * @category models
 * @since 0.1.0
 */
export const Message = Schema.Struct({
  domain: Eip3009.Domain,
  authorization: Eip3009.Authorization,
  /** Seconds since the epoch. */
  plannedAt: Schema.Natural
})

/**
 * @category models
 * @since 0.1.0
 */
export type Message = typeof Message.Type

const decodeMessage = Schema.decodeUnknownOption(Message)

/**
 * A payer.
 *
 * @category models
 * @since 0.1.0
 */
export interface Payer {
  readonly address: Address
  /** Whether it can sign the same again by itself. */
  readonly repeats: boolean
  /** The longest time for which it signs, in seconds. */
  readonly maxValidity: number
  /** What a demanded transfer is, or why it is not authorised. */
  readonly terms: (demanded: Demanded) => Result.Result<Terms, Unaccepted>
  /** Signs what a plan holds, and nothing that contradicts the plan. */
  readonly sign: (plan: Plan, message: Message) => Effect.Effect<Hex, WalletError>
  /** What became of the message that a plan holds. */
  readonly reconcile: (plan: Plan) => Effect.Effect<Verdict, ChainError>
  readonly balance: (plan: Plan) => Effect.Effect<Option.Option<bigint>, ChainError>
  /** What leaves the wallet, on the chains that can be asked. */
  readonly accounts: ReadonlyArray<Account>
  /** What the authorisation of a plan is found by. */
  readonly mark: (domain: Eip3009.Domain, nonce: string) => string
}

const unusable = (detail: string) => new WalletError({ operation: "sign the payment", detail })

/**
 * The verdict on, and the refusal of, a plan that another rail has made.
 *
 * @category constructors
 * @since 0.1.0
 */
export const foreign = {
  sign: Effect.fail(unusable("the plan is not one of this rail")),
  verdict: Eip3009.unknown("the plan is not one of this rail")
} as const

/**
 * Makes a payer of the wallet, the chains and the asset table that are provided.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Payer, never, Wallet | Chain.Chain> {
  const wallet = yield* Wallet
  const chain = yield* Chain.Chain
  const table = yield* Asset.Table
  const address = getAddress(wallet.address)
  const networks = options.networks === undefined ? undefined : new Set(options.networks)

  const terms: Payer["terms"] = (demanded) => {
    const refuse = (why: string, rule?: string) => Result.fail(rule === undefined ? { why } : { why, rule })
    const { network, units } = demanded
    if (!network.startsWith("eip155:")) return refuse("not an EVM network")
    if (networks !== undefined && !networks.has(network)) {
      return refuse("the network is not one of those that this rail pays on", "network")
    }
    const found = table.find(network, demanded.asset)
    if (Option.isNone(found)) return refuse("the asset is not in our table")
    const asset = found.value
    const { chainId, domain } = asset
    if (domain === undefined || chainId === undefined || !isAddress(asset.address)) {
      return refuse("the asset takes no EIP-3009 transfers")
    }
    if (units === 0n) return refuse("nothing is to be paid")
    if (!isAddress(demanded.payee)) return refuse("the payee is not an address")
    const payee = getAddress(demanded.payee)
    if (payee === address || payee === zeroAddress || payee === getAddress(asset.address)) {
      return refuse("the payee is the payer, the zero address or the token")
    }
    return Result.succeed({ asset, domain: { ...domain, chainId, verifyingContract: asset.address }, payee })
  }

  /** The networks on which the wallet is known to have no code. */
  const plain = yield* Ref.make<ReadonlySet<string>>(new Set())
  const refuseCode = Effect.fnUntraced(function*(network: string) {
    const [node] = chain.nodes(network)
    if (options.checkCode === false || node === undefined || (yield* Ref.get(plain)).has(network)) return
    const code = yield* node.code(address).pipe(Effect.timeoutOption("2 seconds"), Effect.orElseSucceed(Option.none))
    if (Option.isNone(code)) return
    if (code.value !== "0x") {
      return yield* unusable(`${address} has code on ${network}, so that its signatures may stop to hold`)
    }
    yield* Ref.update(plain, (networks) => new Set([...networks, network]))
  })

  const accounts = table.assets.flatMap((asset): ReadonlyArray<Account> => {
    const nodes = chain.nodes(asset.network)
    const isOurs = asset.usd && asset.domain !== undefined && (networks === undefined || networks.has(asset.network))
    return isOurs && nodes.length > 0 && isAddress(asset.address)
      ? [Eip3009Account.make(nodes, asset, asset.address, address)]
      : []
  })

  return {
    address,
    accounts,
    mark: ({ chainId, verifyingContract }, nonce) =>
      Eip3009Account.mark({ network: `eip155:${chainId}`, token: verifyingContract, payer: address, nonce }),
    repeats: wallet.resign !== "no",
    maxValidity: Number.clamp(
      Math.floor(Duration.toSeconds(Duration.fromInputUnsafe(options.maxValidity ?? "1 minute"))),
      { minimum: Policy.minValiditySeconds, maximum: Policy.maxValiditySeconds }
    ),
    terms,
    sign: Effect.fnUntraced(function*(plan, { authorization, domain }) {
      if (authorization.from !== address) return yield* unusable("the plan was made for another wallet")
      const isOfThePlan = authorization.value === plan.units.toString() && authorization.to === plan.payee &&
        `eip155:${domain.chainId}` === plan.network && domain.verifyingContract === plan.asset &&
        BigInt(authorization.validBefore) * 1000n === BigInt(plan.spendableUntil ?? 0)
      if (!isOfThePlan) return yield* unusable("the plan contradicts itself")
      yield* refuseCode(plan.network)
      return yield* wallet.signTypedData(Eip3009.typedData(domain, authorization))
    }),
    reconcile: Effect.fn("Eip3009Payer.reconcile")(function*({ data, network }) {
      const message = decodeMessage(data)
      if (Option.isNone(message)) return foreign.verdict
      const { authorization, domain, plannedAt } = message.value
      const signed = { token: domain.verifyingContract, authorization, plannedAt }
      return yield* Eip3009.reconcile(chain.nodes(network), signed)
    }),
    balance: Effect.fn("Eip3009Payer.balance")(function*({ data, network }) {
      const [node] = chain.nodes(network)
      const message = decodeMessage(data)
      if (node === undefined || Option.isNone(message)) return Option.none()
      const { authorization, domain } = message.value
      return yield* Effect.timeoutOption(
        Eip3009.balance(node, domain.verifyingContract, authorization.from),
        "2 seconds"
      )
    })
  }
})
