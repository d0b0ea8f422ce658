/**
 * What the ledger keeps, as documents: nothing that signs, no token, and none of the texts of merchants. A plan is told by the
 * digest of what was signed, since a merchant's challenge is a part of that.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { sha256, stringToBytes } from "viem/utils"
import * as Amount from "../Amount.ts"
import type * as Asset from "../Asset.ts"
import type * as Ledger from "../Ledger.ts"
import type * as Query from "../ledger/Query.ts"
import * as Outcome from "../Outcome.ts"
import * as Rails from "../Rails.ts"
import * as Json from "../wire/Json.ts"
import * as Moment from "./Moment.ts"
import type { JsonObject } from "./Output.ts"
import * as Paid from "./Paid.ts"

/**
 * What was spent for a purchase, and what is held for it, in micro-dollars.
 *
 * @category getters
 * @since 0.1.0
 */
export const money = ({ authorizations }: Query.Paid): { readonly spent: bigint; readonly held: bigint } => ({
  spent: authorizations.reduce((sum, { spentUsd }) => sum + spentUsd, 0n),
  held: authorizations.reduce((sum, { exposedUsd }) => sum + exposedUsd, 0n)
})

/**
 * The newest reference that an authorisation has evidence of: a transaction, most often.
 *
 * @category getters
 * @since 0.1.0
 */
export const reference = ({ evidence }: Ledger.Authorization): string | undefined =>
  evidence.findLast(({ reference }) => reference !== undefined)?.reference

/**
 * A purchase in one object of text and numbers, in the order of the columns of `--csv`.
 *
 * @category formatting
 * @since 0.1.0
 */
export const summary = (table: typeof Asset.Table.Service, row: Query.Paid): JsonObject => {
  const { purchase } = row
  const { held, spent } = money(row)
  const paid = Option.getOrUndefined(Paid.of(table, row))
  const authorization = paid?.authorization
  return {
    createdAt: Moment.toIso(purchase.createdAt),
    id: purchase.id,
    agent: purchase.agent,
    origin: purchase.origin,
    method: purchase.method,
    path: purchase.path,
    rail: authorization?.plan.rail ?? null,
    network: authorization?.plan.network ?? null,
    asset: paid === undefined ? null : Paid.symbol(paid),
    amount: paid === undefined ? null : Paid.decimal(paid),
    units: authorization?.plan.units.toString() ?? null,
    payee: authorization?.plan.payee ?? null,
    approvedUsd: Amount.formatUsd(purchase.approvedUsd),
    spentUsd: Amount.formatUsd(spent),
    heldUsd: Amount.formatUsd(held),
    state: authorization?.state ?? null,
    delivery: purchase.delivery,
    resumes: purchase.resumes,
    reference: (authorization && reference(authorization)) ?? null
  }
}

/**
 * The columns of `--csv`.
 *
 * @category constants
 * @since 0.1.0
 */
export const columns: ReadonlyArray<string> = [
  "createdAt",
  "id",
  "agent",
  "origin",
  "method",
  "path",
  "rail",
  "network",
  "asset",
  "amount",
  "units",
  "payee",
  "approvedUsd",
  "spentUsd",
  "heldUsd",
  "state",
  "delivery",
  "resumes",
  "reference"
]

const optionalTime = (millis: number | undefined) => millis === undefined ? null : Moment.toIso(millis)

/**
 * An authorisation with all of its evidence.
 *
 * @category formatting
 * @since 0.1.0
 */
export const authorization = (one: Ledger.Authorization): JsonObject => ({
  id: one.id,
  session: one.session ?? null,
  rail: one.plan.rail,
  kind: one.plan.kind,
  network: one.plan.network,
  asset: one.plan.asset,
  units: one.plan.units.toString(),
  payer: one.plan.payer,
  payee: one.plan.payee,
  feeUsd: one.plan.feeUsd === undefined ? null : Amount.formatUsd(one.plan.feeUsd),
  spendableUntil: optionalTime(one.plan.spendableUntil),
  planSha256: digest(one.plan),
  state: one.state,
  broadcast: one.broadcast === undefined ? null : { ...one.broadcast },
  holdUsd: Amount.formatUsd(one.holdUsd),
  heldUsd: Amount.formatUsd(one.exposedUsd),
  spentUsd: Amount.formatUsd(one.spentUsd),
  drawUsd: Amount.formatUsd(one.drawUsd),
  evidence: Outcome.evidenceJson(one.evidence),
  createdAt: Moment.toIso(one.createdAt),
  updatedAt: Moment.toIso(one.updatedAt)
})

const encodePlan = Schema.encodeSync(Schema.toCodecJson(Rails.Plan))

/** Of `{ "plan": ... }` in canonical JSON (RFC 8785). */
const digest = (plan: Rails.Plan): string => sha256(stringToBytes(Json.canonical({ plan: encodePlan(plan) }))).slice(2)

/**
 * A purchase with all that was authorised for it.
 *
 * @category formatting
 * @since 0.1.0
 */
export const purchase = ({ authorizations, purchase }: Query.Paid): JsonObject => ({
  id: purchase.id,
  createdAt: Moment.toIso(purchase.createdAt),
  agent: purchase.agent,
  origin: purchase.origin,
  method: purchase.method,
  path: purchase.path,
  approvedUsd: Amount.formatUsd(purchase.approvedUsd),
  doubleSpend: purchase.doubleSpend,
  delivery: purchase.delivery,
  resumes: purchase.resumes,
  choice: purchase.choice,
  authorizations: authorizations.map(authorization)
})

/**
 * What left the wallet and is no payment of this ledger. It counts as spent.
 *
 * @category formatting
 * @since 0.1.0
 */
export const foreign = (one: Ledger.Foreign): JsonObject => ({
  paidAt: Moment.toIso(one.at),
  notedAt: Moment.toIso(one.notedAt),
  network: one.network,
  asset: one.asset,
  units: one.units.toString(),
  payer: one.payer,
  payee: one.payee,
  spentUsd: Amount.formatUsd(one.usd),
  transaction: one.transaction,
  maybeForgotten: one.maybeForgotten,
  reference: one.reference
})

/**
 * The same in the order of {@link columns}: what nobody knows of it is empty.
 *
 * @category formatting
 * @since 0.1.0
 */
export const foreignSummary = (table: typeof Asset.Table.Service, one: Ledger.Foreign): JsonObject => {
  const asset = Option.getOrUndefined(table.find(one.network, one.asset))
  return {
    createdAt: Moment.toIso(one.at),
    network: one.network,
    asset: asset?.symbol ?? one.asset,
    amount: asset === undefined ? null : Amount.format(one.units, asset.decimals),
    units: one.units.toString(),
    payee: one.payee,
    spentUsd: Amount.formatUsd(one.usd),
    heldUsd: Amount.formatUsd(0n),
    state: "foreign",
    reference: one.transaction
  }
}

/**
 * A session, without what its rail keeps of it.
 *
 * @category formatting
 * @since 0.1.0
 */
export const session = (one: Ledger.SessionRecord): JsonObject => ({
  id: one.id,
  origin: one.origin,
  rail: one.rail,
  state: one.state,
  limitUsd: Amount.formatUsd(one.limitUsd),
  spentUsd: Amount.formatUsd(one.spentUsd),
  reservedUsd: Amount.formatUsd(one.reservedUsd),
  expiresAt: Moment.toIso(one.expiresAt),
  authorization: one.authorization
})
