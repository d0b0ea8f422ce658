/**
 * A shop on loopback that does as its script says, and the chain on which it takes its money. It speaks the method `evm`,
 * because its credentials are signed without asking anybody: what a client has signed is seen here and nowhere else.
 */
import { Clock, Context, Effect, Layer, type Scope } from "effect"
import { createHmac, randomUUID } from "node:crypto"
import { createServer, type IncomingHttpHeaders } from "node:http"
import { type Authorization, network, ScriptedChain, token } from "../hostile/chain.ts"
import { listen } from "./official/loopback.ts"

/** The price of everything, in base units. */
export const units = 10_000n

const payee = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"

/** What came back in a credential. */
interface Echo {
  readonly id: string
  readonly request: string
  readonly expires: string
}

/** A request. */
export interface Visit {
  readonly method: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
  /** The challenge that is answered, and what was signed for it. */
  readonly paid: { readonly echo: Echo; readonly authorization: Authorization } | undefined
}

/** An answer; or the connection breaks. */
export type Reply = Response | "reset"

/** What the shop can do with a visit. */
export interface Sale {
  readonly visit: Visit
  /** How many visits with a credential there were before. */
  readonly nth: number
  /** The host and port that the shop has. */
  readonly host: string
  /** Takes the money, if it is to be had, and answers the transaction. */
  readonly take: () => string | undefined
}

export type Script = (sale: Sale) => Reply

export class ScriptedShop extends Context.Service<ScriptedShop, {
  readonly url: string
  readonly rpcUrl: string
  /** Does as the script says from now on, as if nobody had come before. */
  readonly perform: (script: Script) => Effect.Effect<void>
  readonly visits: Effect.Effect<ReadonlyArray<Visit>>
  /** The different payments that were signed, by their nonces. */
  readonly signed: Effect.Effect<ReadonlyArray<string>>
  /** The payments that were taken, in base units. */
  readonly taken: Effect.Effect<ReadonlyArray<bigint>>
}>()("test/interop/ScriptedShop") {}

// ---------------------------------------------------------------------------------------------------------------------
// Challenges
// ---------------------------------------------------------------------------------------------------------------------

const secretKey = "a secret of at least thirty-two characters"

const base64Url = (text: string) => Buffer.from(text).toString("base64url")

/** In canonical order, as mppx writes it. */
const request = JSON.stringify({
  amount: String(units),
  currency: token,
  methodDetails: { chainId: Number(network.split(":")[1]), credentialTypes: ["authorization"], decimals: 6 },
  recipient: payee
})

/** The same, in the order of the draft's own example: the recipient before the details. */
export const requestInOtherOrder = JSON.stringify({
  amount: String(units),
  currency: token,
  recipient: payee,
  methodDetails: { chainId: Number(network.split(":")[1]), credentialTypes: ["authorization"], decimals: 6 }
})

const bind = (realm: string, { expires, request }: Omit<Echo, "id">, digest = "") =>
  createHmac("sha256", secretKey).update([realm, "evm", "charge", request, expires, digest, ""].join("|"))
    .digest("base64url")

const minutes = (count: number) => new Date(Date.now() + count * 60_000).toISOString()

/** A challenge that no other is equal to. */
export const challenge = (
  { host }: Pick<Sale, "host">,
  { digest, expires = minutes(5), json = request }: {
    readonly json?: string
    readonly expires?: string | null
    readonly digest?: string
  } = {}
) => {
  // no two requests are alike, so that no two ids are
  const body = base64Url(json.replace(/\}$/, `,"z":"${randomUUID()}"}`))
  const members = {
    id: bind(host, { request: body, expires: expires ?? "" }, digest),
    realm: host,
    method: "evm",
    intent: "charge",
    request: body,
    ...(expires === null ? {} : { expires }),
    ...(digest === undefined ? {} : { digest })
  }
  return `Payment ${Object.entries(members).map(([name, value]) => `${name}="${value}"`).join(", ")}`
}

/** Whether a credential echoes what was bound, character for character. */
export const isOurs = ({ host, visit: { paid } }: Sale) =>
  paid !== undefined && paid.echo.id === bind(host, { ...paid.echo, expires: paid.echo.expires ?? "" })

