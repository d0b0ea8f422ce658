import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Result } from "effect"
import * as Asset from "../src/Asset.ts"
import * as Choice from "../src/Choice.ts"
import type * as Demand from "../src/Demand.ts"
import * as Offer from "../src/Offer.ts"
import * as PaymentError from "../src/PaymentError.ts"
import type * as Rails from "../src/Rails.ts"

const base = Option.getOrThrow(
  Asset.makeTable(Asset.known).find("eip155:8453", "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913")
)

const x402 = (units: bigint, method = "exact") =>
  new Offer.Offer({
    protocol: "x402",
    version: 2,
    intent: "charge",
    method,
    network: base.network,
    asset: base.address,
    units,
    payee: "0xbb",
    wire: {}
  })

const token = (units: bigint) =>
  new Offer.Offer({
    protocol: "mpp/1.0",
    intent: "session",
    method: "token",
    network: "mpp:session",
    asset: "usdc",
    units,
    payee: "",
    realm: "merchant.test",
    wire: {}
  })

const unused = () => Effect.die("not asked by a choice")

const rail = (name: string, protocol: string, asset: Asset.Asset, session: boolean, steps = 1): Rails.Rail => ({
  name,
  steps,
  payer: "0xaa",
  repeats: true,
  accepts: (offer) =>
    offer.protocol === protocol && (offer.method === "exact" || offer.method === "token")
      ? Result.succeed(asset)
      : Result.fail({ why: `not for ${name}` }),
  plan: unused,
  sign: unused,
  judge: () => {
    throw new Error("not asked by a choice")
  },
  reconcile: unused,
  session: session
    ? Option.some({
      key: () => "",
      inOrder: false,
      attests: true,
      planOpen: unused,
      establish: unused,
      planDraw: () => {
        throw new Error("not asked by a choice")
      },
      inspect: unused,
      close: unused
    })
    : Option.none()
})

const rails = [
  rail("x402/exact", "x402", base, false),
  rail("mpp/token-session", "mpp/1.0", Asset.sessionUsdc, true)
]

const choose = (offers: ReadonlyArray<Offer.Offer>, change: Partial<Choice.Question> = {}) => {
  const demand: Demand.Demand = {
    offers,
    refused: [],
    hints: [],
    challenged: false,
    receipt: Option.none(),
    problem: Option.none(),
    retryAfter: Option.none()
  }
  return Choice.choose({
    demand,
    origin: "https://merchant.test",
    rails,
    only: undefined,
    request: { authorized: false, content: new Uint8Array(), acceptPayment: undefined },
    ceiling: 50_000n,
    expected: 1,
    screen: () => Option.none(),
    isLive: () => false,
    rank: Effect.runSync(Choice.Ranking),
    ...change
  })
}

const tiers = (answer: Choice.Answer) => answer.candidates.map((it) => it.tier)

