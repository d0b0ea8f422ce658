/**
 * Rows of the tables, and the rows that the steps of a ledger know. What cannot be read is not guessed at.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Counter, Origin } from "../ledger/Books.ts"
import { Authorization, Delivery, Purchase, SessionRecord } from "../ledger/Model.ts"
import * as Series from "../ledger/Rolling.ts"
import type { AuthorizationRow, PurchaseRow, SessionRow } from "../ledger/Rows.ts"
import * as Transition from "../ledger/Transition.ts"
import type { BucketTexts } from "./BucketTexts.ts"
import type { Kept } from "./OlderBuckets.ts"

/**
 * A row that a database takes.
 *
 * @category models
 * @since 0.1.0
 */
export type Columns = Record<string, string | number | bigint | null>

const purchaseText = Schema.fromJsonString(Schema.toCodecJson(Purchase))
const authorizationText = Schema.fromJsonString(Schema.toCodecJson(Authorization))
const sessionText = Schema.fromJsonString(Schema.toCodecJson(SessionRecord))
const namesText = Schema.fromJsonString(Schema.Array(Schema.String))

const readPurchase = Schema.decodeSync(purchaseText)
const readAuthorization = Schema.decodeSync(authorizationText)
const readSession = Schema.decodeSync(sessionText)
const readNames = Schema.decodeSync(namesText)
const readDelivery = Schema.decodeUnknownOption(Delivery)
const writePurchase = Schema.encodeSync(purchaseText)
const writeAuthorization = Schema.encodeSync(authorizationText)
const writeSession = Schema.encodeSync(sessionText)
const writeNames = Schema.encodeSync(namesText)

const read = <A>(series: A | undefined): A => {
  if (series === undefined) throw new Error("a series of amounts cannot be read")
  return series
}

const readRolling = (text: string): Series.Rolling => new Series.Rolling([], read(Series.decode(text)))

/**
 * A row that was fetched or made, with its place in the order of all.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sequenced {
  readonly seq: number
}

// What a database answers. `record` and `spent` are read only where they are needed: see the functions below.

/**
 * @category schemas
 * @since 0.1.0
 */
export interface PurchaseColumns {
  readonly id: string
  readonly seq: number | string | bigint
  readonly lease: string
  readonly counted_at: number | string | bigint
  readonly counters: string
  readonly record: string
}

/**
 * @category schemas
 * @since 0.1.0
 */
export interface AuthorizationColumns {
  readonly id: string
  readonly seq: number | string | bigint
  readonly lease: string
  readonly spent: string
  readonly record: string
}

/**
 * @category schemas
 * @since 0.1.0
 */
export interface SessionColumns {
  readonly id: string
  readonly seq: number | string | bigint
  readonly lease: string
  readonly record: string
}

/**
 * @category schemas
 * @since 0.1.0
 */
export interface CounterColumns {
  readonly name: string
  readonly exposed: string
  readonly spent: string
  readonly count: string
  /** The version of the older buckets, and these where they are not known to be of that version. */
  readonly older: string
  readonly older_spent: string | null
  readonly older_count: string | null
  readonly time: number | string | bigint
}

/**
 * @category schemas
 * @since 0.1.0
 */
export interface OriginColumns {
  readonly name: string
  readonly hanging: string
  readonly abandoned: string
  readonly refused: string
}

/**
 * @category decoding
 * @since 0.1.0
 */
export const purchase = (row: PurchaseColumns): PurchaseRow & Sequenced => ({
  seq: Number(row.seq),
  value: readPurchase(row.record),
  lease: row.lease,
  counters: readNames(row.counters),
  countedAt: Number(row.counted_at)
})

/**
 * @category decoding
 * @since 0.1.0
 */
export const authorization = (row: AuthorizationColumns): AuthorizationRow & Sequenced => ({
  seq: Number(row.seq),
  value: readAuthorization(row.record),
  lease: row.lease,
  spent: readRolling(row.spent)
})

/**
 * @category decoding
 * @since 0.1.0
 */
export const session = (row: SessionColumns): SessionRow & Sequenced => ({
  seq: Number(row.seq),
  value: readSession(row.record),
  lease: row.lease
})

/**
 * @category decoding
 * @since 0.1.0
 */
export const olderBuckets = (row: CounterColumns): Kept => ({
  version: row.older,
  spent: read(Series.decode(row.older_spent ?? "?")),
  count: read(Series.decode(row.older_count ?? "?"))
})

/**
 * @category decoding
 * @since 0.1.0
 */
export const counter = (row: CounterColumns, older: Kept, texts: BucketTexts): Counter => ({
  exposed: BigInt(row.exposed),
  spent: new Series.Rolling(older.spent, read(texts.decode(`spent ${row.name}`, row.spent))),
  count: new Series.Rolling(older.count, read(texts.decode(`count ${row.name}`, row.count)))
})

/**
 * @category decoding
 * @since 0.1.0
 */
export const origin = (row: OriginColumns): Origin => ({
  hanging: BigInt(row.hanging),
  abandoned: readRolling(row.abandoned),
  refused: readRolling(row.refused)
})

/**
 * @category decoding
 * @since 0.1.0
 */
export const delivery = (text: string | null): Delivery | undefined => Option.getOrUndefined(readDelivery(text))

/**
 * @category encoding
 * @since 0.1.0
 */
export const purchaseColumns = ({ countedAt, counters, lease, seq, value }: PurchaseRow & Sequenced): Columns => ({
  id: value.id,
  seq,
  purchase_key: value.key,
  agent: value.agent,
  origin: value.origin,
  delivery: value.delivery,
  lease,
  created_at: value.createdAt,
  counted_at: countedAt,
  counters: writeNames(counters),
  record: writePurchase(value)
})

/**
 * @category encoding
 * @since 0.1.0
 */
export const authorizationColumns = ({ lease, seq, spent, value }: AuthorizationRow & Sequenced): Columns => ({
  id: value.id,
  seq,
  purchase: value.purchase ?? null,
  session: value.session ?? null,
  rail: value.plan.rail,
  kind: value.plan.kind,
  state: value.state,
  lease,
  unproven: Transition.isUnproven(value) ? 1 : 0,
  mark: value.plan.mark ?? null,
  spent: Series.encode(spent.all),
  record: writeAuthorization(value)
})

/**
 * @category encoding
 * @since 0.1.0
 */
export const sessionColumns = ({ lease, seq, value }: SessionRow & Sequenced): Columns => ({
  id: value.id,
  seq,
  origin: value.origin,
  state: value.state,
  lease,
  record: writeSession(value)
})

/**
 * @category encoding
 * @since 0.1.0
 */
export const counterColumns = (
  name: string,
  { count, exposed, spent }: Counter,
  older: string,
  texts: BucketTexts
): Columns => ({
  name,
  exposed: String(exposed),
  spent: texts.encode(`spent ${name}`, spent.recent),
  count: texts.encode(`count ${name}`, count.recent),
  older
})

/**
 * @category encoding
 * @since 0.1.0
 */
export const olderColumns = (name: string, { count, spent }: Counter, version: string): Columns => ({
  name,
  version,
  spent: Series.encode(spent.older),
  count: Series.encode(count.older)
})

/**
 * @category encoding
 * @since 0.1.0
 */
export const originColumns = (name: string, { abandoned, hanging, refused }: Origin): Columns => ({
  name,
  hanging: String(hanging),
  abandoned: Series.encode(abandoned.all),
  refused: Series.encode(refused.all)
})