// ---------------------------------------------------------------------------------------------------------------------
// Answers
// ---------------------------------------------------------------------------------------------------------------------

export const demand = (line: string) => new Response(null, { status: 402, headers: { "www-authenticate": line } })

/** Demands the money, by another challenge every time. */
export const demands: Script = (sale) => demand(challenge(sale))

/** Refuses a credential by a problem, and demands the money anew. */
export const refuses = (code: string, detail: string): Script => (sale) =>
  Response.json(
    { type: `https://paymentauth.org/problems/${code}`, title: "Refused", status: 402, detail },
    {
      status: 402,
      headers: { "www-authenticate": challenge(sale), "content-type": "application/problem+json" }
    }
  )

export const receipt = (reference: string, members: object = {}) =>
  base64Url(
    JSON.stringify({ method: "evm", reference, status: "success", timestamp: new Date().toISOString(), ...members })
  )

/** The content, and a receipt for it. */
export const delivers = (reference: string, status = 200, members?: object) =>
  Response.json(status === 200 ? { secret: 42 } : { error: "broken" }, {
    status,
    headers: { "payment-receipt": receipt(reference, members) }
  })

/** Takes the money and delivers; whoever has paid gets the content again. */
export const honest = (): Script => {
  const known = new Map<string, string>()
  return (sale) => {
    const { paid } = sale.visit
    if (paid === undefined) return demands(sale)
    const transaction = known.get(paid.authorization.nonce) ?? sale.take()
    if (transaction === undefined) return refuses("verification-failed", "It cannot be taken.")(sale)
    known.set(paid.authorization.nonce, transaction)
    return delivers(transaction)
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// The shop
// ---------------------------------------------------------------------------------------------------------------------

const paidBy = (header: string | undefined): Visit["paid"] => {
  const encoded = /^Payment (\S+)$/.exec(header ?? "")?.[1]
  if (encoded === undefined) return undefined
  const { challenge, payload } = JSON.parse(Buffer.from(encoded, "base64url").toString()) as {
    readonly challenge: Echo
    readonly payload: Authorization
  }
  return { echo: challenge, authorization: payload }
}

const seconds = () => Math.floor(Date.now() / 1000)

const make = Effect.fnUntraced(function*(): Effect.fn.Return<ScriptedShop["Service"], never, Scope.Scope> {
  const now = yield* Clock.currentTimeMillis
  const chain = new ScriptedChain(Math.floor(now / 1000))
  let script: Script = honest()
  let visits: Array<Visit> = []
  let before = 0
  const paying = () => visits.filter(({ paid }) => paid !== undefined)

  const server = createServer((request, response) => {
    const chunks: Array<Buffer> = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", async () => {
      const body = Buffer.concat(chunks).toString()
      if (request.url === "/rpc") {
        const { method, params } = JSON.parse(body) as {
          readonly method: string
          readonly params: ReadonlyArray<unknown>
        }
        const answer = await Effect.runPromise(chain.answer("shop", seconds(), method, params))
        response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer))
        return
      }
      const { headers, method = "" } = request
      const paid = paidBy(headers.authorization)
      const visit: Visit = { method, headers, body, paid }
      const nth = paying().length
      visits.push(visit)
      const reply = script({
        visit,
        nth,
        host: headers.host ?? "",
        take: () => paid && chain.settle(paid.authorization, seconds())
      })
      if (reply === "reset") response.destroy()
      else response.writeHead(reply.status, Object.fromEntries(reply.headers)).end(await reply.text())
    })
  })
  const url = yield* listen(server)
  return {
    url,
    rpcUrl: `${url}/rpc`,
    perform: (next) =>
      Effect.sync(() => {
        script = next
        visits = []
        before = chain.moved.length
      }),
    visits: Effect.sync(() => [...visits]),
    signed: Effect.sync(() => [...new Set(paying().map(({ paid }) => paid!.authorization.nonce))]),
    taken: Effect.sync(() => chain.moved.slice(before))
  }
})

export const layer = Layer.effect(ScriptedShop, make())
