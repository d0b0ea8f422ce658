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
import type * as Redacted from "effect/Redacted"
import * as Ref from "effect/Ref"
import type * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Amount from "./Amount.ts"
import type { Asset } from "./Asset.ts"
import type { Answer } from "./Demand.ts"
import type { Account } from "./Movement.ts"
import type { Offer } from "./Offer.ts"
import * as PaymentError from "./PaymentError.ts"
import * as Challenge from "./wire/mpp/Challenge.ts"

/**
 * Everything that an authorisation is made from, without a secret: what the ledger holds before the signer is called.
 *
 * @category models
 * @since 0.1.0
 */
export class Plan extends Schema.Class<Plan>("effect-mpp/Rails/Plan")({
  /** The name of the rail, for example `x402/exact`. */
  rail: Schema.String,
  /** `charge` pays once, `open` authorises a session's limit, `draw` spends within a session. */
  kind: Schema.Literals(["charge", "open", "draw"]),
  network: Schema.String,
  /** Address of the asset in our own table. */
  asset: Schema.String,
  /** The most that this authorisation can take, in base units. */
  units: Amount.Units,
  payer: Schema.String,
  payee: Schema.String,
  /** The most that fees which the payer pays come to, in micro-dollars: part of the hold. Absent: none. */
  feeUsd: Schema.optionalKey(Amount.Units),
  /** When it can no longer become spent (milliseconds since the epoch); absent: never. */
  spendableUntil: Schema.optionalKey(Schema.Natural),
  /** When what it answers has expired (milliseconds since the epoch): it is not presented any more from then on. */
  presentableUntil: Schema.optionalKey(Schema.Natural),
  /** What a payment of it is found by on its chain. */
  mark: Schema.optionalKey(Schema.String),
  /** The complete unsigned payload, in the rail's own form. */
  data: Schema.Json,
  /** The challenge that it answers as its carrier has it, for the echo; no rail writes or reads it. Absent over HTTP. */
  native: Schema.optionalKey(Challenge.Native)
}) {}

/**
 * What is sent with a request: header fields, in one envelope or in several equivalent ones.
 *
 * **Details**
 *
 * All envelopes carry the same authorisation. The first is sent first; another one only if the answer says that the
 * server did not look into the first.
 *
 * @category models
 * @since 0.1.0
 */
export interface Credential {
  readonly envelopes: readonly [Envelope, ...ReadonlyArray<Envelope>]
  /** What must have happened on a chain before it is presented. */
  readonly broadcast?: Broadcast | undefined
}

/**
 * A transaction that the payer sends to the chain himself, and whose hash the credential presents.
 *
 * @category models
 * @since 0.1.0
 */
export interface Broadcast {
  /** Its hash, which is written down before it leaves. */
  readonly transaction: string
  /** Sends it unless it was sent before, and waits until it is mined, or never can be. Repeating it is safe. */
  readonly run: Effect.Effect<Verdict>
}

/**
 * Header fields of one form of a credential. Names are lower case.
 *
 * @category models
 * @since 0.1.0
 */
export type Envelope = { readonly [header: string]: Redacted.Redacted<string> }

/**
 * How much a piece of evidence is worth: `proven` by a finalized block, `observed` in the latest one, `attested` by the
 * configured session endpoint, `claimed` by the merchant, `presumed` from time alone.
 *
 * A claim may commit money and never frees it: only `proven` (for a token session `attested`) returns a hold.
 *
 * @category models
 * @since 0.1.0
 */
export const Rank = Schema.Literals(["proven", "observed", "attested", "claimed", "presumed"])

/**
 * @category models
 * @since 0.1.0
 */
export type Rank = typeof Rank.Type

/**
 * A reason to believe something of an authorisation.
 *
 * @category models
 * @since 0.1.0
 */
export class Evidence extends Schema.Class<Evidence>("effect-mpp/Rails/Evidence")({
  rank: Rank,
  /** In our own words: `receipt`, `authorization used`, `status 402`. */
  what: Schema.String,
  /** A transaction hash or the like, of harmless characters. */
  reference: Schema.optionalKey(Schema.String),
  /** It does not fit what was signed: another payer, payee, network or amount. */
  mismatch: Schema.optionalKey(Schema.Boolean),
  detail: Schema.optionalKey(Schema.Json)
}) {}

