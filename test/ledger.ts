/**
 * Short ways to say what the ledger's tests do.
 */
import { Effect, Option } from "effect"
import * as Ledger from "../src/Ledger.ts"
import * as Rails from "../src/Rails.ts"

export const hour = 3_600_000
export const origin = "https://merchant.test"

export const counters = ["agent:a", "wallet:0x1", `origin:${origin} a`]

export const evidence = (rank: Rails.Rank, what = `${rank} by a test`) => new Rails.Evidence({ rank, what })

export const agentLimit = (limit: bigint, windowMillis = hour): Ledger.Limit => ({
  scope: "agent",
  counter: "agent:a",
  limit,
  windowMillis
})

export const countLimit = (limit: bigint): Ledger.Limit => ({
  scope: "count",
  counter: "agent:a",
  limit,
  windowMillis: hour
})

const planOf = (kind: Rails.Plan["kind"], units: bigint, spendableUntil?: number) =>
  new Rails.Plan({
    rail: "test",
    kind,
    network: "eip155:1337",
    asset: "0xaa",
    units,
    payer: "0x1",
    payee: "0x2",
    ...(spendableUntil === undefined ? {} : { spendableUntil }),
    data: { nonce: "1" }
  })

export const purchaseOf = (
  id: string,
  options: Partial<Pick<Ledger.Purchase, "key" | "owner" | "approvedUsd" | "doubleSpend">> = {}
) =>
  new Ledger.Purchase({
    id,
    key: options.key ?? `key of ${id}`,
    agent: "a",
    origin,
    method: "GET",
    path: "/",
    approvedUsd: options.approvedUsd ?? 1_000_000n,
    doubleSpend: options.doubleSpend ?? false,
    delivery: "open",
    resumes: 0,
    owner: options.owner ?? id,
    choice: "test",
    createdAt: 0
  })

interface Options {
  readonly limits?: ReadonlyArray<Ledger.Limit>
  readonly purchase?: Ledger.Purchase
  readonly spendableUntil?: number
}

/** A payment that left the wallet, and that the ledger does not know. */
export const foreign = (reference: string, change: Partial<Ledger.Foreign> = {}) =>
  new Ledger.Foreign({
    reference,
    network: "eip155:1337",
    asset: "0xaa",
    payer: "0x1",
    payee: "0x2",
    units: 30_000n,
    usd: 31_000n,
    transaction: `0x${reference}`,
    counters: ["agent:default"],
    at: 0,
    notedAt: 0,
    maybeForgotten: false,
    ...change
  })

/** A purchase `p-<id>` and its charge. */
export const charge = (
  id: string,
  usd: bigint,
  { limits = [], purchase = purchaseOf(`p-${id}`), spendableUntil }: Options = {}
): Ledger.Draft => ({
  purchase: Option.some(purchase),
  authorization: Ledger.newAuthorization({
    id,
    purchase: purchase.id,
    plan: planOf("charge", usd, spendableUntil),
    holdUsd: usd,
    drawUsd: 0n,
    counters,
    origin,
    now: 0
  }),
  limits,
  session: Option.none()
})

/** A session, held by the authorisation `open-<id>`. */
export const opening = (id: string, usd: bigint, { limits = [], spendableUntil }: Options = {}): Ledger.Draft => ({
  purchase: Option.none(),
  authorization: Ledger.newAuthorization({
    id: `open-${id}`,
    session: id,
    plan: planOf("open", usd, spendableUntil),
    holdUsd: usd,
    drawUsd: 0n,
    counters,
    origin,
    now: 0
  }),
  limits,
  session: Option.some(
    new Ledger.SessionRecord({
      id,
      rail: "test",
      origin,
      key: id,
      authorization: `open-${id}`,
      limitUsd: usd,
      spentUsd: 0n,
      reservedUsd: 0n,
      state: "establishing",
      expiresAt: hour
    })
  )
})

/** A purchase `p-<id>` and its draw on a session. */
export const drawing = (
  id: string,
  session: string,
  usd: bigint,
  { limits = [], purchase = purchaseOf(`p-${id}`) }: Options = {}
): Ledger.Draft => ({
  purchase: Option.some(purchase),
  authorization: Ledger.newAuthorization({
    id,
    purchase: purchase.id,
    session,
    plan: planOf("draw", usd),
    holdUsd: 0n,
    drawUsd: usd,
    counters,
    origin,
    now: 0
  }),
  limits,
  session: Option.none()
})

const use = <A, E>(f: (ledger: Ledger.Ledger["Service"]) => Effect.Effect<A, E>) => Effect.flatMap(Ledger.Ledger, f)

export const authorize = (draft: Ledger.Draft) => use((ledger) => ledger.authorize(draft))

export const judge = (id: string, state: Ledger.Judgement["state"], rank: Rails.Rank, spentUsd?: bigint) =>
  use((ledger) => ledger.judged(id, { state, spentUsd, evidence: evidence(rank) }))

export const advance = (id: string, step: Ledger.Broadcast["step"], transaction = "0x01") =>
  use((ledger) => ledger.advanced(id, { transaction, step }))

export const notSent = (id: string) =>
  use((ledger) => ledger.judged(id, { state: "released", evidence: evidence("presumed", "not sent") }))

export const resend = (id: string) => use((ledger) => ledger.resent(id))

export const deliver = (purchase: string, delivery: Ledger.Delivery) =>
  use((ledger) => ledger.delivered(purchase, delivery))

export const claim = (key: string, owner: string) => use((ledger) => ledger.claim(key, owner))

export const live = (id: string, usd: bigint, options: Options = {}) =>
  Effect.andThen(authorize(opening(id, usd, options)), use((ledger) => ledger.updateSession(id, { state: "live" })))

export const update = (id: string, change: Parameters<Ledger.Ledger["Service"]["updateSession"]>[1]) =>
  use((ledger) => ledger.updateSession(id, change))

export const close = (
  id: string,
  spentUsd: bigint,
  state: "closed" | "presumed" = "closed",
  rank: Rails.Rank = "attested"
) => use((ledger) => ledger.closeSession(id, { spentUsd, state, evidence: evidence(rank) }))

export const authorization = (id: string) =>
  use((ledger) => Effect.flatMap(ledger.authorization(id), (found) => Effect.fromOption(found)))

export const session = (id: string) =>
  use((ledger) => Effect.flatMap(ledger.session(id), (found) => Effect.fromOption(found)))

export const purchase = (id: string) =>
  use((ledger) =>
    Effect.flatMap(
      ledger.purchases({}),
      (all) => Effect.fromNullishOr(all.find((one) => one.purchase.id === id)?.purchase)
    )
  )

/** What stands in the agent's counter. */
export const standing = (windowMillis = hour) => use((ledger) => ledger.standing("agent:a", windowMillis))

export const money = (windowMillis = hour) =>
  Effect.map(standing(windowMillis), ({ exposed, spent }) => ({ spent, exposed }))
