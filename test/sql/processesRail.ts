/**
 * A payment from end to end, of which nothing is pretended but the chain: a merchant on loopback that takes a nonce once, and
 * a rail that pays it. What the merchant took is its own book, and the rail asks it there.
 */
import { Effect, Layer, Option, Redacted, Result } from "effect"
import { SecureRandom } from "effect/crypto"
import { FetchHttpClient } from "effect/http"
import { createServer, type Server, type ServerResponse } from "node:http"
import * as Agent from "../../src/Agent.ts"
import * as Budget from "../../src/Budget.ts"
import type * as Ledger from "../../src/Ledger.ts"
import * as Rails from "../../src/Rails.ts"
import { asset } from "../../src/testing/AgentTest.ts"

/** Micro-dollars of everything that the merchant sells. */
export const price = 10_000n

const validityMillis = 60_000

export interface Merchant {
  readonly origin: string
  /** Nonces that came with a request, in their order. */
  readonly presented: ReadonlyArray<string>
  /** Nonces that were taken, each once. */
  readonly taken: ReadonlySet<string>
  /** What was signed and not taken can be proven void from now on. */
  expire: () => void
}

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64")

const demand = (url: string) =>
  encode({
    x402Version: 2,
    resource: { url },
    accepts: [{
      scheme: "exact",
      network: asset.network,
      amount: String(price),
      asset: asset.address,
      payTo: "0x00000000000000000000000000000000000000b2",
      maxTimeoutSeconds: 60,
      extra: asset.domain
    }]
  })

/** Sells whatever is asked for, and tells at `/book/<nonce>` what became of a nonce. */
export const merchant = Effect.acquireRelease(
  Effect.callback<Merchant & { readonly server: Server }>((resume) => {
    const presented: Array<string> = []
    const taken = new Set<string>()
    let expired = false
    const answer = (response: ServerResponse, status: number, headers: Record<string, string>, body: unknown) => {
      response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body))
    }
    const server = createServer((request, response) => {
      const path = request.url ?? "/"
      const nonce = request.headers["payment-signature"]
      if (path.startsWith("/book/")) {
        return answer(response, 200, {}, { taken: taken.has(path.slice("/book/".length)), expired })
      }
      if (typeof nonce !== "string") {
        return answer(response, 402, { "payment-required": demand(`http://${request.headers.host}${path}`) }, {})
      }
      presented.push(nonce)
      if (taken.has(nonce)) return answer(response, 402, { "payment-required": demand(path) }, {})
      taken.add(nonce)
      const receipt = { success: true, transaction: "0x01", network: asset.network, payer: "0xa1" }
      answer(response, 200, { "payment-response": encode(receipt) }, { sold: path })
    })
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      const port = typeof address === "object" && address !== null ? address.port : 0
      const expire = () => void (expired = true)
      resume(Effect.succeed({ origin: `http://127.0.0.1:${port}`, presented, taken, expire, server }))
    })
  }),
  ({ server }) =>
    Effect.callback<void>((resume) => {
      server.close(() => resume(Effect.void))
      server.closeAllConnections()
    })
)

const evidence = (rank: Rails.Rank, what: string) => new Rails.Evidence({ rank, what })

const rail = Effect.fnUntraced(function*(origin: string, onSign: (nonce: string) => Effect.Effect<void>) {
  const random = yield* SecureRandom.SecureRandom
  const nonceOf = (plan: Rails.Plan) => String((plan.data as { readonly nonce: string }).nonce)
  return {
    name: "test/http",
    payer: "0x00000000000000000000000000000000000000a1",
    steps: 1,
    repeats: true,
    session: Option.none(),
    accepts: (offer) =>
      offer.network === asset.network ? Result.succeed(asset) : Result.fail({ why: "another network" }),
    plan: Effect.fnUntraced(function*(offer) {
      return new Rails.Plan({
        rail: "test/http",
        kind: "charge",
        network: asset.network,
        asset: asset.address,
        units: offer.units,
        payer: "0x00000000000000000000000000000000000000a1",
        payee: offer.payee,
        spendableUntil: Date.now() + validityMillis,
        data: { nonce: yield* random.uuidV4() }
      })
    }),
    sign: (plan) =>
      Effect.as(onSign(nonceOf(plan)), { envelopes: [{ "payment-signature": Redacted.make(nonceOf(plan)) }] }),
    judge: (plan, { headers, status }) =>
      headers["payment-response"] !== undefined
        ? { _tag: "Settled", units: plan.units, content: status < 300, evidence: evidence("claimed", "receipt") }
        : {
          _tag: "Unknown",
          content: false,
          evidence: evidence("claimed", `status ${status}`),
          next: { _tag: "reconcile" }
        },
    reconcile: (plan) =>
      Effect.promise(async (): Promise<Rails.Verdict> => {
        const answer = await fetch(`${origin}/book/${nonceOf(plan)}`)
        const book = await answer.json() as { readonly taken: boolean; readonly expired: boolean }
        return book.taken
          ? { _tag: "Settled", units: plan.units, content: false, evidence: evidence("proven", "taken") }
          : book.expired
          ? { _tag: "Void", evidence: evidence("proven", "expired unspent") }
          : { _tag: "Unknown", content: false, evidence: evidence("observed", "unspent"), next: { _tag: "reconcile" } }
      })
  } satisfies Rails.Rail
})

/** An agent that pays this merchant. `onSign` runs where a wallet would sign. */
export const agent = <E, R>(options: {
  readonly origin: string
  readonly ledger: Layer.Layer<Ledger.Ledger, E, R>
  readonly onSign?: (nonce: string) => Effect.Effect<void>
}) =>
  Agent.layer({
    budget: Budget.research,
    rails: Rails.layerAdd(rail(options.origin, options.onSign ?? (() => Effect.void))),
    ledger: options.ledger,
    policy: { networks: [asset.network] },
    assets: [asset],
    sweep: false
  }).pipe(Layer.provide(FetchHttpClient.layer))
