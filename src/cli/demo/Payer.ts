/**
 * The agents of the demo, and the one program that all of them run: it knows `HttpClient`, and nothing of payment.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Result from "effect/Result"
import * as Agent from "../../Agent.ts"
import * as Budget from "../../Budget.ts"
import * as Ledger from "../../Ledger.ts"
import * as PaymentError from "../../PaymentError.ts"
import * as ExactEvm from "../../rails/ExactEvm.ts"
import * as TokenSession from "../../rails/TokenSession.ts"
import * as Reconciler from "../../Reconciler.ts"
import * as Session from "../../Session.ts"
import * as Wallet from "../../Wallet.ts"
import { layerClient, Legs } from "./Loopback.ts"
import { Money } from "./Report.ts"
import { type PayerName, World } from "./World.ts"

/**
 * How an agent pays.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly name: PayerName
  readonly plan: Budget.Plan
  /** Without sessions it pays for each request alone. */
  readonly sessions: boolean
}

/**
 * An agent over both rails, or over x402 alone: what a program provides. Everything is given; nothing is read from the
 * environment.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options) =>
  Layer.unwrap(Effect.map(World, (world) => {
    const { credential, wallet } = world.payer(options.name)
    const x402 = ExactEvm.layer({ networks: [world.network] }).pipe(
      Layer.provide(Wallet.layerPrivateKey(wallet.privateKey))
    )
    const sessions = TokenSession.layer({ credential, origins: [world.merchant], endpoint: world.endpoint })
    return Agent.layer({
      agentId: options.name,
      budget: options.plan,
      rails: options.sessions ? Layer.merge(sessions, x402) : x402,
      assets: [world.asset],
      rpc: { [world.network]: world.rpcUrl },
      ledger: Ledger.layerMemory({ quiet: true }),
      policy: { networks: [world.network], allowOrigins: [world.merchant] },
      sweep: false
    }).pipe(Layer.provideMerge(Layer.fresh(layerClient())))
  }))

/**
 * One request of the program: page `number` of what the merchant sells.
 *
 * @category programs
 * @since 0.1.0
 */
export const fetchPage = Effect.fnUntraced(function*(number: number) {
  const { merchant } = yield* World
  const client = yield* HttpClient.HttpClient
  const response = yield* HttpClient.filterStatusOk(client).get(`${merchant}/quotes`, { urlParams: { page: number } })
  return yield* response.text
})

/**
 * The same for a program that wants to know why it was not paid for.
 *
 * @category programs
 * @since 0.1.0
 */
export const tryPage = (number: number) =>
  Effect.catch(Effect.map(fetchPage(number), Result.succeed), (error) =>
    Option.match(PaymentError.find(error), {
      onNone: () => Effect.fail(error),
      onSome: (refused) => Effect.succeed(Result.fail(refused))
    }))

/**
 * Ends what the agent has open, as the end of its program does, and reads every book.
 *
 * @category accessors
 * @since 0.1.0
 */
export const settle = Effect.fnUntraced(function*(options: Options) {
  const world = yield* World
  const ledger = yield* Ledger.Ledger
  const budget = yield* Budget.Budget
  yield* Effect.flatMap(Session.Session, ({ closeAll }) => closeAll)
  yield* Effect.flatMap(Reconciler.Reconciler, ({ sweep }) => sweep)

  const payer = world.payer(options.name)
  const { authorityUsd, chainUsd, transactions } = yield* world.moved(payer)
  const purchases = yield* ledger.purchases({})
  const spent = purchases.flatMap(({ authorizations }) => authorizations)
  const sumOf = (kind: "charge" | "draw") =>
    spent.filter(({ plan }) => plan.kind === kind).reduce((sum, { spentUsd }) => sum + spentUsd, 0n)
  const [window] = budget.limits({ agent: options.name, origin: world.merchant, payer: payer.wallet.address })
  const standing = window === undefined
    ? { spent: 0n, exposed: 0n }
    : yield* ledger.standing(window.counter, window.windowMillis)
  return {
    sessions: yield* ledger.sessions({}),
    purchases,
    money: new Money({
      ledgerChainUsd: sumOf("charge"),
      ledgerSessionUsd: sumOf("draw"),
      heldUsd: standing.exposed,
      budgetUsd: standing.spent,
      chainUsd,
      authorityUsd,
      transactions
    })
  }
})

/**
 * What the agent sent, to whom.
 *
 * @category accessors
 * @since 0.1.0
 */
export const legs = Effect.gen(function*() {
  const world = yield* World
  const all = yield* Effect.flatMap(Legs, Ref.get)
  return {
    merchant: all.filter(({ origin }) => origin === world.merchant),
    endpoint: all.filter(({ origin }) => world.endpoint.startsWith(origin))
  }
})
