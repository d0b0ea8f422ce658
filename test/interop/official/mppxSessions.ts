/** Shops of mppx that sell by channel sessions on a local Tempo chain. */
import { getRequestListener } from "@hono/node-server"
import { Context, Effect, Layer, Redacted } from "effect"
import { Mppx, Store, tempo } from "mppx/server"
import { createServer } from "node:http"
import type { Address } from "viem"
import { privateKeyToAccount } from "viem/accounts"
import { accounts } from "../../../src/testing/chain/Accounts.ts"
import { TempoChain } from "../../../src/testing/chain/Tempo.ts"
import { listen } from "./loopback.ts"
import { tempoClient } from "./mppxShops.ts"

/** A request as it came in, and how it was answered. */
export interface Seen {
  readonly method: string
  readonly path: string
  /** What the credential does: `open`, `voucher`, `close`; undefined without one. */
  readonly action: string | undefined
  /** Base units. */
  readonly cumulative: bigint | undefined
  status: number
}

/** Where the shops are. */
export class MppxSessions extends Context.Service<MppxSessions, {
  readonly url: string
  readonly seen: ReadonlyArray<Seen>
  /** The next answers are these instead; the request is carried out all the same. */
  readonly spoil: (...statuses: ReadonlyArray<number>) => void
}>()("test/interop/MppxSessions") {}

export const payee: Address = accounts[2]!.address

/** What one request costs, in dollars and in base units. */
export const price = "0.01"
export const units = 10_000n

const accountOf = (nth: number) => privateKeyToAccount(Redacted.value(accounts[nth]!.privateKey))

const actionOf = (header: string | undefined): Pick<Seen, "action" | "cumulative"> => {
  const [, token] = /^Payment (\S+)$/.exec(header ?? "") ?? []
  if (token === undefined) return { action: undefined, cumulative: undefined }
  const { payload } = JSON.parse(Buffer.from(token, "base64url").toString()) as {
    payload: { action?: string; cumulativeAmount?: string }
  }
  const { action, cumulativeAmount } = payload
  return { action, cumulative: cumulativeAmount === undefined ? undefined : BigInt(cumulativeAmount) }
}

const make = Effect.gen(function*() {
  const chain = yield* TempoChain
  const client = tempoClient(accountOf(2), chain)
  const shopOf = (options: { readonly feePayer?: ReturnType<typeof accountOf> }) =>
    Mppx.create({
      secretKey: "a secret of at least thirty-two characters",
      realm: "127.0.0.1",
      methods: [
        tempo.session({
          account: accountOf(2),
          currency: chain.pathUsd.address as Address,
          recipient: payee,
          chainId: chain.chainId,
          getClient: () => client,
          store: Store.memory(),
          amount: price,
          unitType: "request",
          ...options
        })
      ]
    })
  const shops = {
    "/metered": shopOf({}),
    "/sponsored": shopOf({ feePayer: accountOf(3) })
  }
  const seen: Array<Seen> = []
  let spoilt: Array<number> = []
  const listener = getRequestListener(async (request) => {
    const { pathname } = new URL(request.url)
    const one: Seen = {
      method: request.method,
      path: pathname,
      ...actionOf(request.headers.get("authorization") ?? undefined),
      status: 0
    }
    seen.push(one)
    const shop = shops[pathname as keyof typeof shops]
    const answer = await shop.session({ amount: price, unitType: "request" })(request)
    const response = answer.status === 402 ? answer.challenge : answer.withReceipt(Response.json({ secret: 42 }))
    const instead = one.action === undefined ? undefined : spoilt.shift()
    one.status = instead ?? response.status
    return instead === undefined ? response : new Response(null, { status: instead })
  })
  const server = createServer(listener)
  const url = yield* listen(server)
  return MppxSessions.of({
    url,
    seen,
    spoil: (...statuses) => {
      spoilt = [...statuses]
    }
  })
})

/** mppx 0.11 on loopback. */
export const layer: Layer.Layer<MppxSessions, never, TempoChain> = Layer.effect(MppxSessions, make)
