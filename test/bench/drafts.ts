/** Payments as agents make them: a charge with all that a wallet signs, three counters and three limits. */
import { Clock, Effect, Option } from "effect"
import * as Budget from "../../src/Budget.ts"
import * as Ledger from "../../src/Ledger.ts"
import * as Rails from "../../src/Rails.ts"

export const origin = "https://merchant.test"
export const agent = "bench"
export const payer = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
export const priceUsd = 10_000n

const budget = Budget.fromPlan(
  Budget.make({ limit: "1000000000", window: "1 day", perDay: "1000000000", perOrigin: "1000000000" })
)

export const who = { agent, origin, payer }

const planOf = (at: number, hex: string) =>
  new Rails.Plan({
    rail: "x402/exact",
    kind: "charge",
    network: "eip155:8453",
    asset: "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913",
    units: priceUsd,
    payer,
    payee: "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
    spendableUntil: at + 60_000,
    data: {
      version: 2,
      domain: {
        name: "USD Coin",
        version: "2",
        chainId: 8453,
        verifyingContract: "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"
      },
      authorization: {
        from: payer,
        to: "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
        value: String(priceUsd),
        validAfter: "0",
        validBefore: String(Math.floor(at / 1000) + 60),
        nonce: `0x${hex.padStart(64, "0")}`
      },
      plannedAt: Math.floor(at / 1000)
    }
  })

let made = 0

/** A payment that nobody has made before, of this moment. */
export const draft: Effect.Effect<Ledger.Draft> = Effect.map(Clock.currentTimeMillis, (at) => {
  const hex = (++made).toString(16).padStart(12, "0")
  const uuid = `${at.toString(16).padStart(12, "0").replace(/(.{8})/, "$1-")}-7000-8000-${hex}`
  return draftOf(at, hex, uuid)
})

/** The payment of a moment. */
export const draftOf = (at: number, hex: string, uuid: string): Ledger.Draft => ({
  purchase: Option.some(
    new Ledger.Purchase({
      id: `pur_${uuid}`,
      key: `sha-256:${hex.padStart(64, "0")}`,
      agent,
      origin,
      method: "GET",
      path: "/reports/2026/summary",
      approvedUsd: priceUsd,
      doubleSpend: false,
      delivery: "open",
      resumes: 0,
      owner: `own_${uuid}`,
      choice: "x402/exact: the only offer that fits",
      createdAt: at
    })
  ),
  authorization: Ledger.newAuthorization({
    id: `aut_${uuid}`,
    purchase: `pur_${uuid}`,
    plan: planOf(at, hex),
    holdUsd: priceUsd,
    drawUsd: 0n,
    counters: budget.counters(who),
    origin,
    now: at
  }),
  limits: budget.limits(who),
  session: Option.none()
})

/** What a merchant that settles says. */
export const settled: Ledger.Judgement = {
  state: "settled",
  spentUsd: priceUsd,
  evidence: new Rails.Evidence({
    rank: "attested",
    what: "the merchant says that the payment is settled",
    reference: `0x${"ab".repeat(32)}`
  })
}
