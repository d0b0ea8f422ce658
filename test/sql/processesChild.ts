/**
 * One of several processes that spend from one ledger: it does what its parent tells it, and answers. Its argument is JSON,
 * see `Where`; the URL of a database is in its environment.
 */
import { PgClient } from "@effect/sql-pg"
import { Cause, Effect, Exit, Layer, ManagedRuntime, Option, Redacted } from "effect"
import { HttpClient } from "effect/http"
import * as Ledger from "../../src/Ledger.ts"
import type { Rank } from "../../src/Rails.ts"
import * as LedgerSql from "../../src/sql/LedgerSql.ts"
import * as steps from "../ledger.ts"

export interface Where {
  /** The file; absent: the database at `DATABASE_URL`. */
  readonly filename?: string
  readonly leaseMillis: number
}

/** What a process has added to what is spent and exposed, and what it was refused. */
export interface Share {
  readonly spent: bigint
  readonly exposed: bigint
  readonly count: number
  readonly refused: { readonly [scope: string]: number }
}

const where: Where = JSON.parse(process.argv[2] ?? "{}")

const layer = where.filename !== undefined
  ? LedgerSql.layerSqlite({ filename: where.filename, lease: where.leaseMillis })
  : LedgerSql.layer({ lease: where.leaseMillis }).pipe(
    Layer.provide(PgClient.layer({ url: Redacted.make(process.env["DATABASE_URL"] ?? ""), maxConnections: 3 }))
  )

const runtime = ManagedRuntime.make(layer)

const stop = () => void process.kill(process.pid, "SIGSTOP")

/** A limit that stops this process when a step looks at it: in the middle of a transaction. */
const stopping = () => {
  const limit = { ...steps.agentLimit(1_000_000n) }
  let looked = false
  Object.defineProperty(limit, "limit", {
    get: () => {
      if (!looked) stop()
      looked = true
      return 1_000_000n
    }
  })
  return limit
}