describe("Choice", () => {
  it("prefers a live session, whatever the workload", () => {
    assert.deepStrictEqual(tiers(choose([x402(1n), token(10n)], { isLive: () => true })), ["live session", "x402"])
  })

  it("opens a session for five requests, and not for four", () => {
    assert.deepStrictEqual(tiers(choose([x402(1n), token(10n)], { expected: 5 })), ["new session", "x402"])
    assert.deepStrictEqual(tiers(choose([x402(1n), token(10n)], { expected: 4 })), ["x402", "session of last resort"])
  })

  it("takes the cheaper of a class first, then the server's order", () => {
    const { candidates } = choose([x402(3n), x402(1n), x402(1n)])
    assert.deepStrictEqual(candidates.map((it) => [it.usd, it.place]), [[1n, 1], [1n, 2], [3n, 0]])
  })

  it("takes fewer steps on a chain first, at the same price", () => {
    const [slow, quick] = [rail("slow", "x402", base, false, 2), rail("quick", "x402", base, false, 1)]
    const only = (name: string): Rails.Rail => ({
      ...(name === "slow" ? slow : quick),
      accepts: (offer) => offer.payee === name ? Result.succeed(base) : Result.fail({ why: "not for it" })
    })
    const [one, other] = [x402(1n), x402(1n)].map((offer, i) =>
      new Offer.Offer({ ...offer, payee: i === 0 ? "slow" : "quick" })
    )
    const { candidates } = choose([one!, other!], { rails: [only("slow"), only("quick")] })
    assert.deepStrictEqual(candidates.map((it) => it.rail.name), ["quick", "slow"])
  })

  it("says why each of the others is not payable", () => {
    const { refused } = choose([x402(1n, "upto"), x402(60_000n)])
    assert.deepStrictEqual(refused.map((it) => it.why), [
      "not for x402/exact",
      "costs $0.06, and one request may cost $0.05"
    ])
  })

  it("fails with the price when that is what stands in the way, and with the policy when that does", () => {
    assert.strictEqual(choose([x402(60_000n)]).failure._tag, "BudgetExceeded")
    const denied = new PaymentError.PolicyDenied({ rule: "network", detail: "not here" })
    assert.strictEqual(choose([x402(1n)], { screen: () => Option.some(denied) }).failure._tag, "PolicyDenied")
  })

  it("asks for a session where only sessions are sold and none can be opened", () => {
    assert.strictEqual(choose([token(1n)], { rails: rails.slice(0, 1) }).failure._tag, "SessionRequired")
    assert.strictEqual(choose([x402(1n, "upto")]).failure._tag, "NoPayableOffer")
  })

  const authorized = { authorized: true, content: new Uint8Array(), acceptPayment: undefined }

  it("never overwrites an Authorization of the request's own", () => {
    const answer = choose([token(1n), x402(2n)], { request: authorized, expected: 25 })
    assert.deepStrictEqual(tiers(answer), ["x402"])
    const { failure } = choose([token(1n)], { request: authorized })
    assert.isTrue(failure._tag === "PolicyDenied" && failure.rule === "authorization-in-use")
  })

  it("prefers what the request itself prefers, over the classes and the prices", () => {
    const request = { ...authorized, authorized: false, acceptPayment: "tempo/charge;q=0.5, evm/charge;q=0.9" }
    const anything: Rails.Rail = { ...rail("any", "mpp", base, false), accepts: () => Result.succeed(base) }
    const mpp = (method: string, units: bigint) =>
      new Offer.Offer({
        protocol: "mpp",
        intent: "charge",
        method,
        network: "eip155:8453",
        asset: "0x01",
        units,
        payee: "0x02",
        wire: {}
      })
    const { candidates } = choose([mpp("tempo", 1n), mpp("evm", 9n)], { rails: [anything], request })
    assert.deepStrictEqual(candidates.map(({ offer }) => offer.method), ["evm", "tempo"])
    const { candidates: usual } = choose([mpp("tempo", 1n), mpp("evm", 9n)], { rails: [anything] })
    assert.deepStrictEqual(usual.map(({ offer }) => offer.method), ["tempo", "evm"])
  })

  it("says of an offer what a rail says that speaks its method, and of no other that none does", () => {
    const stripe = new Offer.Offer({
      protocol: "mpp",
      intent: "charge",
      method: "stripe",
      network: "",
      asset: "usd",
      units: 1n,
      payee: "",
      wire: {}
    })
    const tempo: Rails.Rail = { ...rail("tempo/charge", "none", base, false), accept: "tempo/charge" }
    const why = (offer: Offer.Offer) => choose([offer], { rails: [...rails, tempo] }).declined.map(({ why }) => why)
    assert.deepStrictEqual(why(stripe), ["no rail of this agent speaks it"])
    assert.deepStrictEqual(why(new Offer.Offer({ ...stripe, method: "tempo" })), ["not for tempo/charge"])
  })

  it("uses the rails that the program names", () => {
    assert.deepStrictEqual(tiers(choose([token(1n), x402(2n)], { only: ["x402/exact"], expected: 25 })), ["x402"])
  })

  it("lets a program replace the ranking", () => {
    assert.deepStrictEqual(tiers(choose([token(1n), x402(2n)], { expected: 25, rank: (all) => all.toReversed() })), [
      "x402",
      "new session"
    ])
  })

  it("lets no word of a merchant into its reasons", () => {
    const { refused } = choose([x402(1n, "pay <evil> \u001b[31m now")])
    assert.notMatch(refused[0]!.what, /[<>\p{Cc}]/u)
  })
})
