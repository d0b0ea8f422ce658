/**
 * What a rail is, and the registry that rail layers add themselves to.
 *
 * A rail is code that can pay one kind of offer: a pure planner, a signer and a judge. `plan` chooses nonce, value and
 * validity, and touches nothing; the ledger writes the plan; only then `sign` turns it into a credential. The same plan
 * always gives an authorisation that cannot be spent beside its first copy. `judge` is total: what did this answer say of
 * the money. `reconcile` asks the chain or the authority. Core owns every record and every lock; a rail owns none.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import type * as Result from "effect/Result"
import * as Amount from "./Amount.ts"
import type { Asset } from "./Asset.ts"
import type { Answer } from "./Demand.ts"
import type { Account } from "./Movement.ts"
import type { Offer } from "./Offer.ts"
import * as PaymentError from "./PaymentError.ts"
import type { Credential, Plan, PlanContext } from "./rail/Plan.ts"
import type { Drawn, SessionOps } from "./rail/SessionOps.ts"
import type { Verdict } from "./rail/Verdict.ts"

export * from "./rail/Plan.ts"
export * from "./rail/SessionOps.ts"
export * from "./rail/Verdict.ts"

/**
 * Code that can pay one kind of offer.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rail {
  readonly name: string
  /** Who pays: the wallet's address, or the session endpoint's account. The key of the day ceiling. */
  readonly payer: string
  /** What it answers, in the words of `Accept-Payment`: `tempo/charge`. Absent: nothing of the Payment scheme. */
  readonly accept?: string | undefined
  /** How many transactions on a chain one payment takes. */
  readonly steps: number
  /** Whether signing the same plan again, also after a restart, is safe and possible without a person. */
  readonly repeats: boolean
  /**
   * Whether signing may move money by itself. From then on neither a failure to sign nor a request that never left proves
   * that nothing was spent. Absent: no.
   */
  readonly signingMayPay?: boolean | undefined
  /** The asset that an offer would be paid in, or why it cannot be paid on this rail. */
  readonly accepts: (offer: Offer, origin: string) => Result.Result<Asset, Unaccepted>
  /** Signs nothing and holds nothing. A chain may be asked for fees and for funds. */
  readonly plan: (
    offer: Offer,
    context: PlanContext
  ) => Effect.Effect<Plan, PaymentError.PolicyDenied | PaymentError.ChainError | PaymentError.InsufficientFunds>
  /** With the hash of a transaction that was broadcast before, that one is presented, and signed again only if need be. */
  readonly sign: (plan: Plan, broadcast?: string) => Effect.Effect<Credential, PaymentError.WalletError>
  /** The same authorisation as the answer to another challenge, if that does not ask for more. Absent: it answers one alone. */
  readonly represent?: (plan: Plan, offer: Offer) => Option.Option<Plan>
  readonly judge: (plan: Plan, answer: Answer, now: number) => Verdict
  /** What was drawn is said of a session's opening. */
  readonly reconcile: (
    plan: Plan,
    drawn?: Drawn
  ) => Effect.Effect<Verdict, PaymentError.ChainError | PaymentError.Unavailable | PaymentError.ProtocolError>
  /** What the payer holds of a plan's asset, in base units; `None` where nobody can be asked. */
  readonly balance?: (plan: Plan) => Effect.Effect<Option.Option<bigint>, PaymentError.ChainError>
  /** What leaves the wallet, by this rail or by others like it, where a chain can be asked. Absent: nobody can be. */
  readonly accounts?: ReadonlyArray<Account> | undefined
  readonly session: Option.Option<SessionOps>
}

/**
 * Whether what a plan answers has expired: its credential must not be presented any more, whatever delayed it.
 *
 * @category guards
 * @since 0.1.0
 */
export const isExpired = ({ presentableUntil }: Plan, now: number): boolean =>
  presentableUntil !== undefined && now >= presentableUntil

/**
 * What a settled authorisation took, with its fees, in micro-dollars.
 *
 * @category getters
 * @since 0.1.0
 */
export const spentUsd = (
  plan: Plan,
  asset: Asset,
  { feeUsd, units }: { readonly units: bigint; readonly feeUsd?: bigint }
): bigint => Amount.toUsd({ asset, units }) + (feeUsd ?? plan.feeUsd ?? 0n)

/**
 * What the payer of a plan lacks: he holds less than it takes, as far as his rail can tell.
 *
 * @category getters
 * @since 0.1.0
 */
export const shortage = (
  rail: Rail,
  plan: Plan,
  asset: Asset
): Effect.Effect<Option.Option<PaymentError.InsufficientFunds>> =>
  rail.balance === undefined ? Effect.succeedNone : rail.balance(plan).pipe(
    Effect.orElseSucceed(Option.none<bigint>),
    Effect.map(Option.filter((available) => available < plan.units)),
    Effect.map(Option.map((available) =>
      new PaymentError.InsufficientFunds({
        network: plan.network,
        asset: asset.symbol,
        needed: plan.units,
        available
      })
    ))
  )

/**
 * Why a rail does not take an offer. With `rule`, it is the policy that forbids it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Unaccepted {
  readonly why: string
  readonly rule?: string
}

/**
 * The registry of rails. Rail layers add themselves while they are built; names are unique and the order of registration
 * means nothing.
 *
 * @category services
 * @since 0.1.0
 */
export class Rails extends Context.Service<Rails, {
  readonly all: Effect.Effect<ReadonlyArray<Rail>>
  readonly add: (rail: Rail) => Effect.Effect<void>
}>()("effect-mpp/Rails") {
  static readonly layer: Layer.Layer<Rails> = Layer.effect(
    Rails,
    Effect.gen(function*() {
      const rails = yield* Ref.make<ReadonlyArray<Rail>>([])
      return Rails.of({
        all: Ref.get(rails),
        add: (rail) =>
          Ref.update(rails, (all) => {
            const taken = new Set(all.map((one) => one.name))
            let name = rail.name
            for (let copy = 2; taken.has(name); copy++) name = `${rail.name}#${copy}`
            return [...all, name === rail.name ? rail : { ...rail, name }]
          })
      })
    })
  )
}

/**
 * Registers a rail: what every rail's `layer` ends in.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerAdd = <E, R>(rail: Effect.Effect<Rail, E, R>): Layer.Layer<never, E, R | Rails> =>
  Layer.effectDiscard(Effect.flatMap(rail, (made) => Effect.flatMap(Rails, (rails) => rails.add(made))))