/** Numbers that look random, the same ones each time. */
const dice = (seed: number) => {
  let state = seed
  return (below: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

/** Authorises this many purchases of odd amounts at once, and ends them in all the ways that there are. */
const spend = Effect.fnUntraced(function*(options: {
  readonly seed: number
  readonly purchases: number
  readonly limit: bigint
  readonly count: bigint
}) {
  const roll = dice(options.seed)
  const limits = [steps.agentLimit(options.limit), steps.countLimit(options.count)]
  const share = { spent: 0n, exposed: 0n, count: 0, refused: {} as Record<string, number> }
  const refused = (error: { readonly scope: string }) =>
    Effect.sync(() => void (share.refused[error.scope] = (share.refused[error.scope] ?? 0) + 1))
  const session = `s-${options.seed}`
  const sessionLimit = 301n
  let drawn = 0n
  yield* steps.live(session, sessionLimit, { limits })

  const charge = Effect.fnUntraced(function*(id: string, usd: bigint, end: number) {
    yield* steps.authorize(steps.charge(id, usd, { limits }))
    share.count++
    switch (end) {
      case 0:
        yield* steps.notSent(id)
        yield* steps.deliver(`p-${id}`, "void")
        share.count--
        return
      case 1:
        yield* steps.judge(id, "unknown", "claimed")
        share.exposed += usd
        return
      case 2:
        yield* steps.judge(id, "settled", "proven", usd / 2n)
        share.spent += usd / 2n
        return
      default:
        yield* steps.judge(id, "settled", "claimed")
        yield* steps.deliver(`p-${id}`, "delivered")
        share.spent += usd
    }
  })

  const draw = Effect.fnUntraced(function*(id: string, usd: bigint, end: number) {
    yield* steps.authorize(steps.drawing(id, session, usd, { limits }))
    share.count++
    if (end === 0) return yield* steps.notSent(id)
    yield* steps.judge(id, "settled", "claimed", usd)
    drawn += usd
  })

  yield* Effect.forEach(
    Array.from({ length: options.purchases }, (_, n) => ({
      id: `${options.seed}-${n}`,
      usd: BigInt(roll(200) + 1),
      end: roll(5),
      isDraw: roll(3) === 0
    })),
    ({ end, id, isDraw, usd }) =>
      Effect.catchTag(isDraw ? draw(id, usd / 8n + 1n, end) : charge(id, usd, end), "BudgetExceeded", refused),
    { concurrency: 4, discard: true }
  )
  if (options.seed % 2 === 0) yield* steps.close(session, drawn)
  else share.exposed += sessionLimit - drawn
  return { ...share, spent: share.spent + drawn } satisfies Share
})

/** Pays for a resource, and tells what became of it. A process that `stops` does so where a wallet signs. */
const pay = (url: string, stops: boolean) =>
  Effect.gen(function*() {
    const { agent } = yield* Effect.promise(() => import("./processesRail.ts"))
    const PaymentError = yield* Effect.promise(() => import("../../src/PaymentError.ts"))
    const ledger = yield* Ledger.Ledger
    const onSign = () => stops ? Effect.sync(stop) : Effect.void
    const client = agent({ origin: new URL(url).origin, ledger: Layer.succeed(Ledger.Ledger, ledger), onSign })
    const response = HttpClient.get(url).pipe(Effect.flatMap((response) => response.text))
    return yield* response.pipe(
      Effect.map((text) => ({ text })),
      Effect.catch((error) =>
        Option.match(PaymentError.find(error), {
          onNone: () => Effect.die(error),
          onSome: ({ money, reason }) => Effect.succeed({ reason: reason._tag, money })
        })
      ),
      Effect.provide(client)
    )
  })

const operations = {
  ready: () => Effect.asVoid(Ledger.Ledger),
  spend,
  pay,
  charge: (id: string, usd: bigint, key?: string) =>
    steps.authorize(steps.charge(id, usd, key === undefined ? {} : { purchase: steps.purchaseOf(`p-${id}`, { key }) })),
  /** Stops in the middle of the transaction. */
  chargeAndStop: (id: string, usd: bigint) => steps.authorize(steps.charge(id, usd, { limits: [stopping()] })),
  live: (id: string, usd: bigint) => steps.live(id, usd),
  draw: (id: string, session: string, usd: bigint) => steps.authorize(steps.drawing(id, session, usd)),
  judge: (id: string, state: Ledger.Judgement["state"], rank: Rank, usd?: bigint) => steps.judge(id, state, rank, usd),
  notSent: (id: string) => steps.notSent(id),
  resend: (id: string) => steps.resend(id),
  advance: (id: string) => steps.advance(id, "broadcast"),
  deliver: (purchase: string, delivery: Ledger.Delivery) => steps.deliver(purchase, delivery),
  holding: (id: string) => Effect.flatMap(Ledger.Ledger, (ledger) => ledger.holding(id)),
  orphans: () => Effect.flatMap(Ledger.Ledger, (ledger) => ledger.orphans),
  claim: (key: string, owner: string) =>
    Effect.map(steps.claim(key, owner), Option.match({ onNone: () => undefined, onSome: (it) => it.purchase.id })),
  stateOf: (id: string) => Effect.map(steps.authorization(id), ({ state }) => state),
  sessionState: (id: string) => Effect.map(steps.session(id), ({ state }) => state),
  money: () => steps.money()
}

export type Operations = typeof operations

export interface Question {
  readonly number: number
  readonly name: keyof Operations
  readonly args: ReadonlyArray<unknown>
}

export type Answer =
  & { readonly number: number }
  & ({ readonly value: unknown } | { readonly error: { readonly tag: string; readonly detail: string } })

const errorOf = (cause: Cause.Cause<unknown>) => {
  const error = Option.getOrUndefined(Cause.findErrorOption(cause)) as { _tag?: string; detail?: string } | undefined
  return { tag: error?._tag ?? "defect", detail: error?.detail ?? Cause.pretty(cause) }
}

process.on("message", ({ args, name, number }: Question) => {
  // The parent's compiler has seen to it that the arguments are those of the operation.
  const operation = operations[name] as (
    ...args: ReadonlyArray<unknown>
  ) => Effect.Effect<unknown, unknown, Ledger.Ledger>
  void runtime.runPromiseExit(operation(...args)).then((exit) => {
    const answer: Answer = Exit.isSuccess(exit)
      ? { number, value: exit.value }
      : { number, error: errorOf(exit.cause) }
    process.send?.(answer)
  })
})
process.on("disconnect", () => process.exit())