/**
 * What an answer says of the money, and what to do next.
 *
 * - `Settled`: it moved (`units` of it). With `content`, the answer is what was bought.
 * - `Rejected`: the server says no, and may still take it.
 * - `Void`: proven that it can never move.
 *
 * Fees come on top: `feeUsd` is what the payer paid for them, in micro-dollars. Where a settled one does not say, it counts
 * all that was held for them.
 *
 * - `Unknown`: no statement can be trusted. With `content`, the answer is what was bought all the same.
 *
 * @category models
 * @since 0.1.0
 */
export type Verdict =
  | {
    readonly _tag: "Settled"
    readonly units: bigint
    readonly feeUsd?: bigint
    readonly content: boolean
    readonly evidence: Evidence
  }
  | { readonly _tag: "Rejected"; readonly problem: string; readonly evidence: Evidence }
  | { readonly _tag: "Void"; readonly feeUsd?: bigint; readonly evidence: Evidence }
  | {
    readonly _tag: "Unknown"
    readonly content: boolean
    readonly evidence: Evidence
    readonly next: Next
  }

/**
 * What may resolve an unknown outcome.
 *
 * - `resend`: the same authorisation again, after `after` milliseconds if the server said so;
 * - `envelope`: the same authorisation in the credential's next envelope;
 * - `reconcile`: ask the chain or the authority;
 * - `renew`: the session's token expired: renew the session once, and draw again.
 *
 * @category models
 * @since 0.1.0
 */
export type Next =
  | { readonly _tag: "resend"; readonly after?: number | undefined }
  | { readonly _tag: "envelope" }
  | { readonly _tag: "reconcile" }
  | { readonly _tag: "renew" }

/**
 * What a rail must know to plan a payment.
 *
 * @category models
 * @since 0.1.0
 */
export interface PlanContext {
  readonly origin: string
  readonly purchase: string
  readonly agent: string
}

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
  readonly judge: (plan: Plan, answer: Answer, now: number) => Verdict
  readonly reconcile: (
    plan: Plan
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
 * What a session's authority says that was spent, in base units.
 *
 * @category models
 * @since 0.1.0
 */
export interface Figures {
  readonly spent: bigint
  readonly remaining: bigint
  readonly open: boolean
}

/**
 * A session at its authority, without its secret.
 *
 * @category models
 * @since 0.1.0
 */
export class SessionHandle extends Schema.Class<SessionHandle>("effect-mpp/Rails/SessionHandle")({
  /** The authority's own name for the session. */
  wireId: Schema.String,
  limit: Amount.Units,
  expiresAt: Schema.Natural,
  /** What the rail needs to inspect and close it. No secret. */
  data: Schema.Json
}) {}

/**
 * What a rail adds that keeps sessions.
 *
 * @category models
 * @since 0.1.0
 */
export interface SessionOps {
  /** Two offers of one origin with the same key are served by the same session. */
  readonly key: (offer: Offer) => string
  /** The plan of kind `open`. Pure, like every plan. */
  readonly planOpen: (
    offer: Offer,
    context: PlanContext & {
      readonly limit: bigint
      readonly validityMillis: number
      readonly idempotencyKey: string
    }
  ) => Effect.Effect<Plan, PaymentError.PolicyDenied>
  /**
   * Carries an `open` plan out. Repeating it with the same plan never opens a second session. `RateLimited`,
   * `PaymentRejected`, and `Unavailable` with `notSent` prove that none was opened; the other failures prove nothing.
   */
  readonly establish: (plan: Plan) => Effect.Effect<
    SessionHandle,
    | PaymentError.Unavailable
    | PaymentError.RateLimited
    | PaymentError.ProtocolError
    | PaymentError.PaymentRejected
  >
  /** The plan of kind `draw`: spends `units` of a session. */
  readonly planDraw: (handle: SessionHandle, offer: Offer) => Plan
  readonly inspect: (
    handle: SessionHandle
  ) => Effect.Effect<Figures, PaymentError.Unavailable | PaymentError.ProtocolError>
  /** Closes the session and forgets its secret; answers the final figures. */
  readonly close: (
    handle: SessionHandle
  ) => Effect.Effect<Figures, PaymentError.Unavailable | PaymentError.ProtocolError>
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
